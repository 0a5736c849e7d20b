"""Spans: what is recorded, what is exported, and that an endpoint in trouble troubles nobody."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.adapters.tracing import Tracing, attached, record_error
from app.core.logging import get_logger
from app.core.tracing import Trace, trace_of
from app.settings import Settings, load_settings

from ..conftest import Log
from ..processes import run_python

PARENT = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 3, "foo@=1")
EMAIL = "@".join(["ada", "example.com"])


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Return what takes the spans."""
    return InMemorySpanExporter()


@pytest.fixture
def tracing(settings: Settings, exporter: InMemorySpanExporter) -> Tracing:
    """Return tracing that records."""
    return Tracing(settings, processor=SimpleSpanProcessor(exporter))


@pytest.mark.parametrize("records", [True, False])
def test_caller_of_another_process(settings: Settings, tracing: Tracing, records: bool) -> None:
    """A span below a caller of another process has its trace, flags and state, recorded or not."""
    span = (tracing if records else Tracing(settings)).start("work", parent=PARENT)
    position = trace_of(span.get_span_context())
    assert (position.trace_id, position.flags, position.state) == (PARENT.trace_id, 3, "foo@=1")
    assert position.span_id != PARENT.span_id
    assert span.is_recording() is records


@pytest.mark.parametrize("records", [True, False])
def test_new_trace(settings: Settings, tracing: Tracing, records: bool) -> None:
    """Without a caller a trace begins, even while another span is current."""
    used = tracing if records else Tracing(settings)
    with attached(used.start("other")) as other:
        span = used.start("work")
    assert span.get_span_context().is_valid
    assert span.get_span_context().trace_id != other.get_span_context().trace_id


@pytest.mark.parametrize("records", [True, False])
def test_block(settings: Settings, tracing: Tracing, records: bool) -> None:
    """A block's span is the current one within it, below the one around it, and gone after it."""
    used = tracing if records else Tracing(settings)
    with used.span("outer") as outer, used.span("inner") as inner:
        assert trace.get_current_span() is inner
        assert inner.get_span_context().trace_id == outer.get_span_context().trace_id
        assert inner.get_span_context().span_id != outer.get_span_context().span_id
    assert not trace.get_current_span().get_span_context().is_valid


def test_recorded_block(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    """A recorded span has its name, parent, attributes and the service that speaks."""
    with tracing.span("outer"), tracing.span("inner", http_route="/orders"):
        pass
    inner, outer = exporter.get_finished_spans()
    assert inner.parent == outer.get_span_context()
    assert (inner.name, inner.kind.name, dict(inner.attributes or {})) == (
        "inner",
        "INTERNAL",
        {"http.route": "/orders"},
    )
    assert {
        "service.name": "orders",
        "service.version": "1.2.3",
        "deployment.environment.name": "test",
    }.items() <= dict(inner.resource.attributes).items()


def test_failed_block(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    """An exception passes through, and is on the span without secrets."""
    with pytest.raises(ValueError, match="no account"), tracing.span("work"):
        raise ValueError("no account " + EMAIL)
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code.name == "ERROR"
    assert (span.attributes or {})["error.type"] == "ValueError"
    assert [dict(event.attributes or {}) for event in span.events] == [
        {"exception.type": "ValueError", "exception.message": "no account [redacted]"}
    ]
    assert EMAIL not in span.to_json()


def test_error_on_a_span_that_records_nothing(settings: Settings) -> None:
    """Where nothing is recorded an error is nothing."""
    record_error(Tracing(settings).start("work"), ValueError("x"))


def test_ids_are_in_the_log(tracing: Tracing, log: Log) -> None:
    """A line within a span has the span's ids."""
    with tracing.span("work") as span:
        get_logger("app").info("inside")
    get_logger("app").info("outside")
    inside, outside = log.events
    assert inside["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert inside["span_id"] == f"{span.get_span_context().span_id:016x}"
    assert "trace_id" not in outside


@pytest.mark.parametrize(
    ("sampler", "ratio", "parent", "recorded"),
    [
        ("always_on", "0", None, True),
        ("always_off", "1", PARENT, False),
        ("traceidratio", "0", PARENT, False),
        ("traceidratio", "1", PARENT._replace(flags=0), True),
        ("parentbased_always_on", "0", PARENT._replace(flags=0), False),
        ("parentbased_always_off", "0", PARENT, True),
        ("parentbased_traceidratio", "0", None, False),
        ("parentbased_traceidratio", "1", None, True),
    ],
)
def test_sampler_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, sampler: str, ratio: str, parent: Trace | None, recorded: bool
) -> None:
    """OpenTelemetry's own variables choose what is recorded, and the flag that is handed on says so."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", ratio)
    tracing = Tracing(load_settings(), processor=SimpleSpanProcessor(InMemorySpanExporter()))
    span = tracing.start("work", parent=parent)
    assert (span.is_recording(), span.get_span_context().trace_flags.sampled) == (recorded, recorded)


LOADED = """
import sys, threading
from app.bootstrap import bootstrap
from app.settings import load_settings
services = bootstrap(load_settings())
with services.tracing.span("work"):
    pass
services.tracing.shutdown()
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))])
print(threading.active_count())
"""


def test_nothing_is_loaded_without_an_endpoint() -> None:
    """Without an endpoint OpenTelemetry's SDK is not even imported, and no thread runs."""
    ended = run_python("-c", LOADED)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("[]\n1\n", "", 0)


