"""
What other vendors say about a trace goes on with it, or is dropped as a whole.

The cases are those of https://www.w3.org/TR/trace-context-2/ (Candidate Recommendation), section 3.3.
"""

from collections.abc import Callable

import pytest

from .tracing import Seen

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CONTEXT = ("traceparent", f"00-{TRACE}-{PARENT}-00")
KEY_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789_-*/"
VALUE_CHARACTERS = "".join(chr(c) for c in range(0x20, 0x7F) if chr(c) not in ",=")
See = Callable[..., Seen]


def _state(*values: str) -> list[tuple[str, str]]:
    return [CONTEXT, *(("tracestate", value) for value in values)]


def test_taken_over(seen: See) -> None:
    """A valid tracestate goes on with the trace."""
    found = seen(*_state("congo=t61rcWkgMzE,rojo=00f067aa"))
    assert found.trace_id == TRACE
    assert found.state == {"congo": "t61rcWkgMzE", "rojo": "00f067aa"}


@pytest.mark.parametrize("traceparent", [None, f"00-{'0' * 32}-{PARENT}-00", "garbage"])
def test_without_traceparent(seen: See, traceparent: str | None) -> None:
    """Without a valid traceparent there is nothing that a tracestate could belong to."""
    sent = [] if traceparent is None else [("traceparent", traceparent)]
    for value in ("congo=1", "congo=1,rojo=2"):
        assert seen(*sent, ("tracestate", value)).members == []


@pytest.mark.parametrize("name", ["trace-state", "trace.state", "trace_state"])
def test_other_name(seen: See, name: str) -> None:
    """A header of another name is another header."""
    assert seen(CONTEXT, (name, "congo=1")).members == []


@pytest.mark.parametrize("name", ["TraceState", "TrAcEsTaTe", "TRACESTATE"])
def test_name_in_any_case(seen: See, name: str) -> None:
    """The header's name may be written in any case."""
    assert seen(CONTEXT, (name, "congo=1")).state == {"congo": "1"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([""], {}),
        (["congo=1", ""], {"congo": "1"}),
        (["", "congo=1"], {"congo": "1"}),
        (["congo=1,,"], {"congo": "1"}),
    ],
)
def test_empty_members(seen: See, values: list[str], expected: dict[str, str]) -> None:
    """Empty members and headers are skipped."""
    found = seen(*_state(*values))
    assert (found.trace_id, found.state) == (TRACE, expected)


def test_several_headers(seen: See) -> None:
    """Several headers are one list, in the order in which they came."""
    found = seen(*_state("congo=1,rojo=2", "blanco=3,negro=4", "verde=5"))
    assert found.members == [
        ("congo", "1"),
        ("rojo", "2"),
        ("blanco", "3"),
        ("negro", "4"),
        ("verde", "5"),
    ]


@pytest.mark.parametrize(
    "values",
    [["congo=1,congo=1"], ["congo=1,congo=2"], ["congo=1", "congo=1"], ["congo=1", "congo=2"]],
)
def test_repeated_key(seen: See, values: list[str]) -> None:
    """A repeated key does not cost the list: at least one of the two goes on."""
    found = seen(*_state(*values))
    assert found.trace_id == TRACE
    assert {("congo", "1"), ("congo", "2")} & set(found.members)


@pytest.mark.parametrize("key", [KEY_CHARACTERS, f"{KEY_CHARACTERS}@a-z0-9_-*/", "0", "a"])
def test_all_characters(seen: See, key: str) -> None:
    """Every character that the grammar allows arrives as it is."""
    assert seen(*_state(f"{key}={VALUE_CHARACTERS}")).state == {key: VALUE_CHARACTERS}


@pytest.mark.parametrize(
    "value",
    [
        "a=1 \t , \t b=2, \t c=3",
        "a=1\t \t,\t \tb=2,\t \tc=3",
        " a=1,b=2,c=3",
        "\ta=1,b=2,c=3",
        "a=1,b=2,c=3 ",
        "a=1,b=2,c=3\t",
        "\t a=1,b=2,c=3 \t",
    ],
)
def test_padding(seen: See, value: str) -> None:
    """Spaces and tabs around members are no part of them."""
    assert seen(*_state(value)).state == {"a": "1", "b": "2", "c": "3"}


@pytest.mark.parametrize("key", ["congo ", "CONGO", "congo.rojo", "@congo", "_congo", "congé", ""])
def test_illegal_key(seen: See, key: str) -> None:
    """A key that the grammar does not allow costs the whole list, not the trace."""
    found = seen(*_state(f"rojo=1,{key}=1"))
    assert (found.trace_id, found.members) == (TRACE, [])


@pytest.mark.parametrize("key", ["congo@", "congo@@rojo", "congo@rojo@negro", "9congo@rojo"])
def test_at_signs(seen: See, key: str) -> None:
    """An at sign may stand anywhere in a key but at its start."""
    assert seen(*_state(f"{key}=1,bar=2")).state == {key: "1", "bar": "2"}


def test_member_limit(seen: See) -> None:
    """A list of 32 members goes on, one of 33 does not."""
    members = [f"key{number:02}={number:02}" for number in range(33)]
    for count, kept in ((32, 32), (33, 0)):
        headers = [",".join(members[start : min(start + 10, count)]) for start in range(0, count, 10)]
        assert len(seen(*_state(*headers)).members) == kept


@pytest.mark.parametrize("key", ["z" * 256, "t" * 241 + "@" + "v" * 14, "t" * 242 + "@v", "t@" + "v" * 15])
def test_long_key(seen: See, key: str) -> None:
    """A key of up to 256 characters goes on, wherever its at sign stands."""
    assert seen(*_state("congo=1", f"{key}=1")).state == {"congo": "1", key: "1"}


def test_key_too_long(seen: See) -> None:
    """A key of 257 characters costs the whole list."""
    assert seen(*_state("congo=1", "z" * 257 + "=1")).members == []


def test_value_limit(seen: See) -> None:
    """A value of 256 characters goes on, one of 257 costs the whole list."""
    assert len(seen(*_state("congo=" + "v" * 256)).members) == 1
    assert seen(*_state("rojo=1,congo=" + "v" * 257)).members == []


@pytest.mark.parametrize("member", ["congo=a=b", "congo=", "congo", "congo=\xe9"])
def test_illegal_value(seen: See, member: str) -> None:
    """A value that the grammar does not allow costs the whole list."""
    assert seen(*_state(f"{member},rojo=3")).members == []
