"""The quick way from a plain event to its line of JSON: what repeats is rendered once and joined as bytes.

Only events of plain values take it. For all else `render` returns None, and the chain does the same at more length:
arguments, exceptions, fields that override others, values that JSON has no form for.
"""

import time
from collections.abc import Mapping
from math import isfinite
from typing import Any

import orjson

from ..context import Context, current_context
from .rendering import ORDER

# Fields that mean something to the chain, or that a caller must not set.
_NEED_CHAIN = frozenset({*ORDER, "exc_info", "stack_info", "exception", "stack"})
_MAX_KEPT = 512
_MAX_NAME = 200
# Other types are the chain's: it knows how to show them without a crash or a secret.
_OPTIONS = (
    orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_APPEND_NEWLINE
)
_THREE_DIGITS = tuple(b"%03d" % number for number in range(1000))


def _is_finite(value: Any) -> bool:
    """Return whether no infinity and no NaN is in a value, which JSON would show as null."""
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return not isinstance(value, list | tuple) or all(map(_is_finite, value))


class Bound(dict[str, Any]):
    """The fields that a logger adds to each event, and how they look in a line of JSON, rendered once.

    Args:
        fields: Names and values.

    """

    __slots__ = ("_fitting", "is_plain", "rendered")

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        # Not a list: it could hold something else by the time of the next event.
        plain = all(isinstance(value, str | int | float | None) for value in self.values())
        self.is_plain = plain and _NEED_CHAIN.isdisjoint(self) and _is_finite(self)
        try:
            self.rendered = b"".join(b",%b" % orjson.dumps({name: self[name]})[1:-1] for name in self)
        except TypeError:
            self.is_plain, self.rendered = False, b""
        self._fitting: set[tuple[str, ...]] = set()

    def fits(self, fields: Mapping[str, Any], context: Mapping[str, object]) -> bool:
        """Return whether a line may be joined of these, the event's own and its context's: none overrides another.

        Args:
            fields: The event's own.
            context: What is said of the work that it is a part of.

        """
        # Which names come together repeats with each line of code that logs.
        names = (*fields, *context)
        if names in self._fitting:
            return True
        if not (self.is_plain and _NEED_CHAIN.isdisjoint(fields) and len({*self, *names}) == len(self) + len(names)):
            return False
        if len(self._fitting) >= _MAX_KEPT:
            self._fitting.clear()
        self._fitting.add(names)
        return True


NO_FIELDS = Bound({})


class Heads(dict[str, bytes]):
    """What stands between the time and the fields of an event: it repeats whenever the same thing happens.

    Args:
        name: The logger's name.
        level: The level's name.
        tail: What follows the event in each line.

    """

    def __init__(self, name: str, level: str, tail: bytes) -> None:
        super().__init__()
        self._name = name
        self._level = level
        self._tail = tail

    def __missing__(self, event: Any) -> bytes:
        """Return the head of an event that is not known; raises TypeError when the event is no text."""
        if type(event) is not str:
            raise TypeError
        named = orjson.dumps({"level": self._level, "logger": self._name, "event": event})[1:-1]
        head = b'Z",%b,%b' % (named, self._tail)
        # A text with data in it is rather long, and does not come again: kept, many of them would be a lot of memory.
        if len(event) <= _MAX_NAME:
            if len(self) >= _MAX_KEPT:
                self.clear()
            self[event] = head
        return head


class LineRenderer:
    """Renders plain events.

    Args:
        service: The service's name.
        environment: Where it runs.
        version: The service's version.
        rendered: Further fields of every line, as JSON, each preceded by a comma.

    """

    def __init__(self, service: str, environment: str, version: str, rendered: bytes = b"") -> None:
        identity = {"service": service, "environment": environment, "version": version}
        self._tail = orjson.dumps(identity)[1:-1] + rendered
        # One object, so that no thread sees the millisecond of one and the text of another.
        self._clock = (-1_000_000, b"")
        self._second = (-1, b"")

    def heads(self, name: str, level: str) -> Heads:
        """Return what `render` takes for all events of a logger and level.

        Args:
            name: The logger's name.
            level: The level's name.

        """
        return Heads(name, level, self._tail)

    def render(self, heads: Heads, event: Any, fields: dict[str, Any], bound: Bound = NO_FIELDS) -> bytes | None:
        """Return the line with its line feed, or None when the event needs the chain.

        Args:
            heads: Those of its logger and level.
            event: What happened.
            fields: What is to be said about it.
            bound: What the logger says with each event.

        """
        context = current_context()
        try:
            if not bound.fits(fields, context):
                return None
            head = heads[event]
            inherited = context.rendered() if isinstance(context, Context) else b""
            body = orjson.dumps(fields, option=_OPTIONS)[1:] if fields else b"\n"
        except (TypeError, ValueError):
            return None
        # Not `in` nor `find`: before they look for bytes they find out what they were given, which takes longer.
        if body.rpartition(b"null")[1] and not _is_finite(fields):
            return None
        now = time.time_ns()
        began, prefix = self._clock
        micros = (now - began) // 1000
        if not 0 <= micros < 1000:
            micros, prefix = self._begin_millisecond(now)
        end = b"," if fields else b"}"
        return b"".join((prefix, _THREE_DIGITS[micros], head, inherited, bound.rendered, end, body))

    def _begin_millisecond(self, now: int) -> tuple[int, bytes]:
        """Render what the lines of a millisecond begin with; return how many microseconds of it are over, and that."""
        millis, nanos = divmod(now, 1_000_000)
        second, text = self._second
        if millis // 1000 != second:
            second = millis // 1000
            text = time.strftime('{"timestamp":"%Y-%m-%dT%H:%M:%S.', time.gmtime(second)).encode()
            self._second = (second, text)
        prefix = text + _THREE_DIGITS[millis % 1000]
        self._clock = (millis * 1_000_000, prefix)
        return nanos // 1000, prefix
