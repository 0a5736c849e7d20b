"""Spans to a collector over HTTP: what is sent, over which connection, and what its answers mean."""

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.trace import SpanKind

from app.adapters.otlp import OtlpExporter
from app.adapters.span_queue import Sent
from app.core.spans import RecordedSpan
from app.core.tracing import Trace
from app.otel_settings import TracesEndpoint

EMAIL = "@".join(["ada", "example.com"])
PASSWORD = "-".join(["correct", "horse"])
Answer = tuple[int, dict[str, str], bytes]
OK: Answer = (200, {}, b"")
Make = Callable[..., OtlpExporter]


class Collector:
    """Remembers requests, and answers as it is told to."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.answers: list[Answer] = []
        self.closes = False
        self.url = ""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Return a collector that listens."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    made = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            made.connections += 1
            super().setup()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            made.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            status, headers, answer = made.answers.pop(0) if made.answers else OK
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)
            # Without a word, as a server does that has waited long enough for a further request.
            self.close_connection = made.closes

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- named by the standard library
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        made.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
        yield made
        server.shutdown()


@pytest.fixture
def exporter() -> Iterator[Make]:
    """Return a function that makes what sends spans of a service."""
    made: list[OtlpExporter] = []

    def make(url: str, **options: Any) -> OtlpExporter:
        made.append(OtlpExporter(TracesEndpoint(url, **options), {"service.name": "orders"}))
        return made[-1]

    yield make
    for one in made:
        one.close()


def export(sender: OtlpExporter, name: str = "work", timeout: float = 10.0, **attributes: Any) -> Sent:
    """Send one span."""
    span = RecordedSpan(Trace("1" * 32, "2" * 16, 1), name, SpanKind.INTERNAL, None, attributes, lambda _span: None)
    span.end()
    return sender.send(sender.encode([span]), 1, timeout)


def test_request(exporter: Make, collector: Collector) -> None:
    """A batch is one POST of protobuf to the path as it was given, with the service's name."""
    assert export(exporter(collector.url)) == Sent()
    ((path, headers, body),) = collector.requests
    assert (path, headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
    assert "content-encoding" not in headers
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    assert resource.resource.attributes[0].value.string_value == "orders"
    assert resource.scope_spans[0].spans[0].name == "work"


def test_nothing_secret_is_sent(exporter: Make, collector: Collector) -> None:
    """What leaves the process has been redacted."""
    attributes: dict[str, Any] = {"url.path": f"/users/{EMAIL}", "password": "plain"}
    export(exporter(collector.url), f"mail {EMAIL}", **attributes)
    body = collector.requests[0][2]
    assert EMAIL.encode() not in body
    assert b"plain" not in body
    assert b"/users/[redacted]" in body


def test_compression(exporter: Make, collector: Collector) -> None:
    """A body is compressed when that is wanted."""
    export(exporter(collector.url, compress=True))
    ((_, headers, body),) = collector.requests
    assert headers["content-encoding"] == "gzip"
    assert b"work" in gzip.decompress(body)


def test_own_headers(exporter: Make, collector: Collector) -> None:
    """A collector is told what the settings say, and a login of the address as credentials."""
    export(exporter(collector.url.replace("://", f"://ada:{PASSWORD}@"), headers={"X-Scope": "team a"}))
    ((path, headers, _),) = collector.requests
    assert (path, headers["x-scope"]) == ("/v1/traces", "team a")
    assert headers["authorization"] == "Basic YWRhOmNvcnJlY3QtaG9yc2U="


def test_connection_is_kept(exporter: Make, collector: Collector) -> None:
    """Batches go over one connection."""
    sender = exporter(collector.url)
    assert [export(sender) for _ in range(3)] == [Sent()] * 3
    assert (len(collector.requests), collector.connections) == (3, 1)


def test_connection_that_was_closed(exporter: Make, collector: Collector) -> None:
    """A connection that the collector has closed meanwhile is opened anew, and nothing is lost."""
    collector.closes = True
    sender = exporter(collector.url)
    assert [export(sender) for _ in range(3)] == [Sent()] * 3
    assert (len(collector.requests), collector.connections) == (3, 3)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_temporary_refusal(exporter: Make, collector: Collector, status: int) -> None:
    """What OTLP calls retryable may be tried again."""
    collector.answers = [(status, {}, b"")]
    assert export(exporter(collector.url)) == Sent(1, f"the collector answered {status}", may_retry=True)


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 500])
def test_refusal_for_good(exporter: Make, collector: Collector, status: int) -> None:
    """Every other answer would be the same the next time."""
    collector.answers = [(status, {"Location": "/elsewhere"}, b"<html>")]
    assert export(exporter(collector.url)) == Sent(1, f"the collector answered {status}")
    assert len(collector.requests) == 1


