"""The steps that make one line of an event."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import structlog

from app.core.context import request_context
from app.core.logging import (
    Bound,
    LevelFilter,
    LineRenderer,
    add_exception,
    describe_exception,
    is_reported,
    level_name,
    mark_reported,
    record_fields,
    redact_event,
    renderer,
    to_json,
)


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    """Return an exception as it is when it was caught."""

    def fail() -> None:
        raise error from cause

    with pytest.raises(type(error)) as caught:
        fail()
    return caught.value


@pytest.mark.parametrize(
    ("name", "lowest_passed"),
    [
        ("app", "info"),
        ("", "info"),
        ("app.orders", "debug"),
        ("app.orders.service", "debug"),
        ("app.orders.service.deep", "error"),
        ("app.ordersX", "info"),
        ("noisy.child", "critical"),
    ],
)
def test_levels_per_logger(name: str, lowest_passed: str) -> None:
    """An event needs the level of its logger, or of the nearest parent that has one."""
    levels = {"app.orders": "DEBUG", "app.orders.service.deep": "ERROR", "noisy": "CRITICAL"}
    step = LevelFilter("INFO", levels)
    order = ["debug", "info", "warning", "error", "critical"]
    passed = [level for level in order if passes(step, level, name)]
    assert passed == order[order.index(lowest_passed) :]
    assert step.lowest == logging.DEBUG


def passes(step: LevelFilter, level: str, name: str) -> bool:
    """Return whether an event of a level gets through."""
    try:
        step(None, level, {"logger": name})
    except structlog.DropEvent:
        return False
    return True


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (0, "notset"),
        (5, "notset"),
        (10, "debug"),
        (15, "debug"),
        (25, "info"),
        (35, "warning"),
        (50, "critical"),
        (99, "critical"),
        (-1, "notset"),
    ],
)
def test_level_of_a_number(number: int, name: str) -> None:
    """A level of a library's own counts as the standard one below it."""
    assert level_name(number) == name


def test_causes_are_innermost_last() -> None:
    """An exception is listed with its causes, each with type, message and frames, without local variables."""
    hidden = "local" + "-value"
    outer, inner = describe_exception(raised(RuntimeError("outer"), raised(KeyError(f"in{hidden[:0]}ner"))))
    assert (outer["type"], outer["message"]) == ("RuntimeError", "outer")
    assert (inner["type"], inner["message"]) == ("KeyError", "'inner'")
    assert set(inner) == {"type", "message", "frames"}
    assert set(inner["frames"][-1]) == {"file", "line", "function"}
    assert inner["frames"][-1]["function"] == "fail"
    assert "local-value" not in str([outer, inner])


def test_context_of_an_exception() -> None:
    """What was being handled is a cause too, unless the code hides it."""
    error = RuntimeError()
    error.__context__ = KeyError()
    assert [cause["type"] for cause in describe_exception(error)] == ["RuntimeError", "KeyError"]
    error.__suppress_context__ = True
    assert [cause["type"] for cause in describe_exception(error)] == ["RuntimeError"]


def test_type_outside_builtins_has_its_module() -> None:
    """A type is named so that it can be found."""
    assert describe_exception(structlog.DropEvent())[0]["type"] == "structlog.exceptions.DropEvent"


def test_exception_group() -> None:
    """The members of a group are listed within it, with their own causes."""
    group = ExceptionGroup("two", [raised(ValueError("a"), KeyError("b")), TypeError("c")])
    (described,) = describe_exception(group)
    assert (described["type"], described["message"]) == ("ExceptionGroup", "two (2 sub-exceptions)")
    assert [[cause["type"] for cause in child] for child in described["exceptions"]] == [
        ["ValueError", "KeyError"],
        ["TypeError"],
    ]


def test_member_that_was_raised_out_of_its_group() -> None:
    """A group that is the context of its own member is described once."""
    member = ValueError("member")
    member.__context__ = ExceptionGroup("group", [member])
    assert str(describe_exception(member)).count("'member'") == 1


def test_circular_causes() -> None:
    """Exceptions that cause each other are listed once."""
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert [cause["message"] for cause in describe_exception(first)] == ["first", "second"]


def test_number_of_exceptions_is_bounded() -> None:
    """A chain or a group of any size makes a line of bounded size."""
    chain: BaseException = ValueError("0")
    nested: Exception = ValueError("0")
    for number in range(2000):
        link = ValueError(str(number))
        link.__cause__ = chain
        chain, nested = link, ExceptionGroup(str(number), [nested])
    assert len(describe_exception(chain)) == 10
    assert str(describe_exception(nested)).count("frames") <= 100


def test_number_of_frames_is_bounded() -> None:
    """Of a runaway recursion the innermost frames are kept."""

    def endless() -> None:
        endless()

    with pytest.raises(RecursionError) as caught:
        endless()
    assert len(describe_exception(caught.value)[0]["frames"]) == 50


