"""How long functions take, as events."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import ParamSpec, TypeVar

from ..functions import surround
from .logger import Logger, get_logger

P = ParamSpec("P")
R = TypeVar("R")

_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class _Timer:
    """What is known of a function before it is called."""

    log: Logger
    event: str
    function: str
    level: str
    slow_seconds: float | None

    def report(self, seconds: float, error: BaseException | None) -> None:
        """Log a call: how long it took, and what it ended with."""
        is_slow = self.slow_seconds is not None and seconds >= self.slow_seconds
        failed = isinstance(error, Exception)
        fields = {"function": self.function, "duration_ms": round(seconds * 1000, 3), "status": _status(error)}
        if is_slow:
            fields["slow"] = True
        if failed:
            fields["error_type"] = type(error).__qualname__
        level = _at_least_warning(self.level) if is_slow or failed else self.level
        getattr(self.log, level)(self.event, **fields)


class _Call(AbstractContextManager[None]):
    """One call, timed.

    Args:
        timer: What reports it.

    """

    __slots__ = ("_started", "_timer")

    def __init__(self, timer: _Timer) -> None:
        self._timer = timer

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.report(time.perf_counter() - self._started, error)


def log_execution_time(
    event: str = "function.finished",
    *,
    level: str = "info",
    slow_seconds: float | None = None,
    logger: Logger | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that logs, after each call, how long it took and how it ended; never its arguments.

    The event has `function`, `duration_ms` and `status`: `success`, `error` (with `error_type`; the exception itself is
    logged by whoever handles it), or `cancelled`. Functions, methods, `async def` and generators of both kinds keep
    their signature. A generator's time runs from the first value that is asked for to its end.

    Args:
        event: The event's name.
        level: The level of calls that went well; failed and slow ones are a warning at least.
        slow_seconds: From how many seconds on a call is slow, and marked `slow`.
        logger: Whose event it is; that of the function's module when left out.

    Raises:
        TypeError: The decorator stands without its parentheses.
        ValueError: There is no such level.

    """
    if callable(event):
        msg = f"log_execution_time: received {event!r}, allowed is an event's name; write @log_execution_time()"
        raise TypeError(msg)
    if level.lower() not in _LEVELS:
        msg = f"log_execution_time: received level {level!r}; allowed: {', '.join(_LEVELS)}"
        raise ValueError(msg)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        log = logger or get_logger(getattr(function, "__module__", None) or __name__)
        name = getattr(function, "__qualname__", type(function).__qualname__)
        timer = _Timer(log, event, name, level.lower(), slow_seconds)
        return surround(function, lambda *_args, **_kwargs: _Call(timer))

    return decorate


def _status(error: BaseException | None) -> str:
    """Return the word for an end; what is no `Exception` means that nobody wants the result any more."""
    if error is None:
        return "success"
    return "error" if isinstance(error, Exception) else "cancelled"


def _at_least_warning(level: str) -> str:
    return _LEVELS[max(_LEVELS.index(level), _LEVELS.index("warning"))]
