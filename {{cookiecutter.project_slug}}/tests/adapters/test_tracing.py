"""Spans: what is recorded and what is not, where they stand, and what they say."""

from collections.abc import Sequence

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from app.adapters.span_queue import Sent
from app.adapters.tracing import Tracing, attached, record_error, resource_of
from app.core.logging import get_logger
from app.core.spans import RecordedSpan
from app.core.tracing import Trace, continue_trace, position_of, trace_of
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
EXPORTING = ("app.adapters.spans", "app.adapters.otlp", "app.adapters.span_queue")
from app.adapters.tracing import Tracing
from app.settings import load_settings
tracing = Tracing(load_settings())
with tracing.span("work"):
    pass
tracing.shutdown()
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", *EXPORTING))])
print(threading.active_count())
"""


def test_nothing_is_loaded_without_an_endpoint() -> None:
    """Without an endpoint nothing that exports is even imported, and no thread runs."""
    ended = run_python("-c", LOADED)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("[]\n1\n", "", 0)


@pytest.mark.parametrize("records", [True, False])
def test_decision_before_any_cost(settings: Settings, tracing: Tracing, records: bool) -> None:
    """Whether a trace is recorded can be asked before a span is made, and is what the span then is."""
    used = tracing if records else Tracing(settings)
    for parent in (None, PARENT, PARENT._replace(flags=0)):
        position = continue_trace(parent)
        span = used.start_at(position, "work", SpanKind.SERVER, parent, {})
        decided = used.decide(position, parent)
        assert decided == position_of(span)
        assert not records or decided.sampled is span.is_recording()
        assert position_of(span) == (position.marked(sampled=span.is_recording()) if records else position)


def test_parent_as_open_telemetry_has_it(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    """A parent may be given as OpenTelemetry has it."""
    above = PARENT.span_context(is_remote=True)
    tracing.start_at(continue_trace(PARENT), "work", SpanKind.SERVER, above, {}).end()
    (span,) = exporter.get_finished_spans()
    assert span.parent is not None
    assert (span.parent.span_id, span.parent.is_remote) == (above.span_id, True)


@pytest.mark.parametrize("is_remote", [True, False])
def test_parent_in_another_process(tracing: Tracing, exporter: InMemorySpanExporter, is_remote: bool) -> None:
    """A span says whether the one above it is in another process."""
    tracing.start("work", parent=PARENT, is_remote=is_remote).end()
    (span,) = exporter.get_finished_spans()
    assert span.parent is not None
    assert span.parent.is_remote is is_remote


def test_account(settings: Settings, tracing: Tracing) -> None:
    """It can be asked how many spans were exported and dropped."""
    with tracing.span("work"):
        pass
    assert tracing.account is not None
    assert (tracing.account.exported, tracing.account.dropped) == (1, 0)
    assert Tracing(settings).account is None


def test_flush(settings: Settings, tracing: Tracing) -> None:
    """What waits can be sent at once; where nothing is recorded nothing waits."""
    assert tracing.flush()
    assert Tracing(settings).flush()


def test_who_is_speaking(settings: Settings) -> None:
    """A span says which service it is of; OpenTelemetry's variables win over the service's own."""
    assert resource_of(settings) == {
        "service.name": "orders",
        "service.version": "1.2.3",
        "deployment.environment.name": "test",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "app",
    }
    variables = {"otel_service_name": "shop", "otel_resource_attributes": "service.name=x,team=a%2Cb,service.version=2"}
    named = resource_of(settings.model_copy(update=variables))
    assert (named["service.name"], named["team"], named["service.version"]) == ("shop", "a,b", "2")


def test_processor_gets_nothing_secret(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    """A span processor of the SDK's gets redacted spans too."""
    span = tracing.start("work", attributes={"url.path": f"/orders/{EMAIL}"})
    span.add_event("mail", {"to": EMAIL})
    span.end()
    (finished,) = exporter.get_finished_spans()
    assert EMAIL not in str(finished.attributes) + str(finished.events[0].attributes)


def test_processor_is_stopped(settings: Settings) -> None:
    """A processor exports what waits when the service stops."""
    exporter = InMemorySpanExporter()
    tracing = Tracing(settings, processor=BatchSpanProcessor(exporter))
    with tracing.span("work"):
        pass
    tracing.shutdown()
    assert len(exporter.get_finished_spans()) == 1


def test_exporter_of_one_s_own(settings: Settings) -> None:
    """Batches may go to an exporter of the owner's, with or without an endpoint."""
    batches: list[list[str]] = []

    class Exporter:
        def encode(self, spans: Sequence[RecordedSpan]) -> list[str]:
            return [span.name for span in spans]

        def send(self, batch: list[str], count: int, timeout: float) -> Sent:
            batches.append(batch)
            return Sent()

        def close(self) -> None:
            """Hold nothing open."""

    tracing = Tracing(settings, exporter=Exporter())
    for name in ("first", "second"):
        with tracing.span(name):
            pass
    tracing.shutdown()
    assert batches == [["first", "second"]]