def test_time_to_wait(exporter: Make, collector: Collector) -> None:
    """`Retry-After` in seconds or as a date is heard; what is neither is not."""
    later = datetime.now(UTC) + timedelta(hours=1)
    past = datetime.now(UTC) - timedelta(hours=1)
    values = ["7", format_datetime(later, usegmt=True), format_datetime(past, usegmt=True), "soon", "-1"]
    collector.answers = [(503, {"Retry-After": value}, b"") for value in values]
    sender = exporter(collector.url)
    seconds, date, over, *nothing = [export(sender).retry_after for _ in values]
    assert (seconds, over, nothing) == (7.0, 0.0, [None, None])
    assert date is not None
    assert 3500 < date <= 3600


def test_part_that_is_not_taken(exporter: Make, collector: Collector) -> None:
    """A collector that takes a part only says how much it did not take, and why."""
    partial = ExportTracePartialSuccess(rejected_spans=1, error_message=f"unknown user {EMAIL}")
    collector.answers = [(200, {}, ExportTraceServiceResponse(partial_success=partial).SerializeToString())]
    assert export(exporter(collector.url)) == Sent(1, "unknown user [redacted]")


def test_large_answer(exporter: Make, collector: Collector) -> None:
    """An answer without end is not read to its end, and the next batch is sent all the same."""
    collector.answers = [(400, {}, b"x" * 200_000)]
    sender = exporter(collector.url)
    assert [export(sender).lost for _ in range(2)] == [1, 0]
    assert collector.connections == 2


def test_nobody_listens(exporter: Make) -> None:
    """Where nobody listens it may be tried again."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        sent = export(exporter(f"http://127.0.0.1:{unused.getsockname()[1]}/"))
    assert (sent.lost, sent.may_retry) == (1, True)
    assert sent.reason.startswith("ConnectionRefusedError")


@pytest.mark.parametrize(("given", "configured"), [(0.05, 10.0), (10.0, 0.05)])
def test_collector_that_hangs(exporter: Make, given: float, configured: float) -> None:
    """A collector that does not answer is given up in the shorter of both times, and may be tried again."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sender = exporter(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=configured)
        sent = export(sender, timeout=given)
    assert (sent.lost, sent.may_retry, sent.reason) == (1, True, "TimeoutError: timed out")


def test_answer_that_is_no_http(exporter: Make, collector: Collector) -> None:
    """Something else than a collector is no crash."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"220 mail.example.com ESMTP\r\n")

        threading.Thread(target=answer, daemon=True).start()
        sent = export(exporter(f"http://127.0.0.1:{other.getsockname()[1]}/"))
    assert (sent.lost, sent.may_retry) == (1, True)
    assert sent.reason.startswith("BadStatusLine")


def test_tls_is_spoken(exporter: Make, collector: Collector) -> None:
    """An address with https is never sent plain text."""
    sent = export(exporter(collector.url.replace("http://", "https://")))
    assert (sent.lost, sent.may_retry) == (1, True)
    assert "SSL" in sent.reason
    assert collector.requests == []


def test_certificates(exporter: Make, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector is held against the authorities that are given, and gets the service's own certificate."""
    trust = Mock(wraps=ssl.create_default_context())
    create = Mock(return_value=trust)
    monkeypatch.setattr("app.adapters.otlp.ssl.create_default_context", create)
    files = {name: Path(name) for name in ("certificate", "client_certificate", "client_key")}
    trust.load_cert_chain = Mock()
    sender = exporter(collector.url.replace("http://", "https://"), **files)
    assert [export(sender).lost for _ in range(2)] == [1, 1]
    create.assert_called_once_with(cafile=Path("certificate"))
    trust.load_cert_chain.assert_called_once_with(Path("client_certificate"), Path("client_key"))


@pytest.mark.parametrize("login", ["", f"ada:{PASSWORD}@"])
def test_proxy(exporter: Make, collector: Collector, monkeypatch: pytest.MonkeyPatch, login: str) -> None:
    """A proxy that the environment names gets the whole address, and its own credentials."""
    monkeypatch.setenv("http_proxy", collector.url.removesuffix("/v1/traces").replace("://", f"://{login}"))
    assert export(exporter("http://collector.invalid:4318/v1/traces")) == Sent()
    ((path, headers, _),) = collector.requests
    assert path == "http://collector.invalid:4318/v1/traces"
    assert headers.get("proxy-authorization") == ("Basic YWRhOmNvcnJlY3QtaG9yc2U=" if login else None)


def test_proxy_for_tls(exporter: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a proxy a collector with TLS is reached by a tunnel."""
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def answer() -> None:
            connection, _ = proxy.accept()
            with connection:
                seen.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{proxy.getsockname()[1]}")
        sent = export(exporter("https://collector.invalid/v1/traces"))
    assert (sent.lost, sent.may_retry) == (1, True)
    assert seen[0].startswith(b"CONNECT collector.invalid:443 ")


def test_without_a_proxy(exporter: Make, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that `NO_PROXY` names is reached directly."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert export(exporter(collector.url)) == Sent()
