"""Recorded spans: plain data from their start to their end, then handed on whole.

They are OpenTelemetry's `Span` to whoever uses them (https://opentelemetry.io/docs/specs/otel/trace/api/), without the
SDK's cost: nothing is checked, copied or encoded while a request waits.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from time import time_ns
from typing import Any, Generic, NamedTuple, TypeVar

from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, get_current_span
from opentelemetry.util import types

from .context import Context, close_context, current_context, open_context
from .redaction import redact_text
from .tracing import Placed, Trace, close_trace, continue_trace, open_span, position_of, trace_of

MAX_ATTRIBUTES = 128
MAX_EVENTS = 128
MAX_LINKS = 128
# A longer value is cut: what waits for export is bounded by the number of spans, so each must be bounded too.
MAX_VALUE_LENGTH = 4096
_RECORDED = "__app_recorded__"

Attributes = dict[str, Any]
AnySpan = TypeVar("AnySpan", bound=Span)
Scope = tuple[str, str]
OWN_SCOPE: Scope = ("app", "")


class Event(NamedTuple):
    """Something that happened at one moment of a span."""

    name: str
    time: int
    attributes: Attributes


class Link(NamedTuple):
    """Another span that belongs to the matter, such as the sender of one message of a batch."""

    trace: Trace
    attributes: Attributes


class RecordedSpan(Placed, Span):
    """A span that will be exported.

    Args:
        trace: Its position.
        name: A name of low cardinality.
        kind: Which side of a call it is.
        parent: The position above it, if any.
        attributes: What is known at the start; the span takes the mapping over.
        finish: Takes the span when it has ended.

    """

    __slots__ = (
        "attributes",
        "dropped_attributes",
        "dropped_events",
        "end_time",
        "events",
        "finish",
        "is_parent_remote",
        "kind",
        "links",
        "name",
        "parent",
        "scope",
        "start_time",
        "status",
        "status_message",
    )

    def __init__(
        self,
        trace: Trace,
        name: str,
        kind: SpanKind,
        parent: Trace | None,
        attributes: Attributes,
        finish: Callable[["RecordedSpan"], None],
    ) -> None:
        self.trace = trace
        self.name = name
        self.kind = kind
        self.parent = parent
        self.attributes = attributes
        self.finish = finish
        self.is_parent_remote = kind is SpanKind.SERVER or kind is SpanKind.CONSUMER
        self.scope = OWN_SCOPE
        self.events: tuple[Event, ...] = ()
        self.links: tuple[Link, ...] = ()
        self.status = StatusCode.UNSET
        self.status_message = ""
        self.dropped_attributes = 0
        self.dropped_events = 0
        self.end_time = 0
        self.start_time = time_ns()

    def child(self, name: str, kind: SpanKind, attributes: Attributes) -> "RecordedSpan":
        """Return a new span below this one.

        Args:
            name: A name of low cardinality.
            kind: Which side of a call it is.
            attributes: What is known at the start; the span takes the mapping over.

        """
        span = RecordedSpan(continue_trace(self.trace), name, kind, self.trace, attributes, self.finish)
        span.is_parent_remote = False
        return span

    def get_span_context(self) -> SpanContext:
        """Return the ids."""
        return self.trace.span_context()

    def is_recording(self) -> bool:
        """Return whether the span has not ended."""
        return not self.end_time

    def update_name(self, name: str) -> None:
        """Name the span anew."""
        if not self.end_time:
            self.name = name

    def set_attribute(self, key: str, value: types.AttributeValue) -> None:
        """Add an attribute, up to a bound."""
        self.set_attributes({key: value})

    def set_attributes(self, attributes: Mapping[str, types.AttributeValue]) -> None:
        """Add attributes, up to a bound."""
        if self.end_time:
            return
        own = self.attributes
        if len(own) + len(attributes) <= MAX_ATTRIBUTES:
            own.update(attributes)
            return
        for key, value in attributes.items():
            if key in own or len(own) < MAX_ATTRIBUTES:
                own[key] = value
            else:
                self.dropped_attributes += 1

    def add_event(self, name: str, attributes: types.Attributes = None, timestamp: int | None = None) -> None:
        """Add an event, up to a bound."""
        if self.end_time:
            return
        if len(self.events) >= MAX_EVENTS:
            self.dropped_events += 1
            return
        self.events += (Event(name, timestamp or time_ns(), _bounded(dict(attributes or {}))),)

    def add_link(self, context: SpanContext, attributes: types.Attributes = None) -> None:
        """Name another span that belongs to the matter, up to a bound."""
        if not self.end_time and context.is_valid and len(self.links) < MAX_LINKS:
            self.links += (Link(trace_of(context), _bounded(dict(attributes or {}))),)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Say whether the operation succeeded; what was once called good stays so."""
        code = status.status_code if isinstance(status, Status) else status
        if self.end_time or code is StatusCode.UNSET or self.status is StatusCode.OK:
            return
        text = status.description if isinstance(status, Status) else description
        self.status = code
        self.status_message = (text or "")[:MAX_VALUE_LENGTH] if code is StatusCode.ERROR else ""

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,  # noqa: ARG002 -- OpenTelemetry's signature
    ) -> None:
        """Add an exception as an event."""
        self.add_event("exception", {**_described(exception), **(attributes or {})}, timestamp)

    def end(self, end_time: int | None = None) -> None:
        """End the span, once, and hand it on."""
        if not self.end_time:
            _bounded(self.attributes)
            self.end_time = end_time or time_ns()
            self.finish(self)


