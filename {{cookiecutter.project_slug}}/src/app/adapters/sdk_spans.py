"""Recorded spans for a span processor of OpenTelemetry's SDK; loaded only when there is one."""

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Status

from ..core.span_redaction import redact_spans
from ..core.spans import RecordedSpan
from .span_queue import SpanAccount


class ProcessorRecorder:
    """Hands finished spans to a processor, redacted, on the thread that ends them.

    Args:
        processor: What takes them.
        resource: The attributes of who is speaking.

    """

    def __init__(self, processor: SpanProcessor, resource: Mapping[str, Any]) -> None:
        self.account = SpanAccount()
        self._processor = processor
        self._resource = resource

    def finish(self, span: RecordedSpan) -> None:
        """Take a finished span."""
        redact_spans([span])
        self._processor.on_end(readable(span, self._resource))
        self.account.exported += 1

    def flush(self, timeout: float) -> bool:
        """Have the processor export what waits."""
        return self._processor.force_flush(int(timeout * 1000))

    def shutdown(self) -> None:
        """Stop the processor."""
        self._processor.shutdown()


def readable(span: RecordedSpan, resource: Mapping[str, Any]) -> ReadableSpan:
    """Return a finished span as the SDK has it.

    Args:
        span: The span.
        resource: The attributes of who is speaking.

    """
    above = span.parent.span_context(is_remote=span.is_parent_remote) if span.parent else None
    return ReadableSpan(
        span.name,
        span.get_span_context(),
        above,
        Resource(resource),
        span.attributes,
        [Event(event.name, event.attributes, event.time) for event in span.events],
        [Link(link.trace.span_context(), link.attributes) for link in span.links],
        span.kind,
        status=Status(span.status, span.status_message or None),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=InstrumentationScope(*span.scope),
    )