class MuteError(Exception):
    """An exception that cannot describe itself."""

    def __str__(self) -> str:
        """Fail."""
        raise ValueError


@dataclass(frozen=True)
class FrozenError(Exception):
    """An exception that takes no further attributes, and equals any other of its kind."""

    code: int = 7


def test_exception_that_cannot_describe_itself() -> None:
    """An exception whose text cannot be had is still listed."""
    assert describe_exception(MuteError())[0]["message"] == "<unprintable>"


def test_equal_exceptions() -> None:
    """Two exceptions that equal each other are two."""
    outer = FrozenError()
    BaseException.__setattr__(outer, "__cause__", FrozenError())
    assert len(describe_exception(outer)) == 2


def test_reported_mark() -> None:
    """An exception is known as reported once it was marked; one that takes no mark does no harm."""
    error = ValueError()
    assert not is_reported(error)
    mark_reported(error)
    assert is_reported(error)
    mark_reported(FrozenError())
    assert not is_reported(None)


@pytest.mark.parametrize("info", [True, ValueError("x"), (ValueError, ValueError("x"), None)])
def test_forms_of_exc_info(info: object) -> None:
    """An exception is given by itself, as the standard library's tuple, or as the one being handled."""
    event: dict[str, Any] = {"exc_info": info}
    with pytest.raises(ValueError, match="x"), handling(event):
        raise raised(ValueError("x"))
    assert [cause["message"] for cause in event["exception"]] == ["x"]
    assert "exc_info" not in event


@contextmanager
def handling(event: dict[str, Any]) -> Iterator[None]:
    """Describe what the block raises, while it is being handled."""
    try:
        yield
    except ValueError:
        add_exception(None, "error", event)
        raise


@pytest.mark.parametrize("info", [None, False, True, (None, None, None), (), "yes"])
def test_no_exception(info: object) -> None:
    """Without an exception there is no such field, whatever was passed."""
    assert "exception" not in add_exception(None, "error", {"event": "e", "exc_info": info})


def test_stack() -> None:
    """A stack that was asked for is that of the caller."""
    stack = add_exception(None, "info", {"stack_info": True})["stack"]
    assert "in test_stack" in stack


def test_redacted_names() -> None:
    """A field's name hides its value; a name that comes from data is redacted too."""
    email = "@".join(["ada", "example.com"])
    assert redact_event(None, "info", {"password": "x", email: 1}) == {"password": "[redacted]", "[redacted]": 1}


def record(message: object, *args: object, **fields: Any) -> logging.LogRecord:
    """Return a record as a library makes it."""
    made = logging.LogRecord("lib.sub", logging.WARNING, "lib.py", 7, message, args, None)
    vars(made).update(fields)
    return made


def test_record_of_the_standard_library() -> None:
    """A record's text has its arguments in it, and what was passed as `extra` are fields."""
    fields = record_fields(record("took %d ms for %s", 5, "x", order_id="o1"))
    assert (fields["event"], fields["logger"], fields["order_id"]) == ("took 5 ms for x", "lib.sub", "o1")
    assert set(fields) == {"event", "logger", "order_id", "exc_info", "stack_info"}


@pytest.mark.parametrize("made", [record("%d items", "many"), record("%s and %s", 1), record(7, 8)])
def test_record_with_wrong_arguments(made: logging.LogRecord) -> None:
    """A record whose arguments do not fit its text is kept as it came."""
    assert str(made.msg) in record_fields(made)["event"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (10**30, str(10**30)),
        (-(10**30), str(-(10**30))),
        (2**63 - 1, 2**63 - 1),
        ("a\ud800b", "a\\ud800b"),
        ({"\ud800": [2**70]}, {"\\ud800": [str(2**70)]}),
        ({7: "a", None: "b"}, {"7": "a", "null": "b"}),
        ("\u00e9\U0001f600", "\u00e9\U0001f600"),
        (1e999, None),
        ([None, True, 0.5], [None, True, 0.5]),
    ],
)
def test_values_in_json(value: object, shown: object) -> None:
    """What JSON has no form for becomes text, never a crash."""
    assert json.loads(to_json({"value": value}), parse_constant=pytest.fail) == {"value": shown}


