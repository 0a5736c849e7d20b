"""Ids, spans, access lines and request metrics."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connection
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.test.utils import override_settings
from django.urls import path
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.adapters.tracing import Tracing
from app.core.context import current_context, request_context, set_user_id
from app.core.logging import get_logger, is_reported
from app.settings_groups import HttpSettings
from app.web.bootstrap import Services, using_services
from app.web.handlers import ServiceWSGIHandler
from app.web.middleware import middleware
from app.web.request_state import is_observed

from ..conftest import Log
from .conftest import Ask
from .paths import operation, raising, serving

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
FIELDS = {
    "method", "route", "path", "status_code", "duration_ms", "client_ip", "user_agent", "request_id", "trace_id",
    "span_id", "domain", "action", "status",
}  # fmt: skip


@pytest.mark.parametrize("where", ["/livez", "/nowhere", "/docs", "/admin/login/", "/static/admin/css/base.css"])
def test_every_response_has_ids(ask: Ask, where: str) -> None:
    """A good request id is taken over, the trace is continued, and both are on every response."""
    response = ask("GET", where, headers={"x-request-id": "my-id_1.~", "traceparent": TRACEPARENT})
    b"".join(response)
    assert (response["x-request-id"], response["x-trace-id"]) == ("my-id_1.~", TRACE_ID)


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "a\tb", "é", "a,b"])
def test_bad_request_id_is_replaced(ask: Ask, sent: str) -> None:
    """A request id that could do harm is replaced; two of them arrive as one with a comma."""
    assert ask("GET", "/livez", headers={"x-request-id": sent})["x-request-id"] not in ("", sent)


@pytest.mark.parametrize("sent", [f"{TRACEPARENT},{TRACEPARENT}", f",{TRACEPARENT}", "00-0-0-0"])
def test_bad_trace_is_restarted(ask: Ask, sent: str) -> None:
    """Two positions in a trace are none."""
    assert ask("GET", "/livez", headers={"traceparent": sent})["x-trace-id"] != TRACE_ID


@pytest.mark.parametrize(("sent", "shown"), [("order-flow_7", "order-flow_7"), ("a b", None), ("x" * 129, None)])
def test_correlation_id(ask: Ask, log: Log, sent: str, shown: str | None) -> None:
    """The id of the work that a request is a part of is on its lines, when it could do no harm."""
    ask("GET", "/nowhere", headers={"x-correlation-id": sent})
    assert log.named("http.request")[0].get("correlation_id") == shown


@pytest.mark.django_db
def test_access_line(ask: Ask, log: Log) -> None:
    """A request is one line at its end, with the template of its route."""
    ask("GET", "/orders/42", headers={"user-agent": "curl/8"})
    (line,) = log.named("http.request")
    assert set(line) >= FIELDS
    assert (line["route"], line["path"], line["status_code"]) == ("/orders/{order_id}", "/orders/42", 404)
    assert (line["level"], line["status"], line["user_agent"]) == ("info", "client_error", "curl/8")
    assert line["client_ip"] == "127.0.0.1"


def test_nobody_else_logs_the_request(ask: Ask, log: Log) -> None:
    """Django's own lines about requests say nothing that the access line does not."""
    with serving(operation("/fails", raising(RuntimeError("broken")))):
        for where in ("/nowhere", "/fails", "/orders?limit=x"):
            ask("GET", where)
        ask("DELETE", "/livez")
    assert {line["event"] for line in log.events} == {"http.request"}


def test_quiet_paths(ask: Ask, log: Log) -> None:
    """Probes and scrapes leave no line."""
    for where in ("/livez", "/metrics"):
        ask("GET", where)
    assert log.named("http.request") == []


def test_server_error_line(ask: Ask, log: Log) -> None:
    """A failure is one line at level error, with the exception and without its local variables."""

    def fails(request: HttpRequest) -> None:
        hidden = "s3cr3t-value"
        raise RuntimeError(hidden[:0] + "broken")

    with serving(operation("/fails", fails)):
        ask("GET", "/fails")
    (line,) = log.named("http.request")
    assert (line["level"], line["status"]) == ("error", "server_error")
    assert line["exception"][-1]["message"] == "broken"
    assert line["exception"][-1]["frames"][-1]["function"] == "fails"
    assert "s3cr3t-value" not in "".join(log)


def test_context_does_not_leak(ask: Ask, log: Log) -> None:
    """What one request binds is on its own lines and on no other."""

    def bind(request: HttpRequest, user: str) -> None:
        set_user_id(user)
        get_logger("test").info("inside")

    with serving(operation("/bind/{user}", bind)):
        ask("GET", "/bind/ada")
        ask("GET", "/nowhere")
    bound, other = log.named("http.request")
    assert (bound["user_id"], log.named("inside")[0]["user_id"]) == ("ada", "ada")
    assert log.named("inside")[0]["request_id"] == bound["request_id"]
    assert "user_id" not in other
    assert current_context() == {}