class Collector(BaseHTTPRequestHandler):
    """What receives spans; the bodies are the server's."""

    bodies: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        """Take an export."""
        self.bodies.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- named by the standard library
        """Stay silent."""


@contextmanager
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """Return the address of a collector, and what it receives."""
    bodies: list[tuple[str, bytes]] = []
    with HTTPServer(("127.0.0.1", 0), type("Own", (Collector,), {"bodies": bodies})) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()


EXPORTING = """
import sys
from app.adapters.logging import configure_logging
from app.adapters.tracing import Tracing
from app.settings import load_settings
settings = load_settings(service_name="orders")
configure_logging(settings)
tracing = Tracing(settings)
for _ in range(int(sys.argv[1])):
    with tracing.span("some-work"):
        pass
tracing.shutdown()
print("stopped")
"""


def test_export() -> None:
    """With an endpoint spans are sent there, at the latest when the service stops."""
    with collector() as (address, bodies):
        ended = run_python("-c", EXPORTING, "3", OTEL_EXPORTER_OTLP_ENDPOINT=address)
    assert (ended.stdout, ended.stderr) == ("stopped\n", "")
    assert [path for path, _ in bodies] == ["/v1/traces"]
    assert bodies[0][1].count(b"some-work") == 3
    assert b"orders" in bodies[0][1]


@contextmanager
def endpoint_in_trouble(kind: str) -> Iterator[str]:
    """Return the address of something that refuses connections, or takes them and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if kind == "hangs":
            listener.listen(100)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["refuses", "hangs"])
def test_endpoint_in_trouble(kind: str) -> None:
    """An endpoint that is away slows nobody down, fills no log and no memory, and does not keep the service running."""
    with endpoint_in_trouble(kind) as address:
        ended = run_python("-c", EXPORTING, "5000", OTEL_EXPORTER_OTLP_ENDPOINT=address, LOG__FORMAT="json")
    *lines, last = ended.stdout.splitlines()
    assert (last, ended.returncode, ended.stderr) == ("stopped", 0, "")
    assert len(lines) <= 10


def test_nothing_secret_is_exported(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, exporter: InMemorySpanExporter
) -> None:
    """Attributes and events of a span leave the process without secrets."""
    monkeypatch.setattr("app.adapters.spans.OTLPSpanExporter", lambda: exporter)
    endpoint = {"otel_exporter_otlp_endpoint": "http://127.0.0.1:9"}
    tracing = Tracing(settings.model_copy(update=endpoint))
    span = tracing.start("work", attributes={"url.path": f"/orders/{EMAIL}"})
    span.add_event("mail", {"to": EMAIL})
    span.end()
    tracing.shutdown()
    (finished,) = exporter.get_finished_spans()
    assert EMAIL not in str(finished.attributes) + str(finished.events[0].attributes)
