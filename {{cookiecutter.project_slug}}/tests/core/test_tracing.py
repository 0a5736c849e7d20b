"""Trace context in and out, by the cases of W3C Trace Context Level 2 and its test harness."""

import re

import pytest
from opentelemetry import propagate
from opentelemetry.trace import NonRecordingSpan, get_current_span, get_tracer

from app.core.tracing import (
    RANDOM_FLAG,
    Trace,
    accept_request_id,
    close_trace,
    continue_trace,
    current_trace,
    new_span_id,
    new_trace_id,
    open_span,
    open_trace,
    position_of,
    read_trace,
    trace_of,
)

from ..processes import run_python

TRACE_ID = "12345678901234567890123456789012"
SPAN_ID = "1234567890123456"
GOOD = f"00-{TRACE_ID}-{SPAN_ID}-01"


def state_of(*values: str) -> str:
    """Return the state that is taken over beside a good `traceparent`."""
    trace = read_trace([GOOD], values)
    assert trace is not None
    return trace.state


@pytest.mark.parametrize(
    "header",
    [
        GOOD,
        f" {GOOD}",
        f"\t{GOOD}",
        f"{GOOD} ",
        f"{GOOD}\t",
        f"\t {GOOD} \t",
        f"cc-{TRACE_ID}-{SPAN_ID}-01",
        f"cc-{TRACE_ID}-{SPAN_ID}-01-what-the-future-will-be-like",
        f"01-{TRACE_ID}-{SPAN_ID}-01-",
    ],
)
def test_well_formed_traceparent(header: str) -> None:
    """A well-formed header is taken over; a later version by what this one knows of it."""
    assert read_trace([header], []) == Trace(TRACE_ID, SPAN_ID, 1)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"0-{TRACE_ID}-{SPAN_ID}-01",
        f"000-{TRACE_ID}-{SPAN_ID}-01",
        f".0-{TRACE_ID}-{SPAN_ID}-01",
        f"0.-{TRACE_ID}-{SPAN_ID}-01",
        f"{GOOD}-",
        f"{GOOD}-what-the-future-will-be-like",
        f"{GOOD}.what-the-future-will-not-be-like",
        f"cc-{TRACE_ID}-{SPAN_ID}-01.what-the-future-will-not-be-like",
        f"cc-{TRACE_ID}-{SPAN_ID}-0",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-.{TRACE_ID[1:]}-{SPAN_ID}-01",
        f"00-{TRACE_ID[:-1]}.-{SPAN_ID}-01",
        f"00-{TRACE_ID[:-1]}A-{SPAN_ID}-01",
        f"00-{TRACE_ID[:-1]}-{SPAN_ID}-01",
        f"00-{TRACE_ID}0-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID}-{SPAN_ID[:-1]}.-01",
        f"00-{TRACE_ID}-{SPAN_ID[:-1]}A-01",
        f"00-{TRACE_ID}-{SPAN_ID[:-1]}-01",
        f"00-{TRACE_ID}-{SPAN_ID}0-01",
        f"00-{TRACE_ID}-{SPAN_ID}-.0",
        f"00-{TRACE_ID}-{SPAN_ID}-0.",
        f"00-{TRACE_ID}-{SPAN_ID}-1",
        f"00-{TRACE_ID}-{SPAN_ID}-001",
        f"00-{TRACE_ID}-{SPAN_ID}-0A",
        f"00-{TRACE_ID}-{SPAN_ID}",
        f"00_{TRACE_ID}_{SPAN_ID}_01",
        f"{GOOD}, {GOOD}",
        f"\N{NO-BREAK SPACE}{GOOD}",
        f"00-{TRACE_ID[:-1]}\N{ARABIC-INDIC DIGIT ONE}-{SPAN_ID}-01",
    ],
)
def test_malformed_traceparent(header: str) -> None:
    """Anything else restarts the trace, whatever `tracestate` says."""
    assert read_trace([header], ["foo=1"]) is None


def test_traceparent_is_sent_once() -> None:
    """No `traceparent`, or more than one, restarts the trace."""
    assert read_trace([], ["foo=1"]) is None
    assert read_trace([GOOD, GOOD], []) is None
    assert read_trace([GOOD, f"00-{TRACE_ID}-{'9' * 16}-00"], []) is None


