"""Ids, spans, access lines and request metrics."""

import asyncio
from typing import Annotated

import httpx2
import pytest
from fastapi import Depends, FastAPI
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import text

from app.adapters.tracing import Tracing
from app.adapters.unit_of_work import UnitOfWork
from app.api.application import create_app
from app.api.dependencies import unit_of_work
from app.bootstrap import Services, bootstrap
from app.core.context import current_context, request_context, set_user_id
from app.core.logging import get_logger
from app.settings import Settings
from app.settings_groups import DatabaseSettings

from ..conftest import Log

Work = Annotated[UnitOfWork, Depends(unit_of_work)]
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
FIELDS = {
    "method", "route", "path", "status_code", "duration_ms", "client_ip", "user_agent", "request_id", "trace_id",
    "span_id", "domain", "action", "status",
}  # fmt: skip


@pytest.mark.parametrize("path", ["/livez", "/orders", "/nowhere", "/docs"])
async def test_every_response_has_ids(client: httpx2.AsyncClient, path: str) -> None:
    """A good request id is taken over, the trace is continued, and both are on every response."""
    response = await client.get(path, headers={"x-request-id": "my-id_1.~", "traceparent": TRACEPARENT})
    assert response.headers.get_list("x-request-id") == ["my-id_1.~"]
    assert response.headers.get_list("x-trace-id") == [TRACE_ID]


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "a\tb", "é"])
async def test_bad_request_id_is_replaced(client: httpx2.AsyncClient, sent: str) -> None:
    """A request id that could do harm is replaced."""
    response = await client.get("/livez", headers=[(b"x-request-id", sent.encode())])
    assert response.headers["x-request-id"] not in ("", sent)


@pytest.mark.parametrize(("sent", "shown"), [("order-flow_7", "order-flow_7"), ("a b", None), ("x" * 129, None)])
async def test_correlation_id(client: httpx2.AsyncClient, log: Log, sent: str, shown: str | None) -> None:
    """The id of the work that a request is a part of is on its lines, when it could do no harm."""
    await client.get("/orders", headers={"x-correlation-id": sent})
    assert log.named("http.request")[0].get("correlation_id") == shown


async def test_access_line(client: httpx2.AsyncClient, log: Log) -> None:
    """A request is one line at its end, with the template of its route."""
    await client.get("/orders/42", headers={"user-agent": "curl/8"})
    (line,) = log.named("http.request")
    assert set(line) >= FIELDS
    assert (line["route"], line["path"], line["status_code"]) == ("/orders/{order_id}", "/orders/42", 404)
    assert (line["level"], line["status"], line["user_agent"]) == ("info", "client_error", "curl/8")


async def test_quiet_paths(client: httpx2.AsyncClient, log: Log) -> None:
    """Probes and scrapes leave no line."""
    for path in ("/livez", "/readyz", "/metrics"):
        await client.get(path)
    assert log.named("http.request") == []


async def test_server_error_line(client: httpx2.AsyncClient, app: FastAPI, log: Log) -> None:
    """A failure is one line at level error, with the exception and without its local variables."""

    @app.get("/fails")
    async def fails() -> None:
        hidden = "s3cr3t-value"
        raise RuntimeError(hidden[:0] + "broken")

    await client.get("/fails")
    (line,) = log.named("http.request")
    assert (line["level"], line["status"]) == ("error", "server_error")
    assert line["exception"][-1]["message"] == "broken"
    assert line["exception"][-1]["frames"][-1]["function"] == "fails"
    assert "s3cr3t-value" not in "".join(log)


async def test_context_does_not_leak(client: httpx2.AsyncClient, app: FastAPI, log: Log) -> None:
    """What one request binds is on its own lines and on no other."""

    @app.get("/bind/{user}")
    async def bind(user: str) -> None:
        set_user_id(user)
        get_logger("test").info("inside")

    await client.get("/bind/ada")
    await client.get("/orders")
    bound, other = log.named("http.request")
    assert (bound["user_id"], log.named("inside")[0]["user_id"]) == ("ada", "ada")
    assert "user_id" not in other
    assert current_context() == {}


async def test_request_metrics(client: httpx2.AsyncClient, services: Services) -> None:
    """A request is counted under its template, never its path, and an odd method under one word."""
    await client.get("/orders/1234567")
    await client.request("BREW", "/orders")
    text = services.metrics.render().decode()
    assert (
        'http_server_request_duration_seconds_count{method="GET",route="/orders/{order_id}",status_code="404"} 1'
        in text
    )
    assert 'method="_OTHER"' in text
    assert "1234567" not in text
    assert "BREW" not in text


