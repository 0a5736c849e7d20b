"""Outgoing HTTP carries the trace and the request id, and each call is a span of its own."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.adapters.http_client import create_http_client
from app.adapters.tracing import Tracing, attached
from app.core.context import request_context
from app.core.tracing import Trace
from app.settings import Settings

PARENT = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1, "foo@=1,bar=2")


class Service:
    """Another service: it remembers the requests that it received."""

    def __init__(self) -> None:
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer as the path asks for."""
        self.requests.append(request)
        path = request.url.path.strip("/")
        if path == "refused":
            msg = "refused for " + "@".join(["ada", "example.com"])
            raise httpx2.ConnectError(msg, request=request)
        if path == "moved":
            return httpx2.Response(302, headers={"location": "/200"})
        return httpx2.Response(int(path or 200), text="hello")

    def sent(self, name: str) -> list[str | None]:
        """Return a header of each request."""
        return [request.headers.get(name) for request in self.requests]


def span_id(span: ReadableSpan) -> str:
    """Return the id of a span as headers have it."""
    context = span.get_span_context()
    assert context is not None
    return f"{context.span_id:016x}"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Return what takes the spans."""
    return InMemorySpanExporter()


@pytest.fixture
def tracing(settings: Settings, exporter: InMemorySpanExporter) -> Tracing:
    """Return tracing that records."""
    return Tracing(settings, processor=SimpleSpanProcessor(exporter))


@pytest.fixture
def service() -> Service:
    """Return another service."""
    return Service()


@pytest.fixture
async def http(tracing: Tracing, service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    """Return a client of it."""
    async with create_http_client(tracing, transport=httpx2.MockTransport(service), base_url="http://other") as client:
        yield client


async def test_each_call_is_a_span(
    http: httpx2.AsyncClient, tracing: Tracing, service: Service, exporter: InMemorySpanExporter
) -> None:
    """Each call is one client span below the current one, and the next service sees it as its parent."""
    outer = tracing.start("outer", parent=PARENT)
    with attached(outer):
        await http.get("/")
        await http.post("/201", json={})
    first, second = exporter.get_finished_spans()
    for span, header in zip((first, second), service.sent("traceparent"), strict=True):
        assert (span.kind.name, span.parent) == ("CLIENT", outer.get_span_context())
        assert header == f"00-{PARENT.trace_id}-{span_id(span)}-01"
    assert span_id(first) != span_id(second)
    assert (first.name, second.name) == ("GET", "POST")
    assert dict(second.attributes or {}) == {
        "http.request.method": "POST",
        "server.address": "other",
        "server.port": 80,
        "url.full": "http://other/201",
        "http.response.status_code": 201,
    }


async def test_state_is_handed_on(http: httpx2.AsyncClient, tracing: Tracing, service: Service) -> None:
    """The caller's `tracestate` goes on as it came, without a trace of it there is none."""
    with attached(tracing.start("outer", parent=PARENT)):
        await http.get("/")
    await http.get("/")
    assert service.sent("tracestate") == ["foo@=1,bar=2", None]


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
async def test_flags_are_handed_on(
    http: httpx2.AsyncClient, tracing: Tracing, service: Service, flags: int, exporter: InMemorySpanExporter
) -> None:
    """Whether the trace is sampled and random is said as the caller said it; what is not sampled is not recorded."""
    with attached(tracing.start("outer", parent=Trace(PARENT.trace_id, PARENT.span_id, flags))):
        await http.get("/")
    assert [str(header)[-2:] for header in service.sent("traceparent")] == [f"{flags:02x}"]
    assert len(exporter.get_finished_spans()) == flags % 2