@pytest.mark.parametrize(
    ("flags", "known", "sampled"),
    [("00", 0, False), ("01", 1, True), ("02", 2, False), ("03", 3, True), ("ff", 3, True), ("fc", 0, False)],
)
def test_flags(flags: str, known: int, sampled: bool) -> None:
    """The sampled and the random flag are taken over, all others are cleared."""
    trace = read_trace([f"00-{TRACE_ID}-{SPAN_ID}-{flags}"], [])
    assert trace is not None
    assert (trace.flags, trace.sampled) == (known, sampled)


ALL_OF_A_KEY = "".join(map(chr, range(ord("a"), ord("z") + 1))) + "0123456789_-*/"
ALL_OF_A_VALUE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in ",=")


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ([], ""),
        ([""], ""),
        (["foo=1"], "foo=1"),
        (["foo=1,bar=2"], "foo=1,bar=2"),
        (["foo=1", "bar=2"], "foo=1,bar=2"),
        (["foo=1,", "", ",bar=2"], "foo=1,bar=2"),
        (["foo=1 \t , \t bar=2, \t baz=3"], "foo=1,bar=2,baz=3"),
        (["foo=1\t \t,\t \tbar=2,\t \tbaz=3"], "foo=1,bar=2,baz=3"),
        ([" foo=1", "\tbar=2", "baz=3 ", "qux=4\t"], "foo=1,bar=2,baz=3,qux=4"),
        ([f"{ALL_OF_A_KEY}=1"], f"{ALL_OF_A_KEY}=1"),
        ([f"foo={ALL_OF_A_VALUE}~"], f"foo={ALL_OF_A_VALUE}~"),
        (["0=1"], "0=1"),
        (["1a-2b@foo=1"], "1a-2b@foo=1"),
        (["foo@=1"], "foo@=1"),
        (["a@b@c=1"], "a@b@c=1"),
        ([f"{'z' * 256}=1"], f"{'z' * 256}=1"),
        ([f"foo={'v' * 256}"], f"foo={'v' * 256}"),
        (["foo= 1"], "foo= 1"),
        (["foo=1,foo=2"], "foo=1,foo=2"),
    ],
)
def test_well_formed_tracestate(values: list[str], state: str) -> None:
    """Members are taken over in order, over all headers, without the white space around them."""
    assert state_of(*values) == state


@pytest.mark.parametrize(
    "value",
    [
        "foo",
        "foo=",
        "=1",
        "foo =1",
        "FOO=1",
        "foo.bar=1",
        "@foo=1",
        "_foo=1",
        "foo=1=2",
        "foo=bar=1",
        "foo=1;bar=2",
        "foo=\x07",
        "foo=\u00e9",
        f"{'z' * 257}=1",
        f"foo={'v' * 257}",
    ],
)
def test_malformed_tracestate(value: str) -> None:
    """One malformed member drops the whole state; the trace goes on."""
    assert state_of(value) == ""
    assert state_of("good=1", value) == ""


def test_tracestate_has_at_most_32_members() -> None:
    """32 members are taken over, 33 are not, however they are spread over headers."""
    members = [f"bar{number:02d}={number:02d}" for number in range(33)]
    assert state_of(",".join(members[:32])) == ",".join(members[:32])
    assert state_of(",".join(members)) == ""
    assert state_of(*members) == ""


