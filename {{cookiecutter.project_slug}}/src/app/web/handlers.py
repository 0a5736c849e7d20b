"""Where requests come in: Django's handlers, which here read no body beyond the limit and lose no request.

Django answers what fails before its middleware runs by itself, without ids and without a line in the log, keeps a body
of any size on disk under ASGI, and takes one without an announced length for empty under WSGI. Here such a request goes
through the middleware like any other, which answers it with what was found to be wrong.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast
from urllib.parse import quote_from_bytes

import django
from django.conf import settings
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpRequest, UnreadablePostError

from ..core.errors import InfrastructureError, MalformedInputError
from .request_state import refuse
from .translation import too_large

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# What a query may hold as it is, so that only bytes beyond ASCII are written anew.
_QUERY_CHARACTERS = "".join(map(chr, range(0x20, 0x7F)))


def _announced(length: str | None) -> int | None:
    """Return the size of a body as its header says; None when it says nothing.

    Raises:
        MalformedInputError: It says nothing that makes sense.

    """
    if not length:
        return None
    if not (length.isascii() and length.isdigit()):
        raise MalformedInputError(public_message="Content-Length must be a number.")
    return int(length)


def _check_announced(length: str | None) -> int | None:
    """Return the announced size of a body, unless it is too large."""
    size = _announced(length)
    if size is not None and size > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        raise too_large()
    return size


class _Quiet(HttpRequest):
    """A request whose text, which stands in Django's records, shows nothing of its query."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.method} {self.path!r}>"


class ServiceASGIRequest(_Quiet, ASGIRequest):
    """A request under ASGI."""


class ServiceWSGIRequest(_Quiet, WSGIRequest):
    """A request under WSGI, whose body is within the limit, whatever was announced.

    Args:
        environ: As the server passes it.

    """

    def __init__(self, environ: dict[str, Any]) -> None:
        refusal: Exception | None = None
        try:
            if _check_announced(environ.get("CONTENT_LENGTH")) is None and environ.get("wsgi.input_terminated"):
                _read_terminated(environ)
        except Exception as error:  # noqa: BLE001 -- whatever a server raises of a body it cannot read
            refusal = error
            environ = {**environ, "CONTENT_LENGTH": "0", "wsgi.input": BytesIO()}
        super().__init__(environ)
        if refusal is not None:
            refuse(self, refusal)


def _read_terminated(environ: dict[str, Any]) -> None:
    """Read a body whose end the server knows, although its length was not announced."""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if "HTTP_TRANSFER_ENCODING" not in environ:
        return
    try:
        body = environ["wsgi.input"].read(limit + 1)
    except OSError as error:
        raise UnreadablePostError(*error.args) from error
    if len(body) > limit:
        raise too_large()
    environ.update({"CONTENT_LENGTH": str(len(body)), "wsgi.input": BytesIO(body)})


class ServiceWSGIHandler(WSGIHandler):
    """Serves requests under WSGI."""

    request_class = ServiceWSGIRequest


class _Refused(BytesIO):
    """The body of a request that is not taken.

    Args:
        refusal: What is wrong with it.

    """

    def __init__(self, refusal: Exception) -> None:
        super().__init__()
        self.refusal = refusal


class _Incoming:
    """A request that comes in: its messages, and what is wrong with it.

    Args:
        scope: The request.
        receive: Where its messages come from.

    """

    def __init__(self, scope: Message, receive: Receive) -> None:
        self.receive = receive
        self.refusal: Exception | None = None
        length = next((value for name, value in scope["headers"] if name == b"content-length"), None)
        try:
            _check_announced(length.decode("latin-1") if length is not None else None)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is the answer
            self.refusal = error

    def __call__(self) -> Awaitable[Message]:
        """Return the next message."""
        return self.receive()

    async def body(self) -> IO[bytes]:
        """Return the whole body, or an empty one that says why it is refused."""
        if self.refusal is not None:
            return _Refused(self.refusal)
        limit, size, body, more = settings.DATA_UPLOAD_MAX_MEMORY_SIZE, 0, _new_body(), True
        while more:
            try:
                message = await self.receive()
            except asyncio.CancelledError:
                # The process is about to end, and the caller is to hear that.
                body.close()
                return _Refused(InfrastructureError(public_message="The service is shutting down."))
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit or message["type"] == "http.disconnect":
                body.close()
                return _Refused(too_large() if size > limit else RequestAborted())
            body.write(chunk)
            more = message.get("more_body", False)
        body.seek(0)
        return body

    async def disconnected(self) -> None:
        """Wait until the caller has gone, passing over what it still sends of a body that is refused."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


def _new_body() -> IO[bytes]:
    """Return where a body is kept: in memory, unless the limit allows for more than Django keeps there."""
    in_memory = settings.FILE_UPLOAD_MAX_MEMORY_SIZE
    if in_memory >= settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        return BytesIO()
    return SpooledTemporaryFile(max_size=in_memory, mode="w+b")


class ServiceASGIHandler(ASGIHandler):
    """Serves requests under ASGI."""

    async def handle(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Handle one request."""
        await super().handle(scope, _Incoming(scope, receive), send)

    async def read_body(self, receive: Receive) -> IO[bytes]:
        """Return the body as far as it is read."""
        return await cast(_Incoming, receive).body()

    async def listen_for_disconnect(self, receive: Receive) -> None:
        """Wait until the caller has gone."""
        await cast(_Incoming, receive).disconnected()
        raise RequestAborted

    def create_request(self, scope: Message, body_file: IO[bytes]) -> tuple[ASGIRequest, None]:
        """Return the request; there is always one."""
        query = scope.get("query_string", b"")
        if not query.isascii():
            scope = {**scope, "query_string": quote_from_bytes(query, safe=_QUERY_CHARACTERS).encode()}
        request = ServiceASGIRequest(scope, body_file)
        if isinstance(body_file, _Refused):
            refuse(request, body_file.refusal)
        return request, None


def wsgi_application() -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """Return the service for a WSGI server."""
    django.setup(set_prefix=False)
    return ServiceWSGIHandler()


def asgi_application() -> ServiceASGIHandler:
    """Return the service for an ASGI server."""
    django.setup(set_prefix=False)
    return ServiceASGIHandler()