def _bounded(attributes: Attributes) -> Attributes:
    """Cut what is too long, in place."""
    for key, value in attributes.items():
        if value.__class__ is str and len(value) > MAX_VALUE_LENGTH:
            attributes[key] = value[:MAX_VALUE_LENGTH]
    return attributes


def recorded_span() -> RecordedSpan | None:
    """Return the current span if it is recorded here, so that one can be put below it."""
    span = get_current_span()
    return span if span.__class__ is RecordedSpan and not span.end_time else None


class _Attached(Generic[AnySpan]):
    """A block in which a span is the current one; a class, since a generator would cost more than the span itself."""

    __slots__ = ("_opened", "_span", "_token")

    def __init__(self, span: AnySpan) -> None:
        self._span = span

    def __enter__(self) -> AnySpan:
        span = self._span
        trace = position_of(span)
        ids = {"trace_id": trace.trace_id, "span_id": trace.span_id} if trace else {}
        around = current_context()
        self._token = open_span(span)
        self._opened = open_context(around.part(ids) if isinstance(around, Context) else Context(around, **ids))
        return span

    def __exit__(self, kind: object, error: BaseException | None, _traceback: object) -> None:
        close_context(self._opened)
        close_trace(self._token)


class _Ending(Generic[AnySpan]):
    """A block with which a span ends."""

    __slots__ = ("_span",)

    def __init__(self, span: AnySpan) -> None:
        self._span = span

    def __enter__(self) -> AnySpan:
        return self._span

    def __exit__(self, kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, Exception):
            record_error(self._span, error)
        self._span.end()


class _Running(_Attached[AnySpan]):
    """Both."""

    __slots__ = ()

    def __exit__(self, kind: object, error: BaseException | None, _traceback: object) -> None:
        super().__exit__(kind, error, _traceback)
        if isinstance(error, Exception):
            record_error(self._span, error)
        self._span.end()


def attached(span: AnySpan) -> AbstractContextManager[AnySpan]:
    """Make a span the current one within a block, for the log too; the span is not ended.

    Args:
        span: The span.

    """
    return _Attached(span)


def ending(span: AnySpan) -> AbstractContextManager[AnySpan]:
    """End a span with a block; an exception is recorded, redacted, and passes.

    Args:
        span: The span.

    """
    return _Ending(span)


def running(span: AnySpan) -> AbstractContextManager[AnySpan]:
    """Run a block in a span: it is the current one within, and ends with it.

    Args:
        span: The span.

    """
    return _Running(span)


def dotted(attributes: Mapping[str, Any]) -> Attributes:
    """Return attributes that were given as keywords under their names: `_` becomes `.` where there is no `.` yet.

    Args:
        attributes: Names and values.

    """
    return {name if "." in name else name.replace("_", "."): value for name, value in attributes.items()}


def _described(error: BaseException) -> Attributes:
    try:
        message = redact_text(str(error))
    except Exception:  # noqa: BLE001 -- an exception may fail to tell what it is
        message = ""
    return {"exception.type": type(error).__qualname__, "exception.message": message}


def record_error(span: Span, error: BaseException) -> None:
    """Note on a span that it failed, without secrets; the exception itself is told once a trace, where it came from.

    Args:
        span: The span.
        error: What was raised.

    """
    if not span.is_recording():
        return
    span.set_attribute("error.type", type(error).__qualname__)
    span.set_status(StatusCode.ERROR)
    trace_id = span.get_span_context().trace_id
    if getattr(error, _RECORDED, None) != trace_id:
        span.add_event("exception", _described(error))
        # An exception may refuse attributes, as frozen dataclasses do: then it is told by each span that it leaves.
        with suppress(Exception):
            setattr(error, _RECORDED, trace_id)
