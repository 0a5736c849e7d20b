"""Spans: recorded and exported when an endpoint is set, else only their ids exist.

Without an endpoint nothing of OpenTelemetry's SDK is loaded, and a span costs two random numbers. The exporter and the
sampler take their `OTEL_*` variables (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Span, SpanContext, SpanKind, StatusCode

from ..core.context import request_context
from ..core.redaction import redact_text
from ..core.tracing import (
    PositionSpan,
    Sampler,
    Trace,
    close_trace,
    continue_trace,
    current_trace,
    open_span,
    position_of,
    trace_of,
)
from ..settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

    from .spans import Recorder


class Tracing:
    """Starts spans.

    Args:
        settings: Who is speaking, whether spans are exported, and which.
        processor: What takes finished spans instead of the exporter, for tests.

    """

    def __init__(self, settings: Settings, *, processor: "SpanProcessor | None" = None) -> None:
        self._recorder = _recorder(settings, processor) if processor or settings.exports_traces else None
        # Whether any span is recorded; if not, only ids exist.
        self.records = self._recorder is not None
        self._sampler = Sampler.named(settings.otel_traces_sampler, settings.otel_traces_sampler_arg)

    def start(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: Trace | None = None,
        is_remote: bool = True,
        attributes: Mapping[str, Any] | None = None,
    ) -> Span:
        """Return a new span; the caller ends it.

        Args:
            name: A name of low cardinality.
            kind: Which side of a call it is.
            parent: The caller's position; a new trace starts when there is none.
            is_remote: Whether the caller is another process; tracing backends tell the difference.
            attributes: What is known at the start.

        """
        above = parent.span_context(is_remote=is_remote) if parent else None
        return self.start_at(continue_trace(parent), name, kind, above, attributes or {})

    def samples(self, position: Trace, parent: Trace | None) -> bool:
        """Return whether a span is recorded, before anything is made of it.

        Args:
            position: What `continue_trace` made of the parent.
            parent: The caller's position, if any.

        """
        return self._recorder is not None and self._sampler.samples(position.trace_id, parent)

    def start_at(
        self, position: Trace, name: str, kind: SpanKind, above: SpanContext | None, attributes: Mapping[str, Any]
    ) -> Span:
        """Return a new span at a position that is known already; the decision to record it comes before any cost.

        Args:
            position: What `continue_trace` made of the parent.
            name: A name of low cardinality.
            kind: Which side of a call it is.
            above: The caller's position, if any.
            attributes: What is known at the start.

        """
        sampled = self.samples(position, trace_of(above) if above else None)
        if self._recorder is None:
            return PositionSpan(position)
        position = position.marked(sampled=sampled)
        if not sampled:
            return PositionSpan(position)
        return self._recorder.record(name, position.span_context(), kind, above, attributes)

    @contextmanager
    def span(self, name: str, *, kind: SpanKind = SpanKind.INTERNAL, **attributes: Any) -> Iterator[Span]:
        """Run a block in a span below the current one; an exception is recorded, redacted, and raised again.

        Args:
            name: A name of low cardinality.
            kind: Which side of a call it is.
            attributes: What is known at the start; `_` in a name becomes `.`.

        """
        named = {key.replace("_", "."): value for key, value in attributes.items()}
        with attached(self.start(name, kind=kind, parent=current_trace(), is_remote=False, attributes=named)) as span:
            try:
                yield span
            except Exception as error:
                record_error(span, error)
                raise
            finally:
                span.end()

    def shutdown(self) -> None:
        """Export what is waiting, for a bounded time, and stop."""
        if self._recorder is not None:
            self._recorder.shutdown()


@contextmanager
def attached(span: Span) -> Iterator[Span]:
    """Make a span the current one within the block.

    Args:
        span: The span; it is not ended.

    """
    trace = position_of(span)
    ids = {"trace_id": trace.trace_id, "span_id": trace.span_id} if trace else {}
    token = open_span(span)
    try:
        with request_context(**ids):
            yield span
    finally:
        close_trace(token)


def record_error(span: Span, error: BaseException) -> None:
    """Note on a span that it failed, without secrets.

    Args:
        span: The span.
        error: What was raised.

    """
    if span.is_recording():
        kind = type(error).__qualname__
        span.set_attribute("error.type", kind)
        span.add_event("exception", {"exception.type": kind, "exception.message": redact_text(str(error))})
        span.set_status(StatusCode.ERROR)


def _recorder(settings: Settings, processor: "SpanProcessor | None") -> "Recorder":
    # Here, so that a service without an endpoint does not load the SDK.
    from .spans import Recorder

    return Recorder(settings, processor)
