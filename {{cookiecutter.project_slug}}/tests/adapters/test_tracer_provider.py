"""Spans of libraries that use OpenTelemetry's API are the service's spans."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, Tracer, set_span_in_context

from app.adapters.tracer_provider import ServiceTracerProvider
from app.adapters.tracing import Tracing, attached
from app.core.tracing import Trace, current_trace, position_of
from app.settings import Settings

from ..collectors import collector
from ..processes import run_python

PARENT = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1, "foo=1")


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Return what takes the spans."""
    return InMemorySpanExporter()


@pytest.fixture
def tracing(settings: Settings, exporter: InMemorySpanExporter) -> Tracing:
    """Return tracing that records."""
    return Tracing(settings, processor=SimpleSpanProcessor(exporter))


@pytest.fixture
def tracer(tracing: Tracing) -> Tracer:
    """Return the tracer of a library."""
    return ServiceTracerProvider(tracing).get_tracer("library", "1.0")


def test_span_of_a_library(tracing: Tracing, tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    """A library's span is below the current one, has what was said of it, and the library's name."""
    with tracing.span("request") as above:
        span = tracer.start_span(
            "GET", kind=SpanKind.CLIENT, attributes={"a": 1}, links=[Link(PARENT.span_context())], start_time=7
        )
        assert current_trace() == position_of(above)
        span.end(9)
    found, _ = exporter.get_finished_spans()
    assert (found.name, found.kind, found.attributes, found.start_time, found.end_time) == (
        "GET",
        SpanKind.CLIENT,
        {"a": 1},
        7,
        9,
    )
    assert found.parent == above.get_span_context()
    assert found.links[0].context.span_id == int(PARENT.span_id, 16)
    assert found.instrumentation_scope is not None
    assert (found.instrumentation_scope.name, found.instrumentation_scope.version) == ("library", "1.0")


def test_current_span_of_a_library(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    """A library makes its span the current one within a block, and what fails there is an error on it."""
    with tracer.start_as_current_span("work") as span:
        assert current_trace() == position_of(span)
    exporter.clear()
    with pytest.raises(KeyError), tracer.start_as_current_span("work"):
        raise KeyError
    (found,) = exporter.get_finished_spans()
    assert (found.status.status_code.name, [event.name for event in found.events]) == ("ERROR", ["exception"])
    assert found.parent is None


async def test_decorator_of_a_library(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    """A library decorates functions, `async def` too."""

    @tracer.start_as_current_span("work")
    async def work() -> object:
        return current_trace()

    seen = [await work(), await work()]
    assert seen == [Trace(*ids) for ids in map(ids_of, exporter.get_finished_spans())]


def ids_of(span: object) -> tuple[str, str, int]:
    """Return the ids and the flags of a span."""
    context = span.get_span_context()  # type: ignore[attr-defined]
    return f"{context.trace_id:032x}", f"{context.span_id:016x}", int(context.trace_flags)


def test_context_that_is_given(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    """A library that has read a caller's headers puts its span below them."""
    context = set_span_in_context(NonRecordingSpan(PARENT.span_context(is_remote=True)))
    tracer.start_span("work", context).end()
    (found,) = exporter.get_finished_spans()
    assert found.parent is not None
    assert (found.parent.span_id, found.parent.is_remote) == (int(PARENT.span_id, 16), True)


def test_below_what_is_not_recorded(tracing: Tracing, tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    """Below a request that is not recorded a library's span is not either, and hands the trace on."""
    with attached(tracing.start("request", parent=PARENT._replace(flags=0))):
        span = tracer.start_span("work")
    assert not span.is_recording()
    position = position_of(span)
    assert position is not None
    assert (position.trace_id, position.flags, position.state) == (PARENT.trace_id, 0, "foo=1")
    assert exporter.get_finished_spans() == ()


GLOBAL = """
import sys
from opentelemetry import trace
from app.adapters.tracing import Tracing
from app.settings import load_settings
early = trace.get_tracer("early")
settings = load_settings()
first, tracing = Tracing(settings), Tracing(settings)
first.install()
tracing.install()
with tracing.span("request"):
    for tracer in (early, trace.get_tracer("late")):
        with tracer.start_as_current_span("library"):
            pass
tracing.shutdown()
print([name for name in sys.modules if name.startswith("opentelemetry.sdk")])
"""


def test_global_provider() -> None:
    """Tracers that libraries have or get from OpenTelemetry lead to the collector, without the SDK."""
    with collector() as collected:
        ended = run_python("-c", GLOBAL, OTEL_EXPORTER_OTLP_ENDPOINT=collected.url)
    assert (ended.stdout, ended.stderr) == ("[]\n", "")
    assert collected.names == {"request": 1, "library": 2}
    (request,) = [span for span in collected.spans if span.name == "request"]
    assert {span.parent_span_id for span in collected.spans} == {b"", request.span_id}


OWN = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from app.adapters.tracing import Tracing
from app.settings import load_settings
own = TracerProvider()
trace.set_tracer_provider(own)
Tracing(load_settings()).install()
print(trace.get_tracer_provider() is own)
"""


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:1"])
def test_provider_of_the_owner(endpoint: str) -> None:
    """A provider that the owner has set stays."""
    ended = run_python("-c", OWN, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    assert (ended.stdout, ended.stderr) == ("True\n", "")


def test_nothing_is_installed_without_an_endpoint(settings: Settings) -> None:
    """Where nothing is recorded OpenTelemetry is left alone."""
    Tracing(settings).install()
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
