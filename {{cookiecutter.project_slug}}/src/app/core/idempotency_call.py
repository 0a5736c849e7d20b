"""The call of a function as idempotency sees it: the key that its arguments hold, and what of them identifies it.

Names are resolved against the function's signature when it is decorated, so that a wrong one is found before the first
call. Arguments are compared by their values in a canonical form: it does not matter whether they were given by position
or by name, in which order a mapping holds its items, or which time zone an instant is written in.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import singledispatch
from pathlib import PurePath
from random import Random
from types import EllipsisType
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from .idempotency import digest
from .idempotency_errors import IdempotencyUsageError

WORK = "work"
Names = str | Sequence[str]
Chosen = Names | Callable[..., object]
_SELF = ("self", "cls")
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_IN_KEYS = (str, int, UUID, Decimal, date, bytes)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_random = Random()  # noqa: S311 -- spreads those that wait, and is no secret


class CallReader:
    """Reads the calls of one function.

    Args:
        function: The function; a parameter called `work` is not the caller's.
        key: The name or names of the arguments that are the key, or a function of some arguments, by their names.
        caller: The same for whom the call is made; None for nobody.
        fingerprint: The names of the arguments that must be the same again; all but those of the key when it is `...`,
            none when it is None.

    Raises:
        ValueError: A name is none of the function's.

    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        key: Chosen,
        caller: Chosen | None,
        fingerprint: Names | EllipsisType | None,
    ) -> None:
        self.name = f"{function.__module__}.{function.__qualname__}"
        self._full = inspect.signature(function)
        parameters = dict(self._full.parameters)
        work = parameters.pop(WORK, None)
        if work is not None and work.kind in _BY_POSITION:
            msg = f"{self.name}: received {work} as its unit of work; allowed: a parameter that can be given by name"
            raise ValueError(msg)
        self.takes_work = work is not None
        self.signature = self._full.replace(parameters=list(parameters.values()))
        self._key = self._reader("key", key)
        self._caller = self._reader("caller", caller) if caller is not None else None
        self._compared = self._names_compared(key, fingerprint)

    def _reader(self, role: str, names: Chosen) -> Callable[[Mapping[str, Any]], str]:
        """Return what makes a text of a call's arguments."""
        if not callable(names):
            chosen = self._known(role, names)
            if not chosen:
                msg = f"{self.name}: received {role}={names!r}; allowed: one or more of {self._allowed()}"
                raise ValueError(msg)
            return lambda arguments: _text(self.name, role, [arguments[name] for name in chosen])
        wanted = inspect.signature(names).parameters
        chosen = self._known(role, list(wanted))
        return lambda arguments: _text(self.name, role, _listed(names(*[arguments[name] for name in chosen])))

    def _names_compared(self, key: Chosen, fingerprint: Names | EllipsisType | None) -> tuple[str, ...]:
        if fingerprint is None:
            return ()
        if not isinstance(fingerprint, EllipsisType):
            return self._known("fingerprint", fingerprint)
        in_key = () if callable(key) else self._known("key", key)
        # What the object holds that a method belongs to is not the caller's choice, and seldom a plain value.
        first = next(iter(self.signature.parameters), "")
        left_out = {*in_key, first} if first in _SELF else {*in_key}
        return tuple(name for name in self.signature.parameters if name not in left_out)

    def _known(self, role: str, names: str | Sequence[str]) -> tuple[str, ...]:
        chosen = (names,) if isinstance(names, str) else tuple(names)
        unknown = [name for name in chosen if name not in self.signature.parameters]
        if unknown:
            msg = f"{self.name}: received {role} of {unknown!r}; allowed: {self._allowed()}"
            raise ValueError(msg)
        return chosen

    def _allowed(self) -> str:
        return ", ".join(self.signature.parameters) or "nothing, for the function has no parameters"

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call by name, defaults included.

        Args:
            args: Those given by position.
            kwargs: Those given by name.

        Raises:
            TypeError: The function cannot be called like that.

        """
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def key(self, arguments: Mapping[str, Any]) -> str:
        """Return the key of a call.

        Args:
            arguments: What `bind` returned.

        """
        return self._key(arguments)

    def caller(self, arguments: Mapping[str, Any], otherwise: str) -> str:
        """Return on whose behalf a call is made.

        Args:
            arguments: What `bind` returned.
            otherwise: What is returned when nobody asks for callers.

        """
        return otherwise if self._caller is None else self._caller(arguments)

    def fingerprint(self, arguments: Mapping[str, Any]) -> str:
        """Return what two calls have in common when they are the same call.

        Args:
            arguments: What `bind` returned.

        """
        parts: list[bytes] = []
        for name in self._compared:
            try:
                parts += (name.encode(), canonical(arguments[name]))
            except (TypeError, RecursionError) as error:
                found = "a structure that holds itself" if isinstance(error, RecursionError) else str(error)
                msg = (
                    f"{self.name}: the argument {name!r} cannot be compared with that of another call: "
                    f"received {found}; allowed: plain values, dataclasses, pydantic models and collections of them; "
                    f"leave it out with fingerprint=(names of the others) or fingerprint=None"
                )
                raise IdempotencyUsageError(msg) from error
        return digest(*parts, b"")

    def with_work(self, arguments: Mapping[str, Any], work: object) -> inspect.BoundArguments:
        """Return the arguments that the function itself is called with.

        Args:
            arguments: What `bind` returned.
            work: Its unit of work.

        """
        given = {**arguments, WORK: work} if self.takes_work else arguments
        ordered = {name: given[name] for name in self._full.parameters}
        return inspect.BoundArguments(self._full, ordered)


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, tuple | list) else [value]


def _text(function: str, role: str, values: Sequence[object]) -> str:
    """Return values as one text that no other values have: each is preceded by its length where there are several."""
    texts = [_one_text(function, role, value) for value in values]
    return texts[0] if len(texts) == 1 else "".join(f"{len(text)}:{text}" for text in texts)


def _one_text(function: str, role: str, value: object) -> str:
    plain = value.value if isinstance(value, Enum) else value
    if not isinstance(plain, _IN_KEYS) or plain in ("", b""):
        # Not the value: it may be personal.
        shown = "None" if plain is None else f"an empty or unsuitable {type(plain).__name__}"
        allowed = ", ".join(kind.__name__ for kind in _IN_KEYS)
        msg = f"{function}: received {shown} for {role}; allowed: {allowed}, not empty, or a tuple of them"
        raise IdempotencyUsageError(msg)
    return plain.hex() if isinstance(plain, bytes) else str(plain)


def pauses(wait: float) -> Iterator[float]:
    """Yield how long to pause between two looks at a call that is still running, growing and never quite the same.

    Args:
        wait: Seconds for all pauses together.

    """
    longest, left = _FIRST_PAUSE, wait
    while left > 0:
        pause = min(left, longest * _random.uniform(0.5, 1.0))
        yield pause
        left -= pause
        longest = min(longest * 2, _LONGEST_PAUSE)


def _tagged(tag: str, content: bytes) -> bytes:
    return b"%b%d:%b" % (tag.encode(), len(content), content)


def _joined(tag: str, parts: Sequence[bytes]) -> bytes:
    return _tagged(tag, b"".join(parts))


def _pairs(tag: str, items: Mapping[Any, Any]) -> bytes:
    return _joined(tag, sorted(canonical(key) + canonical(value) for key, value in items.items()))


@singledispatch
def canonical(value: object) -> bytes:
    """Return bytes that equal values of one type share, and no others.

    Args:
        value: A plain value, or a collection, dataclass or pydantic model of such.

    Raises:
        TypeError: The value, or one within it, is of another type.

    """
    if is_dataclass(value) and not isinstance(value, type):
        return _pairs("o", {field.name: getattr(value, field.name) for field in fields(value)})
    if isinstance(value, Enum):
        return canonical(value.value)
    msg = f"a {type(value).__qualname__}"
    raise TypeError(msg)


canonical.register(type(None), lambda _: _tagged("n", b""))
canonical.register(bool, lambda value: _tagged("t", b"%d" % value))
canonical.register(int, lambda value: _tagged("i", b"%d" % value))
canonical.register(float, lambda value: _tagged("f", float.__repr__(value).encode()))
canonical.register(str, lambda value: _tagged("s", str.encode(value, "utf-8", "surrogatepass")))
canonical.register(UUID, lambda value: _tagged("u", value.bytes))
canonical.register(PurePath, lambda value: _tagged("p", str(value).encode("utf-8", "surrogateescape")))
canonical.register(timedelta, lambda value: _tagged("d", repr(value).encode()))
canonical.register(time, lambda value: _tagged("h", value.isoformat().encode()))
canonical.register(date, lambda value: _tagged("y", value.isoformat().encode()))
canonical.register(set, lambda value: _joined("e", sorted(map(canonical, value))))
canonical.register(frozenset, lambda value: _joined("e", sorted(map(canonical, value))))
canonical.register(list, lambda value: _joined("l", [canonical(item) for item in value]))
canonical.register(tuple, lambda value: _joined("l", [canonical(item) for item in value]))
canonical.register(Mapping, lambda value: _pairs("m", value))
canonical.register(BaseModel, lambda value: _pairs("o", dict(value)))


@canonical.register
def _(value: datetime) -> bytes:
    return _tagged("z", (value.astimezone(UTC) if value.tzinfo else value).isoformat().encode())


@canonical.register
def _(value: Decimal) -> bytes:
    return _tagged("c", str(value.normalize() if value.is_finite() else value).encode())


@canonical.register(bytes)
@canonical.register(bytearray)
@canonical.register(memoryview)
def _(value: Any) -> bytes:
    return _tagged("b", bytes(value))


@canonical.register(Secret)
@canonical.register(SecretStr)
@canonical.register(SecretBytes)
def _(value: Any) -> bytes:
    return _joined("x", [canonical(value.get_secret_value())])