def test_request_metrics(ask: Ask, services: Services) -> None:
    """A request is counted under its template, never its path, and an odd method under one word."""
    with serving(operation("/things/{thing}", lambda request, thing: None)):
        ask("GET", "/things/1234567")
    ask("BREW", "/orders")
    text = services.metrics.render().decode()
    assert (
        'http_server_request_duration_seconds_count{method="GET",route="/things/{thing}",status_code="200"} 1' in text
    )
    assert 'method="_OTHER"' in text
    assert "1234567" not in text
    assert "BREW" not in text


@pytest.fixture
def exporter(services: Services) -> Iterator[InMemorySpanExporter]:
    """Return where the spans of the service end up."""
    spans = InMemorySpanExporter()
    tracing = Tracing(services.settings, processor=SimpleSpanProcessor(spans))
    with using_services(replace(services, tracing=tracing)):
        yield spans


def test_one_span_per_request(ask: Ask, exporter: InMemorySpanExporter, log: Log) -> None:
    """A request is one span of kind server, named by its template; the log has its ids."""
    ask("GET", "/admin/login/", headers={"traceparent": TRACEPARENT})
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.kind.name) == ("GET /admin/login/", "SERVER")
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert span.attributes is not None
    assert (span.attributes["url.path"], span.attributes["url.scheme"]) == ("/admin/login/", "http")
    context = span.get_span_context()
    assert context is not None
    assert log.named("http.request")[0]["span_id"] == f"{context.span_id:016x}"


def test_failed_span(ask: Ask, exporter: InMemorySpanExporter) -> None:
    """A failure is told on the span, with its exception."""
    with serving(operation("/fails", raising(RuntimeError("broken")))):
        ask("GET", "/fails")
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code.name == "ERROR"
    assert [event.name for event in span.events] == ["exception"]


def _query(times: int) -> None:
    with connection.cursor() as cursor:
        for number in range(times):
            cursor.execute(f"SELECT 'x{number}'")


@pytest.mark.django_db
def test_queries_of_a_request(ask: Ask, services: Services, log: Log) -> None:
    """The access line and a series say how many statements a request sent; one that sent none says nothing of it."""

    def none(request: HttpRequest) -> None:
        with request_context(part="x"):
            get_logger("test").info("inside")

    with serving(operation("/thrice", lambda request: _query(3)), operation("/none", none)):
        for where in ("/thrice", "/none"):
            ask("GET", where)
    three, no = log.named("http.request")
    assert three["queries"] == 3
    assert three["query_ms"] > 0
    assert {"queries", "query_ms"}.isdisjoint(no)
    text = services.metrics.render().decode()
    assert 'http_server_request_queries_sum{method="GET",route="/thrice"} 3.0' in text
    assert 'http_server_request_queries_count{method="GET",route="/none"}' not in text


@pytest.mark.django_db
def test_one_query_per_row_is_told(ask: Ask, services: Services, log: Log) -> None:
    """A request with more statements than allowed is a warning that names the one that ran most often, once a while."""
    limit = services.settings.database.many_queries

    def rows(request: HttpRequest, number: int) -> None:
        _query(number)

    with serving(operation("/rows/{number}", rows)):
        ask("GET", f"/rows/{limit}")
        assert log.named("database.many_queries") == []
        for _ in range(3):
            ask("GET", f"/rows/{limit + 1}")
    (line,) = log.named("database.many_queries")
    assert (line["level"], line["operation"], line["queries"]) == ("warning", "GET /rows/{number}", limit + 1)
    assert (line["statement"], line["times"], line["suppressed"]) == ("SELECT ?", limit + 1, 0)
    assert line["request_id"] == log.named("http.request")[1]["request_id"]


@pytest.mark.parametrize(
    ("sent", "shown"),
    [(None, "127.0.0.1"), ("203.0.113.9", "203.0.113.9"), ("127.0.0.1, 203.0.113.9", "203.0.113.9")],
)
def test_client_behind_a_proxy(ask: Ask, log: Log, sent: str | None, shown: str) -> None:
    """Behind a trusted proxy the client is the one whom the proxy names, for views too."""

    def who(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.META["REMOTE_ADDR"])

    with serving(path("who", who)):
        response = ask("GET", "/who", headers={} if sent is None else {"x-forwarded-for": sent})
    assert log.named("http.request")[0]["client_ip"] == shown == response.content.decode()


def test_untrusted_proxy(ask: Ask, services: Services, log: Log) -> None:
    """Whoever is not trusted as a proxy names nobody."""
    http = HttpSettings(trusted_proxies=("10.0.0.0/8",))
    settings = services.settings.model_copy(update={"http": http})
    with using_services(replace(services, settings=settings)):
        ask("GET", "/nowhere", headers={"x-forwarded-for": "203.0.113.9"})
    assert log.named("http.request")[0]["client_ip"] == "127.0.0.1"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_asked", [True, False])
