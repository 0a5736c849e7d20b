"""Trace context in and out, to the letter of W3C Trace Context Level 2 (https://www.w3.org/TR/trace-context-2/).

OpenTelemetry's own propagator keeps to Level 1: it takes the first of two `traceparent` headers and drops a whole
`tracestate` for one key that Level 2 allows.
"""

import os
import re
from collections.abc import Sequence
from contextvars import Token
from random import Random
from typing import NamedTuple

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
    TraceState,
    get_current_span,
    set_span_in_context,
)

# Neither version `ff` nor an id of zeros is valid; only later versions may go on after the flags.
_TRACEPARENT = re.compile(
    r"(?!ff)(?:00|(?!00)([0-9a-f]{2}))-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?(1)(?:-.*)?)"
)
_MEMBER_KEY = re.compile(r"[a-z0-9][a-z0-9_\-*/@]{0,255}")
_MEMBER_VALUE = re.compile(r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_MAX_MEMBERS = 32
RANDOM_FLAG = 0x02
_KNOWN_FLAGS = TraceFlags.SAMPLED | RANDOM_FLAG


class Trace(NamedTuple):
    """A position in a trace: what a caller sent, or what is sent on."""

    trace_id: str
    span_id: str
    flags: int = 0
    state: str = ""

    @property
    def sampled(self) -> bool:
        """Whether the caller records this trace."""
        return bool(self.flags & TraceFlags.SAMPLED)

    def marked(self, *, sampled: bool) -> "Trace":
        """Return the same position with the flag that says whether it is recorded.

        Args:
            sampled: Whether it is.

        """
        flags = self.flags | TraceFlags.SAMPLED if sampled else self.flags & ~TraceFlags.SAMPLED
        return self if flags == self.flags else self._replace(flags=flags)

    def headers(self) -> dict[str, str]:
        """Return the headers that hand this position on."""
        headers = {"traceparent": f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"}
        if self.state:
            headers["tracestate"] = self.state
        return headers

    def span_context(self, *, is_remote: bool = False) -> SpanContext:
        """Return the position as OpenTelemetry has it.

        Args:
            is_remote: Whether it came from another process.

        """
        state = _RawState(self.state) if self.state else None
        return SpanContext(int(self.trace_id, 16), int(self.span_id, 16), is_remote, TraceFlags(self.flags), state)


class _RawState(TraceState):
    """A `tracestate` handed on as it came: OpenTelemetry's own drops keys that Level 2 allows."""

    def __init__(self, header: str) -> None:
        super().__init__()
        self._header = header

    def __bool__(self) -> bool:
        # OpenTelemetry's propagator leaves out a state without members, and this one parses none.
        return True

    def to_header(self) -> str:
        return self._header


class Placed:
    """A span of our own: it knows its position without asking OpenTelemetry's objects for it."""

    __slots__ = ("trace",)
    trace: Trace


class PositionSpan(Placed, NonRecordingSpan):
    """A span that records nothing; what OpenTelemetry knows of one is made only when somebody asks.

    Args:
        trace: Its position.

    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def get_span_context(self) -> SpanContext:
        """Return the ids."""
        return self.trace.span_context()

    def __repr__(self) -> str:
        return f"PositionSpan({self.trace!r})"


def open_trace(trace: Trace) -> Token[Context]:
    """Make a position that is not recorded the current one; `close_trace` ends it.

    OpenTelemetry's own context holds it, so that its propagators and instrumentations find the ids too and begin no
    trace of their own. For code that every request runs: others use `Tracing.span`.

    Args:
        trace: The position, whose flag says what is handed on.

    """
    return open_span(PositionSpan(trace))


def open_span(span: Span) -> Token[Context]:
    """Make a span the current one; `close_trace` ends that, not the span.

    Args:
        span: The span.

    """
    return attach(set_span_in_context(span))


def close_trace(token: Token[Context]) -> None:
    """End what `open_trace` or `open_span` began.

    Args:
        token: What it returned.

    """
    detach(token)


def current_trace() -> Trace | None:
    """Return where the running code is in a trace, recorded or not; None outside of any."""
    return position_of(get_current_span())


def position_of(span: Span) -> Trace | None:
    """Return a span's position; None when it has none.

    Args:
        span: The span, of ours or another's.

    """
    if isinstance(span, Placed):
        return span.trace
    context = span.get_span_context()
    return trace_of(context) if context.is_valid else None


def trace_of(span: SpanContext) -> Trace:
    """Return the position of a span.

    Args:
        span: What OpenTelemetry knows of the span.

    """
    return Trace(
        f"{span.trace_id:032x}",
        f"{span.span_id:016x}",
        int(span.trace_flags),
        span.trace_state.to_header(),
    )


# Of its own, so that nobody's `random.seed()` makes two processes give the same ids; an id is no secret.
_random = Random()  # noqa: S311
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


def new_trace_id() -> str:
    """Return a random trace id: 32 hexadecimal digits."""
    return f"{_random.getrandbits(128):032x}"


def new_span_id() -> str:
    """Return a random span id: 16 hexadecimal digits."""
    return f"{_random.getrandbits(64):016x}"


def read_trace(traceparents: Sequence[str], tracestates: Sequence[str]) -> Trace | None:
    """Return the position that a caller sent, or None when a new trace must start.

    Args:
        traceparents: The values of all `traceparent` headers; anything but one well-formed value restarts the trace.
        tracestates: The values of all `tracestate` headers, in order; malformed ones are dropped as a whole.

    """
    if len(traceparents) != 1:
        return None
    match = _TRACEPARENT.fullmatch(traceparents[0].strip(" \t"))
    if match is None:
        return None
    _, trace_id, span_id, flags = match.groups()
    return Trace(trace_id, span_id, int(flags, 16) & _KNOWN_FLAGS, _read_state(tracestates) if tracestates else "")


def _read_state(values: Sequence[str]) -> str:
    members = [member.strip(" \t") for value in values for member in value.split(",")]
    members = [member for member in members if member]
    if len(members) > _MAX_MEMBERS or not all(_is_member(member) for member in members):
        return ""
    return ",".join(members)


def _is_member(member: str) -> bool:
    key, equals, value = member.partition("=")
    return bool(equals and _MEMBER_KEY.fullmatch(key) and _MEMBER_VALUE.fullmatch(value))


def continue_trace(parent: Trace | None) -> Trace:
    """Return a new position below the caller's, or the start of a new, unsampled trace.

    Args:
        parent: What the caller sent, if anything.

    """
    if parent is None:
        return Trace(new_trace_id(), new_span_id(), RANDOM_FLAG)
    return Trace(parent.trace_id, new_span_id(), parent.flags, parent.state)


class Sampler(NamedTuple):
    """Decides, before anything is recorded, whether a trace is.

    The names and their meaning are those of `OTEL_TRACES_SAMPLER`
    (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).

    Args:
        ratio: The share of new traces that are recorded, 0 to 1.
        follow_parent: Whether a caller's decision stands.

    """

    ratio: float
    follow_parent: bool

    @classmethod
    def named(cls, name: str, ratio: float) -> "Sampler":
        """Return the sampler of a name; `ratio` matters to `traceidratio` alone."""
        root = name.removeprefix("parentbased_")
        share = {"always_on": 1.0, "always_off": 0.0}.get(root, ratio)
        return cls(share, root != name)

    def samples(self, trace_id: str, parent: Trace | None) -> bool:
        """Return whether the trace is recorded.

        Args:
            trace_id: The trace; every service that looks at the same share of it decides alike.
            parent: What the caller sent, if anything.

        """
        if parent is not None and self.follow_parent:
            return parent.sampled
        return int(trace_id[16:], 16) < self.ratio * (1 << 64)


def accept_request_id(values: Sequence[str]) -> str:
    """Return the caller's request id when it is one value of 1 to 128 characters of `[A-Za-z0-9._~-]`, else a new one.

    Args:
        values: The values of all `X-Request-ID` headers.

    """
    return accept_correlation_id(values) or new_trace_id()


def accept_correlation_id(values: Sequence[str]) -> str | None:
    """Return the id of the work that a request is a part of, when it is as a request id may be, else nothing.

    Args:
        values: The values of all `X-Correlation-ID` headers.

    """
    return values[0] if len(values) == 1 and _REQUEST_ID.fullmatch(values[0]) else None