async def test_one_span_per_request(settings: Settings, log: Log) -> None:
    """A request is one span of kind server, named by its template; the log has its ids."""
    exporter = InMemorySpanExporter()
    services = bootstrap(settings, tracing=Tracing(settings, processor=SimpleSpanProcessor(exporter)))
    app = create_app(settings, services=services)
    transport = httpx2.ASGITransport(app=app)
    async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport, base_url="http://s") as client:
        await client.get("/orders/1", headers={"traceparent": TRACEPARENT})
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.kind.name) == ("GET /orders/{order_id}", "SERVER")
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    context = span.get_span_context()
    assert context is not None
    assert log.named("http.request")[0]["span_id"] == f"{context.span_id:016x}"


async def test_nothing_is_recorded_without_an_endpoint(services: Services) -> None:
    """Without an endpoint a span has ids and records nothing."""
    span = services.tracing.start("anything")
    assert span.get_span_context().is_valid
    assert not span.is_recording()


async def test_queries_of_a_request(client: httpx2.AsyncClient, app: FastAPI, services: Services, log: Log) -> None:
    """The access line and a series say how many statements a request sent; one that sent none says nothing of it."""

    @app.get("/thrice")
    async def thrice(work: Work) -> None:
        for _ in range(3):
            await work.session.execute(text("SELECT 1"))

    @app.get("/threaded")
    def threaded() -> None:
        with services.database.sync_engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    @app.get("/none")
    async def none() -> None:
        with request_context(part="x"):
            get_logger("test").info("inside")

    for path in ("/thrice", "/threaded", "/none"):
        await client.get(path)
    three, one, no = log.named("http.request")
    assert (three["queries"], one["queries"]) == (3, 1)
    assert three["query_ms"] > 0
    assert {"queries", "query_ms"}.isdisjoint(no)
    text_of = services.metrics.render().decode()
    assert 'http_server_request_queries_sum{method="GET",route="/thrice"} 3.0' in text_of
    assert 'http_server_request_queries_count{method="GET",route="/threaded"} 1.0' in text_of
    assert 'http_server_request_queries_count{method="GET",route="/none"}' not in text_of


async def test_concurrent_requests_count_their_own_queries(client: httpx2.AsyncClient, app: FastAPI, log: Log) -> None:
    """Requests that run at the same time do not count each other's statements."""

    @app.get("/times/{number}")
    async def times(number: int, work: Work) -> None:
        for _ in range(number):
            await work.session.execute(text("SELECT 1"))
            await asyncio.sleep(0)

    await asyncio.gather(*(client.get(f"/times/{number}") for number in range(1, 6)))
    assert {line["path"][-1]: line["queries"] for line in log.named("http.request")} == {
        str(number): number for number in range(1, 6)
    }


async def test_one_query_per_row_is_told(
    client: httpx2.AsyncClient, app: FastAPI, settings: Settings, log: Log
) -> None:
    """A request with more statements than allowed is a warning that names the one that ran most often, once a while."""
    limit = settings.database.many_queries

    @app.get("/rows/{number}")
    async def rows(number: int, work: Work) -> None:
        await work.session.execute(text("SELECT 'all'"))
        for row in range(number - 1):
            await work.session.execute(text(f"SELECT :id, 'x{row}'"), {"id": "hidden-id"})

    await client.get(f"/rows/{limit}")
    assert log.named("database.many_queries") == []
    for _ in range(3):
        await client.get(f"/rows/{limit + 1}")
    (line,) = log.named("database.many_queries")
    assert (line["level"], line["operation"], line["queries"]) == ("warning", "GET /rows/{number}", limit + 1)
    assert (line["times"], line["suppressed"]) == (limit, 0)
    assert line["statement"] in ("SELECT ?, ?", "SELECT :id, ?")
    assert line["request_id"] == log.named("http.request")[1]["request_id"]
    assert "hidden-id" not in "".join(log)


async def test_no_limit_for_queries(settings: Settings, log: Log) -> None:
    """Where the limit is switched off nothing is said of many statements."""
    unlimited = settings.model_copy(update={"database": DatabaseSettings(many_queries=0)})
    services = bootstrap(unlimited)
    app = create_app(unlimited, services=services)

    @app.get("/rows")
    async def rows(work: Work) -> None:
        for _ in range(40):
            await work.session.execute(text("SELECT 1"))

    transport = httpx2.ASGITransport(app=app)
    async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport, base_url="http://s") as client:
        await client.get("/rows")
    assert log.named("http.request")[0]["queries"] == 40
    assert log.named("database.many_queries") == []