@pytest.mark.parametrize("flags", [0, 3])
async def test_without_an_exporter(settings: Settings, service: Service, flags: int) -> None:
    """Where nothing is recorded the trace goes on all the same, and each call has an id of its own."""
    tracing = Tracing(settings)
    parent = Trace(PARENT.trace_id, PARENT.span_id, flags, PARENT.state)
    async with create_http_client(tracing, transport=httpx2.MockTransport(service)) as client:
        with attached(tracing.start("outer", parent=parent)) as outer:
            for _ in range(2):
                await client.get("http://other/")
    pattern = f"00-{PARENT.trace_id}-([0-9a-f]+)-{flags:02x}"
    ids = [match.group(1) for header in service.sent("traceparent") if (match := re.fullmatch(pattern, str(header)))]
    assert len({*ids, PARENT.span_id, f"{outer.get_span_context().span_id:016x}"}) == 4
    assert service.sent("tracestate") == [PARENT.state] * 2


async def test_new_trace(http: httpx2.AsyncClient, service: Service) -> None:
    """A call outside any trace starts one."""
    await http.get("/")
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-0[13]", str(service.sent("traceparent")[0]))


@pytest.mark.parametrize(("field", "header"), [("request_id", "x-request-id"), ("correlation_id", "x-correlation-id")])
async def test_ids_are_handed_on(http: httpx2.AsyncClient, service: Service, field: str, header: str) -> None:
    """The ids of the request go to the next service, unless the call has its own."""
    with request_context(**{field: "r1"}):
        await http.get("/")
        await http.get("/", headers={header: "own"})
    await http.get("/")
    assert service.sent(header) == ["r1", "own", None]


async def test_redirect_is_a_call_of_its_own(
    http: httpx2.AsyncClient, service: Service, exporter: InMemorySpanExporter
) -> None:
    """Following a redirect is a second call with a span of its own."""
    await http.get("/moved", follow_redirects=True)
    assert len(set(service.sent("traceparent"))) == 2
    assert len(exporter.get_finished_spans()) == 2


@pytest.mark.parametrize("status", [404, 503])
async def test_error_status(http: httpx2.AsyncClient, exporter: InMemorySpanExporter, status: int) -> None:
    """An error of the other service marks the span as failed, and is the caller's to judge."""
    assert (await http.get(f"/{status}")).status_code == status
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code.name == "ERROR"
    assert (span.attributes or {})["error.type"] == str(status)
    assert span.events == ()


async def test_address_on_the_span(http: httpx2.AsyncClient, exporter: InMemorySpanExporter) -> None:
    """A span has the whole address, without what is secret in it, and where it is."""
    secret = "-".join(["correct", "horse"])
    await http.get(f"https://ada:{secret}@other:8443/200?password={secret}&page=2")
    (span,) = exporter.get_finished_spans()
    attributes = span.attributes or {}
    assert attributes["url.full"] == "https://other:8443/200?password=[redacted]&page=2"
    assert (attributes["server.address"], attributes["server.port"]) == ("other", 8443)


async def test_odd_method(http: httpx2.AsyncClient, exporter: InMemorySpanExporter) -> None:
    """A method that nobody knows names no span."""
    await http.request("BREW", "/200")
    (span,) = exporter.get_finished_spans()
    attributes = span.attributes or {}
    assert (span.name, attributes["http.request.method"]) == ("HTTP", "_OTHER")
    assert attributes["http.request.method_original"] == "BREW"


async def test_service_of_others(tracing: Tracing, service: Service, exporter: InMemorySpanExporter) -> None:
    """A service of others is told neither trace nor request id; the call is a span all the same."""
    transport = httpx2.MockTransport(service)
    async with create_http_client(tracing, propagate=False, transport=transport) as client:
        with request_context(request_id="r1", correlation_id="c1"):
            await client.get("http://other/")
    names = ("traceparent", "tracestate", "x-request-id", "x-correlation-id")
    assert [service.sent(name) for name in names] == [[None]] * 4
    assert len(exporter.get_finished_spans()) == 1


async def test_failed_connection(http: httpx2.AsyncClient, exporter: InMemorySpanExporter) -> None:
    """A call that gets no answer raises, and its span says why without personal data."""
    with pytest.raises(httpx2.ConnectError):
        await http.get("/refused")
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code.name == "ERROR"
    assert [dict(event.attributes or {}) for event in span.events] == [
        {"exception.type": "ConnectError", "exception.message": "refused for [redacted]"}
    ]


