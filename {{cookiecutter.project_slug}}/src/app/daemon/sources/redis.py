"""Messages from a stream of Redis, shared by a group of daemons.

Redis knows of each message who has it, since when and how often it was handed out; who does not say within the
visibility timeout that it still works on one loses it to whoever looks for such messages next. What happens to a
message is one script (`redis_scripts.py`). Messages that are put off lie in `<queue>.delayed`, dead letters in
`<queue>.dead`, and `<queue>.holder` says which daemon has an ordered stream.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

from redis.exceptions import ResponseError

from ...adapters.message_transports.batching import Batching
from ...adapters.message_transports.redis import BODY, HEADERS, failing
from ...adapters.redis import create_redis
from ...core.errors import BrokerError
from ...core.message_source import DEAD, DELAYED, Delivery, Letter
from ..configuration import DaemonSettings
from . import redis_scripts as scripts
from .polling import WAIT, poll

# Seconds that a command may take, a new connection included; a blocking read is far shorter.
COMMAND_SECONDS = 4.0
_BLOCK_SECONDS = 0.25
_BATCH = 500
# Seconds for which those are collected that are acknowledged together.
_COLLECTING = 0.01
_PAGE = 100
# Seconds between two looks for what others left behind, at most.
_LONGEST_LOOK = 1.0
# Visibility timeouts without a sign of life after which a consumer that has nothing is removed, and at least seconds.
_GONE_AFTER = 10
_GONE_SECONDS = 600.0


class RedisSource:
    """Receives from a stream.

    Args:
        settings: The daemon's.

    """

    system = "redis"
    sends = False

    def __init__(self, settings: DaemonSettings) -> None:
        daemon = settings.daemon
        self._url = settings.broker_url
        self._stream = daemon.queue
        self._dead = daemon.queue + DEAD
        self._keys = [self._stream, daemon.queue + DELAYED, self._dead, f"{daemon.queue}.holder"]
        self._group = daemon.consumer_group
        self._me = f"{settings.service_name}-{uuid4().hex}"
        self._visibility = int(daemon.visibility_timeout * 1000)
        self._is_ordered = daemon.ordered
        self._look_interval = min(_LONGEST_LOOK, daemon.visibility_timeout / 4)
        self._look_at = self._move_at = 0.0
        self._in_hand: set[bytes] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._acknowledging: Batching[bytes] = Batching(self._acknowledge, limit=_BATCH, pause=_COLLECTING)
        # Its types allow for every form of answer that any Redis ever gave.
        self._client: Any = create_redis(self._url, timeout=COMMAND_SECONDS)

    async def open(self) -> None:
        """Connect, and make the stream and its group when they are not there.

        Raises:
            BrokerError: Redis does not answer, or refuses.

        """
        broken, self._client = self._client, create_redis(self._url, timeout=COMMAND_SECONDS)
        await broken.aclose()
        self._look_at = self._move_at = 0.0
        with failing(self._url):
            try:
                await self._client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise
        gone = max(_GONE_SECONDS * 1000, _GONE_AFTER * self._visibility)
        await self._run(scripts.FORGET_CONSUMERS, int(gone))

    async def receive(self, limit: int) -> Sequence[Delivery]:
        """Return messages, oldest first; those that others left behind before new ones.

        Args:
            limit: How many at most.

        """
        if self._is_ordered:
            return await poll(lambda: self._take_in_order(limit))
        ends = time.monotonic() + WAIT
        found: Sequence[Delivery] = ()
        while not found and time.monotonic() < ends:
            pause = await self._move_due()
            found = await self._take(self._claim(limit)) or await self._take(self._read(limit, pause))
        return found

    async def acknowledge(self, delivery: Delivery) -> None:
        """Delete a message, together with others that are acknowledged at the time."""
        await self._acknowledging.add(delivery.receipt, soon=delivery.is_urgent)
        self._in_hand.discard(delivery.receipt)

    async def try_again(self, delivery: Delivery, delay: float) -> None:
        """Put a message off."""
        await self._run(scripts.TRY_AGAIN, delivery.receipt, delay)
        self._in_hand.discard(delivery.receipt)
        self._move_at = min(self._move_at, time.monotonic() + delay)

    async def give_back(self, delivery: Delivery) -> None:
        """Send a message again, as if it had not been handed out; on an ordered stream it stays in its place."""
        await self._run(scripts.GIVE_BACK, delivery.receipt, delivery.deliveries - 1, int(self._is_ordered))
        self._in_hand.discard(delivery.receipt)

    async def bury(self, delivery: Delivery, why: Mapping[str, Any]) -> None:
        """Move a message to the dead letters."""
        await self._run(scripts.BURY, delivery.receipt, json.dumps(dict(why), default=str))
        self._in_hand.discard(delivery.receipt)

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        """Say that these are still worked on, unless another one has them by now."""
        held = self._visibility if self._is_ordered else 0
        await self._run(scripts.KEEP, held, *(delivery.receipt for delivery in deliveries))

    async def ping(self) -> None:
        """Ask for an answer."""
        with failing(self._url):
            await self._client.ping()

    async def backlog(self) -> int:
        """Return how many messages wait: those on the stream that nobody has, and those that are put off."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.xlen(self._stream).xpending(self._stream, self._group).zcard(self._keys[1])
        with failing(self._url):
            every, pending, delayed = await pipeline.execute()
        return max(0, int(every) - int(pending["pending"])) + int(delayed)

    async def letters(self) -> AsyncIterator[Letter]:
        """Yield the dead letters, a page at a time."""
        after = "-"
        while True:
            with failing(self._url):
                page = await self._client.xrange(self._dead, min=after, count=_PAGE)
            if not page:
                return
            for letter, fields in page:
                yield Letter(fields.get(BODY.encode(), b""), _json(fields, HEADERS), _json(fields, "why"), letter)
            after = f"({page[-1][0].decode()}"

    async def replay(self, letter: Letter) -> None:
        """Move a dead letter to the end of the stream."""
        await self._run(scripts.REPLAY, letter.receipt)

    async def drop(self, letter: Letter) -> None:
        """Delete a dead letter."""
        with failing(self._url):
            await self._client.xdel(self._dead, letter.receipt)

    async def aclose(self) -> None:
        """Let others have at once what is still this consumer's, and close the connections."""
        await self._acknowledging.finish()
        if self._tasks:
            await asyncio.wait(self._tasks)
        try:
            # Where that fails, it is theirs after the visibility timeout.
            with suppress(BrokerError):
                await self._run(scripts.LEAVE, 2 * self._visibility)
        finally:
            await self._client.aclose()

    async def _run(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns."""
        with failing(self._url):
            return await self._client.register_script(script)(keys=self._keys, args=[self._group, self._me, *arguments])

    async def _acknowledge(self, receipts: Sequence[bytes]) -> None:
        await self._run(scripts.ACKNOWLEDGE, *receipts)

    async def _move_due(self) -> float:
        """Move to the stream what was put off until now; return for how many seconds nothing else is due."""
        if time.monotonic() >= self._move_at:
            due_in = await self._run(scripts.MOVE_DUE, _BATCH)
            pause = min(_BLOCK_SECONDS, max(0.0, float(due_in))) if due_in else _BLOCK_SECONDS
            self._move_at = time.monotonic() + pause
        return max(0.001, self._move_at - time.monotonic())

    async def _read(self, limit: int, pause: float) -> list[Delivery]:
        """Return new messages, and wait for them."""
        block = max(1, int(min(pause, _BLOCK_SECONDS) * 1000))
        with failing(self._url):
            streams = await self._client.xreadgroup(
                self._group, self._me, {self._stream: ">"}, count=limit, block=block
            )
        entries = streams[0][1] if streams else []
        return [_delivery(receipt, fields, 1) for receipt, fields in entries]

    async def _claim(self, limit: int) -> list[Delivery]:
        """Return what whoever had it did not keep, now and then."""
        if time.monotonic() < self._look_at:
            return []
        self._look_at = time.monotonic() + self._look_interval
        about = (self._stream, self._group)
        with failing(self._url):
            pending = await self._client.xpending_range(*about, min="-", max="+", count=limit, idle=self._visibility)
            if not pending:
                return []
            counts = {one["message_id"]: int(one["times_delivered"]) for one in pending}
            claimed = await self._client.xclaim(*about, self._me, self._visibility, list(counts))
        if len(counts) == limit:
            # There may be more.
            self._look_at = 0.0
        return [_delivery(receipt, fields, counts[receipt] + 1) for receipt, fields in claimed if fields]

    async def _take_in_order(self, limit: int) -> list[Delivery]:
        await self._move_due()
        return await self._take(self._hold_and_read(limit))

    async def _hold_and_read(self, limit: int) -> list[Delivery]:
        taken = await self._run(scripts.TAKE_IN_ORDER, self._visibility, limit, len(self._in_hand))
        return [
            _delivery(receipt, dict(zip(fields[::2], fields[1::2], strict=True)), count)
            for receipt, fields, count in taken
        ]

    async def _take(self, taking: Coroutine[Any, Any, list[Delivery]]) -> list[Delivery]:
        """Return what is taken; when that is cancelled it is taken nevertheless, and given back."""
        task = self._spawn(taking)
        try:
            taken: list[Delivery] = await asyncio.shield(task)
        except asyncio.CancelledError:
            self._spawn(self._return(task))
            raise
        self._in_hand.update(delivery.receipt for delivery in taken)
        return taken

    async def _return(self, taking: "asyncio.Task[list[Delivery]]") -> None:
        # Where that fails, it is another one's after the visibility timeout.
        with suppress(BrokerError):
            for delivery in await taking:
                await self.give_back(delivery)

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _delivery(receipt: bytes, fields: Mapping[bytes, bytes], count: int) -> Delivery:
    attempt, deliveries = int(fields.get(b"attempt", 1)), int(fields.get(b"deliveries", 0))
    return Delivery(fields.get(b"body", b""), _json(fields, HEADERS), attempt, deliveries + count, receipt)


def _json(fields: Mapping[bytes, bytes], name: str) -> Any:
    try:
        found = json.loads(fields.get(name.encode(), b"{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
