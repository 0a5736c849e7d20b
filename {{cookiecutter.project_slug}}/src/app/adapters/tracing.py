"""Spans: recorded and exported when an endpoint is set, else only their ids exist.

Without an endpoint nothing that exports is loaded, and a span costs two random numbers.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.trace import Span, SpanContext, SpanKind

from ..core.spans import Attributes, RecordedSpan, attached, dotted, record_error, running
from ..core.tracing import PositionSpan, Sampler, Trace, continue_trace, current_trace, trace_of
from ..settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

    from .span_queue import SpanAccount, SpanExporter

__all__ = ["Tracing", "attached", "record_error"]


class SpanRecorder(Protocol):
    """Takes spans when they end."""

    @property
    def finish(self) -> Callable[[RecordedSpan], None]:
        """What takes one."""

    @property
    def account(self) -> "SpanAccount":
        """What became of the spans of this process."""

    def flush(self, timeout: float) -> bool:
        """Export what waits, and return whether nothing does any more."""

    def shutdown(self) -> None:
        """Export what waits, for a bounded time, and stop."""


class Tracing:
    """Starts spans.

    Args:
        settings: Who is speaking, whether spans are exported, and which.
        exporter: What takes batches of finished spans, instead of the collector that the settings name.
        processor: A span processor of OpenTelemetry's SDK that takes finished spans instead, one by one.

    """

    def __init__(
        self,
        settings: Settings,
        *,
        exporter: "SpanExporter | None" = None,
        processor: "SpanProcessor | None" = None,
    ) -> None:
        self._recorder = _recorder(settings, exporter, processor)
        # Whether any span is recorded; if not, only ids exist.
        self.records = self._recorder is not None
        self._sampler = Sampler.named(settings.otel_traces_sampler, settings.otel_traces_sampler_arg)

    @property
    def account(self) -> "SpanAccount | None":
        """How many spans were exported and dropped; None when none is recorded."""
        return self._recorder.account if self._recorder else None

    def start(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: Trace | None = None,
        is_remote: bool = True,
        attributes: Attributes | None = None,
    ) -> Span:
        """Return a new span; the caller ends it.

        Args:
            name: A name of low cardinality.
            kind: Which side of a call it is.
            parent: The caller's position; a new trace starts when there is none.
            is_remote: Whether the caller is another process; tracing backends tell the difference.
            attributes: What is known at the start; the span takes the mapping over.

        """
        span = self.start_at(continue_trace(parent), name, kind, parent, attributes if attributes is not None else {})
        if isinstance(span, RecordedSpan):
            span.is_parent_remote = is_remote
        return span

    def decide(self, position: Trace, parent: Trace | None) -> Trace:
        """Return a position whose flag says whether its span is recorded, before anything is made of it.

        Args:
            position: What `continue_trace` made of the parent.
            parent: The caller's position, if any.

        """
        # Without spans of our own, and where a caller's decision stands, the flag is right already.
        if self._recorder is None or (parent is not None and self._sampler.follow_parent):
            return position
        return position.marked(sampled=self._sampler.samples(position.trace_id, parent))

    def start_at(
        self, position: Trace, name: str, kind: SpanKind, above: Trace | SpanContext | None, attributes: Attributes
    ) -> Span:
        """Return a new span at a position that is known already; the decision to record it comes before any cost.

        Args:
            position: What `continue_trace` made of the parent.
            name: A name of low cardinality.
            kind: Which side of a call it is.
            above: The caller's position, if any.
            attributes: What is known at the start; the span takes the mapping over.

        """
        recorder = self._recorder
        if recorder is None:
            return PositionSpan(position)
        parent = trace_of(above) if isinstance(above, SpanContext) else above
        trace = self.decide(position, parent)
        if not trace.sampled:
            return PositionSpan(trace)
        return RecordedSpan(trace, name, kind, parent, attributes, recorder.finish)

    def span(self, name: str, *, kind: SpanKind = SpanKind.INTERNAL, **attributes: Any) -> AbstractContextManager[Span]:
        """Run a block in a span below the current one; an exception is recorded, redacted, and raised again.

        Args:
            name: A name of low cardinality.
            kind: Which side of a call it is.
            attributes: What is known at the start; `_` in a name becomes `.`, unless the name has a `.` already.

        """
        parent = current_trace()
        return running(self.start(name, kind=kind, parent=parent, is_remote=False, attributes=dotted(attributes)))

    def install(self) -> None:
        """Take spans of libraries and their instrumentations too, when any are recorded: for the whole process."""
        if self.records:
            from .tracer_provider import install_tracer_provider

            install_tracer_provider(self)

    def flush(self, timeout: float = 3.0) -> bool:
        """Export what waits, and return whether nothing does any more.

        Args:
            timeout: Seconds.

        """
        return self._recorder.flush(timeout) if self._recorder else True

    def shutdown(self) -> None:
        """Export what is waiting, for a bounded time, and stop."""
        if self._recorder is not None:
            self._recorder.shutdown()


def _recorder(
    settings: Settings, exporter: "SpanExporter | None", processor: "SpanProcessor | None"
) -> SpanRecorder | None:
    # Here, so that a service without an endpoint loads nothing of it.
    if processor is not None:
        from .sdk_spans import ProcessorRecorder

        return ProcessorRecorder(processor, resource_of(settings))
    if exporter is None and not settings.records_traces:
        return None
    from .spans import create_recorder

    return create_recorder(settings, resource_of(settings), exporter)


def resource_of(settings: Settings) -> dict[str, str]:
    """Return the attributes of who is speaking.

    Args:
        settings: The service's; OpenTelemetry's variables win.

    """
    return {
        "service.name": settings.service_name,
        "service.version": settings.service_version,
        "deployment.environment.name": settings.environment,
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "app",
        **settings.resource_attributes,
    }
