"""Refuse request bodies beyond a size, before and while they arrive."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..core.errors import MalformedInputError, PayloadTooLargeError


class BodyLimitMiddleware:
    """Raises when more bytes are announced or arrive than the service reads.

    Args:
        app: What is further in.
        max_bytes: The largest body.

    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self.app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = _announced(scope)
        if announced is not None:
            # A server hands on no more than was announced.
            self._check(announced)
            await self.app(scope, receive, send)
            return
        total = 0

        async def limited() -> Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            self._check(total)
            return message

        await self.app(scope, limited, send)

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            public_message = f"The request body is larger than {self._max_bytes} bytes."
            raise PayloadTooLargeError(public_message=public_message)


def _announced(scope: Scope) -> int | None:
    """Return the size of the body, or None when only its end will tell."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit():
                raise MalformedInputError(public_message="Content-Length must be a number.")
            return int(value)
    return None