def test_headers_hand_the_position_on() -> None:
    """What is sent on is version 00 with the flags, and the state only when there is one."""
    assert Trace(TRACE_ID, SPAN_ID, 3).headers() == {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-03"}
    assert Trace(TRACE_ID, SPAN_ID, 0, "foo@=1").headers() == {
        "traceparent": f"00-{TRACE_ID}-{SPAN_ID}-00",
        "tracestate": "foo@=1",
    }


def test_position_survives_open_telemetry() -> None:
    """A position is the same after OpenTelemetry had it, a state that only Level 2 allows too."""
    trace = Trace(TRACE_ID, SPAN_ID, 3, "foo@=1,BAR")
    context = trace.span_context(is_remote=True)
    assert context.is_valid
    assert context.is_remote
    assert trace_of(context) == trace


def test_open_trace() -> None:
    """An open position is the current one until it is closed, then the one around it is."""
    outer, inner = Trace(TRACE_ID, SPAN_ID, 2, "foo@=1"), Trace(TRACE_ID, "9" * 16)
    opened = open_trace(outer)
    within = open_trace(inner)
    assert current_trace() is inner
    close_trace(within)
    assert current_trace() is outer
    close_trace(opened)
    assert current_trace() is None


def test_open_trace_is_open_telemetry_s_too() -> None:
    """Others who use OpenTelemetry find the open position, hand it on, and begin no trace of their own."""
    opened = open_trace(Trace(TRACE_ID, SPAN_ID, 2, "foo=1"))
    headers: dict[str, str] = {}
    propagate.inject(headers)
    started = get_tracer("of another").start_span("work").get_span_context()
    found = get_current_span()
    close_trace(opened)
    assert headers == {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-02", "tracestate": "foo=1"}
    assert f"{started.trace_id:032x}" == TRACE_ID
    assert not found.is_recording()
    assert SPAN_ID in repr(found)


def test_span_of_another_is_a_position() -> None:
    """Below a span that somebody else opened, that span is the position."""
    trace = Trace(TRACE_ID, SPAN_ID, 1, "foo=1")
    opened = open_trace(Trace(TRACE_ID, "9" * 16))
    within = open_span(NonRecordingSpan(trace.span_context()))
    assert current_trace() == trace
    close_trace(within)
    close_trace(opened)
    assert position_of(get_current_span()) is None


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
def test_sampled_mark(flags: int) -> None:
    """The sampled flag is set and cleared alone; a position that has it right stays itself."""
    trace = Trace(TRACE_ID, SPAN_ID, flags, "foo=1")
    assert trace.marked(sampled=True) == trace._replace(flags=flags | 1)
    assert trace.marked(sampled=False) == trace._replace(flags=flags & 2)
    assert trace.marked(sampled=trace.sampled) is trace


def test_continued_trace() -> None:
    """A step further is the same trace, flags and state below a new span id."""
    parent = Trace(TRACE_ID, SPAN_ID, 1, "foo=1")
    child = continue_trace(parent)
    assert (child.trace_id, child.flags, child.state) == (TRACE_ID, 1, "foo=1")
    assert re.fullmatch("[0-9a-f]{16}", child.span_id)
    assert child.span_id != SPAN_ID


def test_new_trace() -> None:
    """A new trace has random ids, says so, and is not sampled."""
    trace = continue_trace(None)
    assert re.fullmatch("[0-9a-f]{32}", trace.trace_id)
    assert (trace.flags, trace.sampled, trace.state) == (RANDOM_FLAG, False, "")
    assert len({new_trace_id() for _ in range(100)} | {new_span_id() for _ in range(100)}) == 200


@pytest.mark.parametrize("value", ["a", "0", "my-id_1.~", "x" * 128, "550e8400-e29b-41d4-a716-446655440000"])
def test_good_request_id(value: str) -> None:
    """A request id of the allowed characters is taken over."""
    assert accept_request_id([value]) == value


@pytest.mark.parametrize(
    "values", [[], [""], ["x" * 129], ["a b"], ["a\nb"], ["a\n"], ["a/b"], ["\u00e9"], ["a,b"], ["a", "b"], ["a", "a"]]
)
def test_bad_request_id(values: list[str]) -> None:
    """No id, a repeated one or one that could do harm is replaced."""
    assert re.fullmatch("[0-9a-f]{32}", accept_request_id(values))


FORKED = """
import os, random
from app.core.tracing import new_trace_id
random.seed(1)
new_trace_id()
reader, writer = os.pipe()
if os.fork() == 0:
    os.write(writer, new_trace_id().encode())
    os._exit(0)
os.wait()
print(os.read(reader, 32).decode(), new_trace_id())
"""


def test_ids_differ_after_a_fork_and_a_seed() -> None:
    """A child does not give its parent's next ids, and `random.seed()` in own code makes no ids come again."""
    ids = " ".join(run_python("-c", FORKED).stdout for _ in range(2)).split()
    assert len(set(ids)) == 4