async def test_mounted_transport_is_traced(tracing: Tracing, service: Service) -> None:
    """A transport for some addresses only carries the trace too."""
    mounts = {"http://special": httpx2.MockTransport(service)}
    async with create_http_client(tracing, mounts=mounts) as client:
        await client.get("http://special/")
    assert service.sent("traceparent") != [None]


@asynccontextmanager
async def proxy_server() -> AsyncIterator[tuple[str, list[bytes]]]:
    """Return the address of a proxy, and the requests that it gets."""
    heads: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


@pytest.fixture
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.usefixtures("_no_proxies")
async def test_proxy_is_traced(tracing: Tracing) -> None:
    """Through a proxy that is given, the trace is carried too, and the environment's proxies do not matter."""
    async with proxy_server() as (url, heads), create_http_client(tracing, proxy=url) as client:
        assert (await client.get("http://other.invalid/path")).status_code == 204
    assert heads[0].startswith(b"GET http://other.invalid/path HTTP/1.1\r\n")
    assert b"\r\ntraceparent: 00-" in heads[0].lower()


@pytest.mark.usefixtures("_no_proxies")
@pytest.mark.parametrize("name", ["http_proxy", "all_proxy"])
async def test_proxy_of_the_environment(tracing: Tracing, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A proxy that the environment names is used, and the trace is carried through it."""
    async with proxy_server() as (url, heads):
        monkeypatch.setenv(name, url.removeprefix("http://"))
        async with create_http_client(tracing) as client:
            assert (await client.get("http://other.invalid/path")).status_code == 204
    assert heads[0].startswith(b"GET http://other.invalid/path HTTP/1.1\r\n")
    assert b"\r\ntraceparent: 00-" in heads[0].lower()


@pytest.mark.usefixtures("_no_proxies")
@pytest.mark.parametrize(
    ("excluded", "host", "is_direct"),
    [
        ("example.com", "example.com", True),
        ("example.com", "api.example.com", True),
        (".example.com", "api.example.com", True),
        ("example.com", "notexample.com", False),
        (" localhost , 127.0.0.1", "127.0.0.1", True),
        ("localhost", "localhost", True),
        ("::1", "[::1]", True),
        ("http://other:8080", "other:8080", True),
        ("*", "anything", True),
        ("example.com", "other", False),
    ],
)
async def test_without_a_proxy(
    tracing: Tracing, service: Service, monkeypatch: pytest.MonkeyPatch, excluded: str, host: str, is_direct: bool
) -> None:
    """What `NO_PROXY` names is reached directly."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", excluded)
    monkeypatch.setattr(
        "app.adapters.http_client.httpx2.AsyncHTTPTransport",
        lambda **options: httpx2.MockTransport(lambda request: httpx2.Response(299 if "proxy" in options else 200)),
    )
    async with create_http_client(tracing) as client:
        assert (await client.get(f"http://{host}/")).status_code == (200 if is_direct else 299)


@pytest.mark.usefixtures("_no_proxies")
@pytest.mark.parametrize("own", [{"trust_env": False}, {"transport": httpx2.MockTransport(Service())}])
async def test_environment_that_does_not_count(
    tracing: Tracing, monkeypatch: pytest.MonkeyPatch, own: dict[str, Any]
) -> None:
    """A client that is told so, or that has a transport of its own, uses no proxy of the environment."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with await asyncio.start_server(hello, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with create_http_client(tracing, **own) as client:
            assert (await client.get(f"http://127.0.0.1:{port}/")).status_code == 200


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a request."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    await writer.drain()
    writer.close()


async def test_waiting_is_bounded(tracing: Tracing) -> None:
    """A client waits for no service forever, unless it is told to."""
    async with create_http_client(tracing) as client, create_http_client(tracing, timeout=3.0) as impatient:
        assert None not in client.timeout.as_dict().values()
        assert impatient.timeout.connect == 3.0
