"""
The trace id that a caller sends goes on to the services that are called, or a new trace starts.

The cases are those of https://www.w3.org/TR/trace-context-2/ (Candidate Recommendation), sections 3.2 and 4.
"""

from collections.abc import Callable

import pytest

from .server import Service
from .tracing import Neighbour, Seen

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{PARENT}-01"
See = Callable[..., Seen]

MALFORMED = {
    "version-00-with-a-dot": f"{VALID}.",
    "version-00-with-a-dash": f"{VALID}-",
    "version-00-with-more": f"{VALID}-of-a-later-version",
    "future-version-glued": f"cc-{TRACE}-{PARENT}-01.of-a-later-version",
    "version-ff": f"ff-{TRACE}-{PARENT}-01",
    "version-not-hex-first": f".0-{TRACE}-{PARENT}-01",
    "version-not-hex-second": f"0.-{TRACE}-{PARENT}-01",
    "version-upper-case": f"CC-{TRACE}-{PARENT}-01",
    "version-three-digits": f"000-{TRACE}-{PARENT}-01",
    "version-four-digits": f"0000-{TRACE}-{PARENT}-01",
    "version-one-digit": f"0-{TRACE}-{PARENT}-01",
    "trace-id-not-hex-first": f"00-.{TRACE[1:]}-{PARENT}-01",
    "trace-id-not-hex-last": f"00-{TRACE[:-1]}.-{PARENT}-01",
    "trace-id-upper-case": f"00-{TRACE.upper()}-{PARENT}-01",
    "trace-id-too-long": f"00-{TRACE}3-{PARENT}-01",
    "trace-id-too-short": f"00-{TRACE[:-1]}-{PARENT}-01",
    "parent-id-zero": f"00-{TRACE}-{'0' * 16}-01",
    "parent-id-not-hex-first": f"00-{TRACE}-.{PARENT[1:]}-01",
    "parent-id-not-hex-last": f"00-{TRACE}-{PARENT[:-1]}.-01",
    "parent-id-too-long": f"00-{TRACE}-{PARENT}1-01",
    "parent-id-too-short": f"00-{TRACE}-{PARENT[:-1]}-01",
    "flags-not-hex-first": f"00-{TRACE}-{PARENT}-.0",
    "flags-not-hex-second": f"00-{TRACE}-{PARENT}-0.",
    "flags-too-long": f"00-{TRACE}-{PARENT}-001",
    "flags-too-short": f"00-{TRACE}-{PARENT}-1",
    "empty": "",
    "other-digits": f"00-{TRACE}-{PARENT}-\xb2\xb3",
}


def test_nothing_sent(seen: See) -> None:
    """Without a caller's context the service starts a trace."""
    assert seen().trace_id != seen().trace_id


def test_taken_over(seen: See) -> None:
    """The trace id is the caller's, the parent id is the service's own."""
    found = seen(("traceparent", VALID))
    assert found.trace_id == TRACE
    assert found.parent_id != PARENT


@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED)
def test_malformed(seen: See, value: str) -> None:
    """A malformed header starts a new trace, which repeats nothing of it."""
    found = seen(("traceparent", value))
    assert found.trace_id not in (TRACE, TRACE[1:] + "3")


def test_trace_id_zero(seen: See) -> None:
    """A trace id of zeros is none."""
    assert int(seen(("traceparent", f"00-{'0' * 32}-{PARENT}-01")).trace_id, 16)


@pytest.mark.parametrize("second", [TRACE[:-1] + "d", TRACE])
def test_repeated(seen: See, second: str) -> None:
    """Two headers start a new trace, even when they are the same."""
    found = seen(("traceparent", VALID), ("traceparent", f"00-{second}-{PARENT}-01"))
    assert found.trace_id not in (TRACE, second)


@pytest.mark.parametrize("name", ["trace-parent", "trace.parent", "trace_parent"])
def test_other_name(seen: See, name: str) -> None:
    """A header of another name is another header."""
    assert seen((name, VALID)).trace_id != TRACE


@pytest.mark.parametrize("name", ["TraceParent", "TrAcEpArEnT", "TRACEPARENT"])
def test_name_in_any_case(seen: See, name: str) -> None:
    """The header's name may be written in any case."""
    assert seen((name, VALID)).trace_id == TRACE


@pytest.mark.parametrize("rest", ["", "-of-a-later-version", "-"])
def test_future_version(seen: See, rest: str) -> None:
    """A version to come is read as far as it is known, and version 00 is sent on."""
    assert seen(("traceparent", f"cc-{TRACE}-{PARENT}-01{rest}")).trace_id == TRACE


@pytest.mark.parametrize("value", [f" {VALID}", f"\t{VALID}", f"{VALID} ", f"{VALID}\t", f"\t {VALID} \t"])
def test_padding(seen: See, value: str) -> None:
    """Spaces and tabs around the value are no part of it."""
    assert seen(("traceparent", value)).trace_id == TRACE


@pytest.mark.parametrize("flags", ["00", "01"])
def test_sampled_flag(seen: See, flags: str) -> None:
    """Whether the caller samples goes on unchanged."""
    assert seen(("traceparent", f"00-{TRACE}-{PARENT}-{flags}")).flags & 1 == int(flags)


@pytest.mark.parametrize("flags", ["02", "03"])
def test_random_flag(seen: See, flags: str) -> None:
    """That the trace id is random goes on with it."""
    found = seen(("traceparent", f"00-{TRACE}-{PARENT}-{flags}"))
    assert (found.trace_id, found.flags & 2) == (TRACE, 2)


def test_unknown_flags(seen: See) -> None:
    """Flags that nobody knows yet are not sent on."""
    assert seen(("traceparent", f"00-{TRACE}-{PARENT}-ff")).flags & ~3 == 0


@pytest.mark.parametrize("headers", [[], [("traceparent", VALID)], [("traceparent", f"00-{'0' * 32}-{PARENT}-01")]])
def test_several_calls(probe: Service, neighbour: Neighbour, headers: list[tuple[str, str]]) -> None:
    """Calls for one request share its trace, and each is a span of its own."""
    found = neighbour.seen_through(probe, headers, count=3)
    assert len({call.trace_id for call in found}) == 1
    assert len({call.parent_id for call in found}) == 3
    assert (found[0].trace_id == TRACE) is (headers == [("traceparent", VALID)])
