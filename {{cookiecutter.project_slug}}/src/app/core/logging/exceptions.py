"""Exceptions as data: type, message and frames of each cause, innermost last, without local variables."""

import sys
import traceback
from contextlib import suppress
from types import TracebackType
from typing import Any

_MAX_FRAMES = 50
_MAX_CAUSES = 10
_MAX_EXCEPTIONS = 100
_NO_EXCEPTION: tuple[None, None, None] = (None, None, None)
REPORTED = "__app_reported__"


def mark_reported(error: BaseException) -> None:
    """Note that an exception is in the log, so that a server which logs what it catches does not log it again."""
    # An exception may refuse attributes, as frozen dataclasses do: then it is logged twice.
    with suppress(Exception):
        setattr(error, REPORTED, True)


def is_reported(error: BaseException | None) -> bool:
    """Return whether an exception is in the log already."""
    return getattr(error, REPORTED, False)


def exception_of(info: Any) -> BaseException | None:
    """Return the exception that `exc_info` means, in any of its forms: an exception, a tuple, or true."""
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple):
        return info[1] if len(info) == len(_NO_EXCEPTION) else None
    return sys.exc_info()[1] if info else None


def describe_exception(error: BaseException, seen: set[int] | None = None) -> list[dict[str, Any]]:
    """Return an exception and its causes as data, innermost last, each exception once.

    Args:
        error: The exception that was caught.
        seen: What was described before, by identity: a group may be the context of one of its own members.

    """
    seen = set() if seen is None else seen
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(chain) < _MAX_CAUSES and len(seen) < _MAX_EXCEPTIONS:
        seen.add(id(current))
        chain.append(current)
        hidden = current.__suppress_context__
        current = current.__cause__ or (None if hidden else current.__context__)
    return [_describe_one(link, seen) for link in chain]


def _describe_one(error: BaseException, seen: set[int]) -> dict[str, Any]:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    described: dict[str, Any] = {"type": name, "message": _text_of(error), "frames": _frames(error.__traceback__)}
    if isinstance(error, BaseExceptionGroup):
        children = [describe_exception(child, seen) for child in error.exceptions[:_MAX_CAUSES]]
        described["exceptions"] = [child for child in children if child]
    return described


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 -- an exception that cannot describe itself still has a type and frames
        return "<unprintable>"


def _frames(origin: TracebackType | None) -> list[dict[str, Any]]:
    frames = traceback.extract_tb(origin)[-_MAX_FRAMES:]
    return [{"file": frame.filename, "line": frame.lineno, "function": frame.name} for frame in frames]
