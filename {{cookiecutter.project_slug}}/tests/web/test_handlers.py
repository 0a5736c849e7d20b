"""What comes in: bodies within the limit, and requests that Django would answer before its middleware runs."""

import asyncio
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import override_settings

from app.web import asgi as asgi_module
from app.web import wsgi as wsgi_module
from app.web.bootstrap import Services
from app.web.handlers import ServiceASGIHandler, ServiceWSGIHandler

from ..conftest import Log
from .paths import operation, serving

LIMIT = 100
HEADERS = {"host": "localhost", "content-type": "text/plain"}
Answer = tuple[int, dict[str, str], bytes]
Body = bytes | list[bytes]


def echo(request: HttpRequest) -> HttpResponse:
    """Answer with what was sent."""
    return HttpResponse(request.body)


@pytest.fixture(autouse=True)
def limit(services: Services) -> Iterator[None]:
    """Read no more than 100 bytes, and answer with them at one path."""
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=LIMIT), serving(operation("/echo", echo, "POST")):
        yield


class Chunks(io.RawIOBase):
    """A body that the server ends, whatever its length, and that tells how much of it was read."""

    def __init__(self, parts: list[bytes], error: OSError | None = None) -> None:
        self.parts, self.error, self.taken = io.BytesIO(b"".join(parts)), error, 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        data = self.parts.read(size)
        self.taken += len(data)
        if self.error is not None:
            raise self.error
        return data


def wsgi(body: Body | Chunks, headers: dict[str, str], where: str = "/echo", query: str = "") -> Answer:
    """Send a request as a WSGI server would; a list is a body in chunks."""
    stream = io.BytesIO(body) if isinstance(body, bytes) else body if isinstance(body, Chunks) else Chunks(body)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": where,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": stream,
        "wsgi.input_terminated": True,
    }
    if not isinstance(body, bytes):
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    for name, value in {**HEADERS, **headers}.items():
        key = name.upper().replace("-", "_")
        environ[key if key.startswith("CONTENT_") else f"HTTP_{key}"] = value
    started: list[Any] = []

    def start_response(*arguments: Any) -> Any:
        started.append(arguments)

    response: Any = ServiceWSGIHandler()(environ, start_response)
    content = b"".join(response)
    status, fields = started[0]
    return int(status[:3]), {name.lower(): value for name, value in fields}, content


async def asgi(
    body: Body, headers: dict[str, str], where: str = "/echo", query: bytes = b"", *, is_cut: bool = False
) -> tuple[Answer | None, int]:
    """Send a request as an ASGI server would; return the answer, if one came, and how many chunks were taken of it."""
    parts = [body] if isinstance(body, bytes) else body
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages[-1]["more_body"] = is_cut
    taken = 0
    sent: list[Any] = []
    seen: list[int] = []

    async def receive() -> Any:
        nonlocal taken
        await asyncio.sleep(0)
        if taken < len(messages):
            taken += 1
            return messages[taken - 1]
        if not is_cut and not any(message["type"] == "http.response.body" for message in sent):
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        seen.append(taken)

    fields = [(name.encode(), value.encode()) for name, value in {**HEADERS, **headers}.items()]
    scope = {"type": "http", "method": "POST", "path": where, "query_string": query, "headers": fields}
    await ServiceASGIHandler()(scope, receive, send)
    if not sent:
        return None, taken
    content = b"".join(message.get("body", b"") for message in sent[1:])
    found = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return (sent[0]["status"], found, content), seen[0]


def assert_refused(answer: Answer | None, status: int, code: str, log: Log) -> None:
    """The answer is a problem with ids, and the request has its line."""
    assert answer is not None
    found, headers, content = answer
    problem = json.loads(content)
    assert (found, problem["status"], problem["code"]) == (status, status, code)
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-request-id"] == problem["request_id"]
    (line,) = log.named("http.request")
    assert (line["status_code"], line["request_id"]) == (status, problem["request_id"])


REFUSED = [
    (b"x" * (LIMIT + 1), {"content-length": str(LIMIT + 1)}, 413, "PAYLOAD_TOO_LARGE"),
    (b"", {"content-length": str(10**10)}, 413, "PAYLOAD_TOO_LARGE"),
    ([b"x" * 10] * 11, {}, 413, "PAYLOAD_TOO_LARGE"),
    (b"{}", {"content-length": "two"}, 400, "MALFORMED_REQUEST"),
    (b"{}", {"content-length": "-1"}, 400, "MALFORMED_REQUEST"),
    (b"{}", {"content-length": "²"}, 400, "MALFORMED_REQUEST"),
]