def test_user(services: Services, log: Log, is_asked: bool) -> None:
    """The user is on the line when somebody has asked Django for it; nobody asks for the line's sake."""
    user = User.objects.create_user("ada")
    client = Client()
    client.force_login(user)

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.user.get_username() if is_asked else "")

    with serving(path("me", view)):
        client.get("/me")
    (line,) = log.named("http.request")
    assert line.get("user_id") == (str(user.pk) if is_asked else None)
    assert ("queries" in line) is is_asked


@pytest.mark.django_db(transaction=True)
def test_user_under_asgi(services: Services, log: Log) -> None:
    """The user that an asynchronous view asked for is known too."""
    user = User.objects.create_user("ada")
    client = AsyncClient()
    async_to_sync(client.aforce_login)(user)

    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse((await request.auser()).get_username())

    with serving(path("me", view)):
        async_to_sync(client.get)("/me")
    assert log.named("http.request")[0]["user_id"] == str(user.pk)


def _parts() -> Iterator[bytes]:
    get_logger("test").info("streaming")
    yield b"one"
    yield b"two"


async def _parts_async() -> AsyncIterator[bytes]:
    for part in _parts():
        yield part


def test_streamed_answer(services: Services, log: Log) -> None:
    """A streamed answer is over when its last byte is given; what makes it runs within the request's context."""
    with serving(path("stream", lambda request: StreamingHttpResponse(_parts()))):
        response: Any = Client().get("/stream")
        assert log.named("http.request") == []
        assert b"".join(response.streaming_content) == b"onetwo"
    (line,) = log.named("http.request")
    assert line["status_code"] == 200
    assert log.named("streaming")[0]["request_id"] == line["request_id"] == response["x-request-id"]
    assert current_context() == {}


async def test_streamed_answer_under_asgi(services: Services, log: Log) -> None:
    """The same under ASGI."""

    async def view(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(_parts_async())

    with serving(path("stream", view)):
        response: Any = await AsyncClient().get("/stream")
        assert log.named("http.request") == []
        assert b"".join([part async for part in response.streaming_content]) == b"onetwo"
    (line,) = log.named("http.request")
    assert log.named("streaming")[0]["request_id"] == line["request_id"]


def test_stream_that_is_not_taken(services: Services, log: Log) -> None:
    """An answer that nobody takes to its end is over when it is closed, and is told once."""
    with serving(path("stream", lambda request: StreamingHttpResponse(_parts()))):
        response = Client().get("/stream")
        response.close()
        response.close()
    assert len(log.named("http.request")) == 1


def test_stream_that_breaks(services: Services, log: Log) -> None:
    """A stream that breaks half-way is an error, logged with its exception, whatever its status was."""

    def broken() -> Iterator[bytes]:
        yield b"one"
        msg = "broken half-way"
        raise RuntimeError(msg)

    with serving(path("stream", lambda request: StreamingHttpResponse(broken()))):
        response: Any = Client().get("/stream")
        with pytest.raises(RuntimeError) as raised:
            b"".join(response.streaming_content)
    (line,) = log.named("http.request")
    assert (line["status_code"], line["status"], line["level"]) == (200, "server_error", "error")
    assert line["exception"][0]["message"] == "broken half-way"
    assert is_reported(raised.value)


def test_file(services: Services, log: Log, tmp_path: Path) -> None:
    """A file that the server may send itself stays one, and its request is over when the answer is closed."""
    (tmp_path / "file.txt").write_text("content")
    environ = {**RequestFactory().get("/file").META, "wsgi.file_wrapper": FileWrapper}

    def view(request: HttpRequest) -> FileResponse:
        return FileResponse((tmp_path / "file.txt").open("rb"))

    with serving(path("file", view)):
        response: Any = ServiceWSGIHandler()(environ, lambda *_: lambda _: None)
        assert isinstance(response, FileWrapper)
        assert b"".join(response) == b"content"
        assert log.named("http.request") == []
        response.close()
    assert len(log.named("http.request")) == 1


async def test_client_that_goes_away(services: Services, log: Log) -> None:
    """A request that is cancelled, because its caller has gone, ends with 499 and no exception."""
    began = asyncio.Event()

    async def view(request: HttpRequest) -> HttpResponse:
        began.set()
        await asyncio.Event().wait()
        return HttpResponse()

    with serving(path("wait", view)):
        task = asyncio.create_task(AsyncClient().get("/wait"))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (line,) = log.named("http.request")
    assert (line["status_code"], line["status"], line["route"]) == (499, "client_error", "/wait")
    assert "exception" not in line
    assert current_context() == {}


@pytest.mark.parametrize("names", [("errors",), ()])
def test_without_the_middleware(services: Services, log: Log, names: tuple[str, ...]) -> None:
    """Switched off, no line is written, and Django's own lines about requests come back."""
    seen: list[bool] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(is_observed(request))
        return HttpResponse(status=404)

    with override_settings(MIDDLEWARE=middleware(names)), serving(path("view", view)):
        Client().get("/view")
    assert seen == [False]
    assert log.named("http.request") == []
    assert [line["logger"] for line in log.events] == ["django.request"]
