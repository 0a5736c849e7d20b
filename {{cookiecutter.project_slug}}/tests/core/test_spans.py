"""Recorded spans: what they keep, how much of it, and what becomes of an error."""

from collections.abc import Iterator

import pytest
from opentelemetry import trace as otel
from opentelemetry.trace import NonRecordingSpan, SpanKind, Status, StatusCode

from app.core.context import bind_context, current_context, request_context
from app.core.spans import (
    MAX_ATTRIBUTES,
    MAX_EVENTS,
    MAX_LINKS,
    MAX_VALUE_LENGTH,
    RecordedSpan,
    attached,
    dotted,
    ending,
    record_error,
    recorded_span,
    running,
)
from app.core.tracing import PositionSpan, Trace, close_trace, current_trace, open_span, trace_of

POSITION = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1, "foo=1")
ABOVE = Trace(POSITION.trace_id, "00f067aa0ba902b7", 1, "foo=1")
EMAIL = "@".join(["ada", "example.com"])


@pytest.fixture
def finished() -> list[RecordedSpan]:
    """Return where spans go when they end."""
    return []


@pytest.fixture
def span(finished: list[RecordedSpan]) -> RecordedSpan:
    """Return a span that has begun."""
    return RecordedSpan(POSITION, "work", SpanKind.SERVER, ABOVE, {"a": 1}, finished.append)


def test_ids(span: RecordedSpan) -> None:
    """A span is at its position, for OpenTelemetry too."""
    assert trace_of(span.get_span_context()) == span.trace == POSITION
    assert span.is_parent_remote


