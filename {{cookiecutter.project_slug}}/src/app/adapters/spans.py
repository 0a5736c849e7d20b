"""Recorded spans and their way out; loaded only when spans are exported.

A span is plain data until it ends; then it becomes OpenTelemetry's own, once, and goes to the batch that a thread
exports. That costs a request a quarter of what a span of the SDK does.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.util import types

from ..core.redaction import may_hold_secret, redact_field, redact_text
from ..settings import Settings

FLUSH_SECONDS = 3
MAX_ATTRIBUTES = 128
MAX_EVENTS = 128
_SCOPE = InstrumentationScope("app")


class RecordedSpan(Span):
    """A span that will be exported.

    Args:
        recorder: Where it goes when it ends.
        name: A name of low cardinality.
        context: Its ids.
        kind: Which side of a call it is.
        parent: The span above it, if any.
        attributes: What is known at the start.

    """

    __slots__ = (
        "_attributes",
        "_context",
        "_ended",
        "_events",
        "_kind",
        "_name",
        "_parent",
        "_recorder",
        "_start",
        "_status",
    )

    def __init__(
        self,
        recorder: "Recorder",
        name: str,
        context: SpanContext,
        kind: SpanKind,
        parent: SpanContext | None,
        attributes: Mapping[str, Any],
    ) -> None:
        self._recorder = recorder
        self._name = name
        self._context = context
        self._kind = kind
        self._parent = parent
        self._attributes = dict(attributes)
        self._events: list[Event] = []
        self._status = Status()
        self._ended = False
        self._start = time.time_ns()

    def get_span_context(self) -> SpanContext:
        """Return the ids."""
        return self._context

    def is_recording(self) -> bool:
        """Return whether the span has not ended."""
        return not self._ended

    def update_name(self, name: str) -> None:
        """Name the span anew."""
        self._name = name

    def set_attribute(self, key: str, value: types.AttributeValue) -> None:
        """Add an attribute."""
        self.set_attributes({key: value})

    def set_attributes(self, attributes: Mapping[str, types.AttributeValue]) -> None:
        """Add attributes, up to a bound."""
        if len(self._attributes) + len(attributes) <= MAX_ATTRIBUTES:
            self._attributes.update(attributes)

    def add_event(self, name: str, attributes: types.Attributes = None, timestamp: int | None = None) -> None:
        """Add an event, up to a bound."""
        if len(self._events) < MAX_EVENTS:
            self._events.append(Event(name, attributes, timestamp))

    def add_link(self, context: SpanContext, attributes: types.Attributes = None) -> None:
        """Do nothing: nothing here links spans."""

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Say whether the operation succeeded."""
        self._status = status if isinstance(status, Status) else Status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,  # noqa: ARG002 -- OpenTelemetry's signature
    ) -> None:
        """Add an exception as an event."""
        described = {"exception.type": type(exception).__qualname__, "exception.message": str(exception)}
        self.add_event("exception", {**described, **(attributes or {})}, timestamp)

    def end(self, end_time: int | None = None) -> None:
        """End the span, once, and hand it on."""
        if not self._ended:
            self._ended = True
            self._recorder.finish(self._readable(end_time or time.time_ns()))

    def _readable(self, end_time: int) -> ReadableSpan:
        return ReadableSpan(
            self._name,
            self._context,
            self._parent,
            self._recorder.resource,
            self._attributes,
            self._events,
            kind=self._kind,
            status=self._status,
            start_time=self._start,
            end_time=end_time,
            instrumentation_scope=_SCOPE,
        )


class Recorder:
    """Makes spans and takes them back when they end.

    Args:
        settings: Who is speaking.
        processor: What takes finished spans instead of the exporter.

    """

    def __init__(self, settings: Settings, processor: SpanProcessor | None = None) -> None:
        self.resource = Resource.create(
            {
                "service.name": settings.service_name,
                "service.version": settings.service_version,
                "deployment.environment.name": settings.environment,
            }
        )
        self._processor = processor or BatchSpanProcessor(RedactingExporter(OTLPSpanExporter()))
        self.finish = self._processor.on_end

    def record(
        self, name: str, context: SpanContext, kind: SpanKind, parent: SpanContext | None, attributes: Mapping[str, Any]
    ) -> Span:
        """Return a new span."""
        return RecordedSpan(self, name, context, kind, parent, attributes)

    def shutdown(self) -> None:
        """Export what is waiting, for a bounded time, and stop."""
        # The SDK's own time-outs do not hold: against an endpoint that hangs it would wait for half a minute.
        stopping = threading.Thread(target=self._processor.shutdown, name="tracing-shutdown", daemon=True)
        stopping.start()
        stopping.join(FLUSH_SECONDS)


class RedactingExporter(SpanExporter):
    """Hides secrets in attributes and events on the exporting thread.

    Args:
        inner: What exports.

    """

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export the spans, redacted."""
        for span in spans:
            # A finished span has no public way to change it, and copying one costs as much as exporting it.
            span._attributes = redacted(span.attributes)  # noqa: SLF001
            span._events = [  # noqa: SLF001
                Event(event.name, redacted(event.attributes), event.timestamp) for event in span.events
            ]
        return self._inner.export(spans)

    def shutdown(self) -> None:
        """Stop."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = FLUSH_SECONDS * 1000) -> bool:
        """Export what waits."""
        return self._inner.force_flush(timeout_millis)


def redacted(attributes: types.Attributes) -> dict[str, Any]:
    """Return attributes without secrets, by their names and by the shapes of their values.

    Args:
        attributes: A span's or an event's.

    """
    return {name: _redacted_value(name, value) for name, value in (attributes or {}).items()}


def _redacted_value(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return redact_text(value) if may_hold_secret(value) else redact_field(name, value)
    return redact_field(name, value)