@pytest.mark.parametrize("where", ["/echo", "/nowhere"])
@pytest.mark.parametrize(("body", "headers", "status", "code"), REFUSED)
def test_refused(log: Log, where: str, body: Body, headers: dict[str, str], status: int, code: str) -> None:
    """A body beyond the limit is refused, whether its length was announced or not, and so is a length that is none."""
    assert_refused(wsgi(body, headers, where), status, code, log)


@pytest.mark.parametrize(("body", "headers", "status", "code"), REFUSED)
async def test_refused_under_asgi(log: Log, body: Body, headers: dict[str, str], status: int, code: str) -> None:
    """The same under ASGI."""
    answer, _ = await asgi(body, headers)
    assert_refused(answer, status, code, log)


def test_too_much_is_not_read(log: Log) -> None:
    """Of a body without end no more is read than tells that it is too large."""
    body = Chunks([b"x" * 10] * 1000)
    assert_refused(wsgi(body, {}), 413, "PAYLOAD_TOO_LARGE", log)
    assert body.taken == LIMIT + 1


async def test_too_much_is_not_read_under_asgi(log: Log) -> None:
    """The same under ASGI, where Django would keep it on disk; the answer does not wait for the rest."""
    answer, taken = await asgi([b"x" * 10] * 1000, {})
    assert_refused(answer, 413, "PAYLOAD_TOO_LARGE", log)
    assert taken <= 20


@pytest.mark.parametrize("body", [b"", b"x" * LIMIT, [b"x" * 10] * 10, [b"a", b"", b"b"]])
async def test_up_to_the_limit(body: Body) -> None:
    """A body of up to the limit is read, announced or in chunks, under WSGI too."""
    headers = {"content-length": str(len(body))} if isinstance(body, bytes) else {}
    whole = body if isinstance(body, bytes) else b"".join(body)
    answer, _ = await asgi(body, headers)
    assert answer is not None
    assert (answer[0], answer[2]) == (200, whole)


@pytest.mark.parametrize("body", [b"", b"x" * LIMIT, [b"x" * 10] * 10])
def test_up_to_the_limit_under_wsgi(body: Body) -> None:
    """The same under WSGI."""
    headers = {"content-length": str(len(body))} if isinstance(body, bytes) else {}
    whole = body if isinstance(body, bytes) else b"".join(body)
    answer = wsgi(body, headers)
    assert (answer[0], answer[2]) == (200, whole)


async def test_larger_than_memory(log: Log) -> None:
    """Where the limit allows for more than Django keeps in memory, the rest is on disk, and whole."""
    with override_settings(FILE_UPLOAD_MAX_MEMORY_SIZE=10):
        answer, _ = await asgi([b"x" * 10] * 5, {})
    assert answer is not None
    assert answer[2] == b"x" * 50


async def test_client_that_goes_away_under_asgi(log: Log) -> None:
    """A client that goes away in the middle of its body leaves a line, and no exception; nothing ran."""
    await asgi([b"x"], {"content-length": "50"}, is_cut=True)
    (line,) = log.named("http.request")
    assert (line["status_code"], line["level"]) == (499, "info")


def test_client_that_goes_away(log: Log) -> None:
    """The same under WSGI, where reading fails."""
    assert wsgi(Chunks([b"x"], ConnectionResetError()), {})[0] == 499
    assert len(log.named("http.request")) == 1


async def test_query_that_is_no_ascii(log: Log) -> None:
    """A query with bytes that a URL does not have is read as under WSGI, not refused without a word."""
    with serving(operation("/ask", lambda request: HttpResponse(repr(sorted(request.GET.items()))), "POST")):
        answer, _ = await asgi(b"", {}, "/ask", b"a=1&b=\xff%20c&d=e=f")
    assert answer is not None
    assert answer[0] == 200
    assert b"'a', '1'" in answer[2]
    assert b"'d', 'e=f'" in answer[2]


def test_request_shows_no_query() -> None:
    """How a request looks in a record of Django's tells nothing of its query."""
    seen: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(repr(request))
        return HttpResponse()

    with serving(operation("/look", view, "POST")):
        wsgi(b"", {}, "/look", "token=abc")
    assert seen == ["<ServiceWSGIRequest: POST '/look'>"]


def test_applications() -> None:
    """These handlers are what servers are given."""
    assert isinstance(wsgi_module.application, ServiceWSGIHandler)
    assert isinstance(vars(asgi_module.application)["_app"], ServiceASGIHandler)