def test_end(span: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """A span is handed on once, and what is said of it afterwards is not heard."""
    assert span.is_recording()
    span.end()
    span.end()
    span.set_attribute("b", 2)
    span.add_event("late")
    span.add_link(ABOVE.span_context())
    span.set_status(StatusCode.ERROR)
    span.update_name("late")
    assert finished == [span]
    assert not span.is_recording()
    assert (span.name, span.attributes, span.events, span.links, span.status) == (
        "work",
        {"a": 1},
        (),
        (),
        StatusCode.UNSET,
    )
    assert span.start_time <= span.end_time


def test_given_end(span: RecordedSpan) -> None:
    """Whoever knows better when it ended may say so."""
    span.end(span.start_time + 7)
    assert span.end_time == span.start_time + 7


def test_child(span: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """A span below is in the same trace and goes where the one above goes."""
    child = span.child("query", SpanKind.CLIENT, {"b": 2})
    child.end()
    assert finished == [child]
    assert child.trace == POSITION._replace(span_id=child.trace.span_id)
    assert child.trace.span_id != POSITION.span_id
    assert (child.parent, child.is_parent_remote, child.attributes) == (POSITION, False, {"b": 2})


def test_attributes_are_bounded(span: RecordedSpan) -> None:
    """What does not fit is counted; what is there can still be changed."""
    span.set_attributes({f"n{number}": number for number in range(MAX_ATTRIBUTES + 9)})
    span.set_attribute("a", "new")
    assert len(span.attributes) == MAX_ATTRIBUTES
    assert (span.attributes["a"], span.dropped_attributes) == ("new", 10)


def test_events_and_links_are_bounded(span: RecordedSpan) -> None:
    """A loop that adds events or links without end fills no memory."""
    for number in range(MAX_EVENTS + 3):
        span.add_event(f"event {number}", {"n": number})
        span.add_link(ABOVE.span_context(), {"n": number})
    span.add_link(otel.INVALID_SPAN_CONTEXT)
    assert (len(span.events), span.dropped_events, len(span.links)) == (MAX_EVENTS, 3, MAX_LINKS)
    assert span.events[1].attributes == {"n": 1}
    assert span.links[0].trace == ABOVE


def test_values_are_bounded(span: RecordedSpan) -> None:
    """A very long text is cut, wherever it stands."""
    text = "x" * (MAX_VALUE_LENGTH + 1)
    span.set_attribute("long", text)
    span.add_event("event", {"long": text})
    span.set_status(StatusCode.ERROR, text)
    span.end()
    assert {len(span.attributes["long"]), len(span.events[0].attributes["long"]), len(span.status_message)} == {
        MAX_VALUE_LENGTH
    }


def test_status(span: RecordedSpan) -> None:
    """A status has a text only when it is an error, and good stays good, as OpenTelemetry wants it."""
    seen = []
    for given in (Status(StatusCode.ERROR, "broken"), StatusCode.UNSET, StatusCode.OK, StatusCode.ERROR):
        span.set_status(given, None if isinstance(given, Status) else "text")
        seen.append((span.status.name, span.status_message))
    assert seen == [("ERROR", "broken"), ("ERROR", "broken"), ("OK", ""), ("OK", "")]


def test_exception_as_open_telemetry_records_it(span: RecordedSpan) -> None:
    """OpenTelemetry's own way to record an exception says no more than ours, and what the caller adds."""
    span.record_exception(ValueError("no account " + EMAIL), {"exception.escaped": "True"})
    (event,) = span.events
    assert event.attributes == {
        "exception.type": "ValueError",
        "exception.message": "no account [redacted]",
        "exception.escaped": "True",
    }


def test_error_is_told_once(span: RecordedSpan) -> None:
    """An error that leaves several spans marks each of them, and is described on the one where it came from."""
    child = span.child("query", SpanKind.CLIENT, {})
    error = ValueError("no account " + EMAIL)
    record_error(child, error)
    record_error(span, error)
    assert [(one.status, one.attributes["error.type"]) for one in (child, span)] == [
        (StatusCode.ERROR, "ValueError")
    ] * 2
    assert (len(child.events), span.events) == (1, ())
    assert child.events[0].attributes["exception.message"] == "no account [redacted]"


def test_error_in_two_traces(span: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """An error object that is raised again in another trace is described there too."""
    other = RecordedSpan(Trace("1" * 32, "2" * 16, 1), "other", SpanKind.SERVER, None, {}, finished.append)
    error = ValueError("x")
    record_error(span, error)
    record_error(other, error)
    assert (len(span.events), len(other.events)) == (1, 1)


class StubbornError(Exception):
    """An exception that cannot be shown and takes no attributes."""

    def __str__(self) -> str:
        raise RuntimeError

    def __setattr__(self, name: str, value: object) -> None:
        raise RuntimeError


def test_stubborn_error(span: RecordedSpan) -> None:
    """An error that refuses to be looked at is recorded by its name."""
    record_error(span, StubbornError())
    assert span.events[0].attributes == {"exception.type": "StubbornError", "exception.message": ""}


def test_error_without_a_recorded_span() -> None:
    """Where nothing is recorded an error is nothing."""
    record_error(PositionSpan(POSITION), ValueError("x"))


@pytest.fixture
def current(span: RecordedSpan) -> Iterator[RecordedSpan]:
    """Return the span, made the current one."""
    token = open_span(span)
    yield span
    close_trace(token)


def test_current_recorded_span(current: RecordedSpan) -> None:
    """The current span is found while it is recorded."""
    assert recorded_span() is current
    current.end()
    assert recorded_span() is None


@pytest.mark.parametrize("other", [PositionSpan(POSITION), NonRecordingSpan(POSITION.span_context())])
def test_current_span_that_records_nothing(current: RecordedSpan, other: otel.Span) -> None:
    """Below a span that records nothing there is nothing to put a span under."""
    with attached(other):
        assert recorded_span() is None
    assert recorded_span() is current


def test_attached(span: RecordedSpan) -> None:
    """Within the block the span is the current one, and its ids are in the log; after it they are not."""
    with attached(span):
        assert current_trace() is POSITION
        assert otel.get_current_span() is span
        assert current_context() == {"trace_id": POSITION.trace_id, "span_id": POSITION.span_id}
    assert (current_trace(), current_context()) == (None, {})


def test_what_is_bound_within_a_span(span: RecordedSpan) -> None:
    """What a part of a request binds is on the request's own lines too, whether spans are recorded or not."""
    with request_context(request_id="r1"):
        with attached(span), attached(span):
            bind_context(user_id="ada")
            assert current_context()["user_id"] == "ada"
        assert current_context() == {"request_id": "r1", "user_id": "ada"}
    assert current_context() == {}


def test_running(span: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """A block runs in a span that ends with it, however it ends."""

    def block() -> None:
        with running(span) as given:
            assert (given, current_trace()) == (span, POSITION)
            raise KeyError

    with pytest.raises(KeyError):
        block()
    assert (finished, span.status.name, current_trace()) == ([span], "ERROR", None)


def test_attached_without_a_position() -> None:
    """A span of nobody's is no position and gives the log nothing."""
    with attached(otel.INVALID_SPAN):
        assert (current_trace(), current_context()) == (None, {})


@pytest.mark.parametrize(("error", "status"), [(None, "UNSET"), (ValueError, "ERROR"), (GeneratorExit, "UNSET")])
def test_ending(
    span: RecordedSpan, finished: list[RecordedSpan], error: type[BaseException] | None, status: str
) -> None:
    """A span ends with its block; an exception passes through and is an error, being stopped is none."""

    def block() -> None:
        with ending(span):
            if error is not None:
                raise error

    if error is None:
        block()
    else:
        with pytest.raises(error):
            block()
    assert (finished, span.status.name) == ([span], status)


def test_names_of_keywords() -> None:
    """A keyword stands for a name with points; a name that has one is taken as it is."""
    given = {"http_route": 1, "http.response.status_code": 2}
    assert dotted(given) == {"http.route": 1, "http.response.status_code": 2}