@pytest.mark.parametrize("log_format", ["json", "logfmt", "console"])
@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\x1b[31mb", "a\x00b", "a\u2028b", "a\x85b", "a\ud800b", "a\tb"])
def test_control_characters_are_escaped(log_format: str, text: str) -> None:
    """An event is one line in every format, and cannot drive a terminal."""
    line = renderer(log_format)({"event": text, "field": text, text: 1, "list": [text]})
    assert len(line.splitlines()) == 1 or (log_format == "json" and line.count("\n") == 0)
    assert not any(char < " " or char == "\x7f" for char in line)


def test_logfmt() -> None:
    """A line of logfmt has the contract's fields first, and quotes what needs it."""
    event = {"b": 1, "event": "order placed", "level": "info", "timestamp": "t", "ok": True, "none": None, "a b": 'c"d'}
    line = renderer("logfmt")({**event, "list": [{"a": 1}]})
    assert line.startswith('timestamp=t level=info event="order placed" b=1 ok=true none= a_b="c\\"d" ')


def test_console() -> None:
    """A console line has the event and its fields, but not who is speaking."""
    line = renderer("console")({"event": "order.placed", "level": "info", "order_id": "o1", "service": "orders"})
    assert "order.placed" in line
    assert "order_id=o1" in line
    assert "orders" not in line


def test_exception_on_a_console() -> None:
    """On a console an exception follows on lines of its own, innermost first, groups with their members."""
    group = ExceptionGroup("group", [ValueError("mem\nber")])
    event = {"event": "e", "exception": describe_exception(raised(RuntimeError("outer"), group))}
    lines = renderer("console")(event).splitlines()
    assert lines[1:3] == ["ExceptionGroup: group (1 sub-exception)", "  | ValueError: mem\\x0aber"]
    assert lines[-1] == "RuntimeError: outer"
    assert lines[-2].endswith("in fail")


@pytest.mark.parametrize("own", ["boom", ["boom"], [{"type": "x"}], 7, None, "[redacted]"])
@pytest.mark.parametrize("log_format", ["json", "logfmt", "console"])
def test_own_field_named_exception(log_format: str, own: object) -> None:
    """A field that the caller names `exception` is a field like any other."""
    assert "happened" in renderer(log_format)({"event": "happened", "exception": own})


def test_unhandled_exception_outside_a_handler() -> None:
    """`exc_info=True` outside an exception handler adds nothing."""
    assert sys.exc_info() == (None, None, None)
    assert add_exception(None, "error", {"exc_info": True}) == {}


@pytest.mark.parametrize(
    ("micros", "shown"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_700_000_000_000_001, "2023-11-14T22:13:20.000001Z"),
        (1_700_000_000_999_999, "2023-11-14T22:13:20.999999Z"),
        (1_700_000_001_000_000, "2023-11-14T22:13:21.000000Z"),
    ],
)
def test_time_of_a_line(monkeypatch: pytest.MonkeyPatch, micros: int, shown: str) -> None:
    """A line says its own time, also when the clock has moved on by little or by much, or was put back."""
    renderer = LineRenderer("orders", "test", "1")
    heads = renderer.heads("app", "info")
    for before in (micros + 1_000_000, micros, max(0, micros - 999), micros + 1, micros + 5000):
        monkeypatch.setattr("time.time_ns", lambda before=before: before * 1000)
        renderer.render(heads, "before", {})
        monkeypatch.setattr("time.time_ns", lambda: micros * 1000 + 250)
        line = renderer.render(heads, "happened", {})
        assert line is not None
        assert json.loads(line)["timestamp"] == shown


@pytest.mark.parametrize(
    ("bound", "is_plain"),
    [
        ({"order": 7, "note": 'a "quoted" \N{SNOWMAN}', "none": None}, True),
        ({}, True),
        ({"items": [1]}, False),
        ({"odd": {1}}, False),
        ({"share": float("nan")}, False),
        ({"level": "mine"}, False),
    ],
)
def test_bound_fields_are_rendered_once(bound: dict[str, Any], is_plain: bool) -> None:
    """Plain fields of a logger are rendered when they are bound, and stand in the line as the event's own would."""
    held = Bound(bound)
    assert held.is_plain is is_plain
    renderer = LineRenderer("orders", "test", "1")
    heads = renderer.heads("a", "info")
    line = renderer.render(heads, "e", {"own": 1}, held)
    assert (line is not None) is is_plain
    if line is not None:
        assert {**bound, "own": 1}.items() <= orjson.loads(line).items()
        assert renderer.render(heads, "e", dict.fromkeys(bound or {"level": 1}), held) is None


def test_bound_fields_that_something_overrides_take_the_chain() -> None:
    """Which of two values of a name counts is the chain's to say."""
    renderer = LineRenderer("orders", "test", "1")
    with request_context(order=8):
        assert renderer.render(renderer.heads("a", "info"), "e", {}, Bound({"order": 7})) is None


def test_long_texts_are_not_remembered() -> None:
    """What is rendered once and kept are names of events, not texts with data in them."""
    renderer = LineRenderer("orders", "test", "1")
    heads = renderer.heads("a", "info")
    for number in range(10):
        assert renderer.render(heads, f"{number} " + "x" * 1000, {}) is not None
        assert renderer.render(heads, "order.placed", {}) is not None
    assert list(heads) == ["order.placed"]
