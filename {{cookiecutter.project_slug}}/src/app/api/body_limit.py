"""Refuse request bodies beyond a size, before and while they arrive."""

from collections.abc import Awaitable

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

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one request; no coroutine of its own, for most have nothing to count."""
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        announced = _announced(scope)
        if announced is None:
            return self.app(scope, self._counted(receive), send)
        # A server hands on no more than was announced.
        self._check(announced)
        return self.app(scope, receive, send)

    def _counted(self, receive: Receive) -> Receive:
        total = 0

        async def counted() -> Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            self._check(total)
            return message

        return counted

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
