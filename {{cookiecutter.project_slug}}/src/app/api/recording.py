"""Hold an answer back until it is complete and kept."""

from collections.abc import Awaitable, Callable

from starlette.types import Message, Send

from ..core.idempotency import Answer, end_to_end, is_stored

AfterSend = Callable[[], Awaitable[None]]
Keep = Callable[[Answer], Awaitable[AfterSend | None]]


class Recorder:
    """Takes the messages of an answer, keeps it when it is whole, then sends it on.

    Args:
        send: Where the answer goes.
        keep: Keeps the answer; what it returns runs once the answer's start was sent.
        release: Frees the key, before an answer that is not kept leaves.
        max_bytes: The largest body that is held; a larger or streamed one is kept without its body and passes on.

    """

    def __init__(self, send: Send, keep: Keep, release: Callable[[int], Awaitable[None]], max_bytes: int) -> None:
        self._send = send
        self._keep = keep
        self._release = release
        self._max_bytes = max_bytes
        self._start: Message | None = None
        self._held: list[bytes] = []
        self.kept = False
        self.released = False
        self.sent = False

    async def __call__(self, message: Message) -> None:
        """Take the next message of the answer."""
        if self.sent:
            await self._send(message)
        elif message["type"] == "http.response.start":
            self._start, self._held = message, []
            if not is_stored(message["status"], rejected=False):
                await self._pass(message)
        elif message["type"] == "http.response.body" and self._start is not None:
            await self._take(self._start, message)
        else:
            await self._send(message)

    async def _take(self, start: Message, message: Message) -> None:
        self._held.append(message.get("body", b""))
        size = sum(map(len, self._held))
        more = message.get("more_body", False)
        streamed = more and not any(name == b"content-length" for name, _ in start["headers"])
        if not more or streamed or size > self._max_bytes:
            await self._finish(start, whole=not streamed and size <= self._max_bytes, more=more)

    async def _finish(self, start: Message, *, whole: bool, more: bool) -> None:
        body = b"".join(self._held)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
        answer = Answer(start["status"], end_to_end(headers), body if whole else None)
        after_send = await self._keep(answer)
        await self._forward(start)
        self.kept = True
        if after_send is not None:
            await after_send()
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def _pass(self, start: Message) -> None:
        """Let an answer through that is not kept; whoever repeats the request at once finds the key free."""
        self.released = True
        await self._release(start["status"])
        await self._forward(start)

    async def _forward(self, start: Message) -> None:
        """Send the start, whose sending commits the operation's transaction."""
        await self._send(start)
        self.sent = True
