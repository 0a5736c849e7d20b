"""Time, count and show in progress the calls of functions, `async def`, generators and asynchronous generators.

A series that has a label `outcome` gets `success`, `error` or `cancelled` there: the last for what was cancelled, or
closed before its end.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Generic, ParamSpec, TypeVar

from ..functions import Around, surround
from ..logging import get_logger
from .series import OTHER, Counter, Gauge, Histogram, Series, Summary

log = get_logger(__name__)
OUTCOME = "outcome"

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=Series)
LabelsOf = Callable[..., Mapping[str, object]]


class Decorator:
    """Surrounds functions of any kind, whose types stay.

    Args:
        around: Returns what a call runs within.

    """

    def __init__(self, around: Around) -> None:
        self._around = around

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return the function, surrounded."""
        return surround(function, self._around)


def timed(series: Histogram | Summary, *, labels: LabelsOf | None = None) -> Decorator:
    """Take the duration of each call, in seconds; failed calls count too.

    Args:
        series: What takes it.
        labels: Called with the call's arguments; returns the values of the labels, but for `outcome`.

    Raises:
        ValueError: The series has labels, and nothing gives their values.

    """
    target = _Target(series, labels)
    return Decorator(lambda *args, **kwargs: _Timing(target, args, kwargs))


def counted(counter: Counter, *, labels: LabelsOf | None = None) -> Decorator:
    """Count each call when it ends.

    Args:
        counter: What counts it.
        labels: Called with the call's arguments; returns the values of the labels, but for `outcome`.

    Raises:
        ValueError: The counter has labels, and nothing gives their values.

    """
    target = _Target(counter, labels)
    return Decorator(lambda *args, **kwargs: _Counting(target, args, kwargs))


def in_progress(gauge: Gauge, *, labels: LabelsOf | None = None) -> Decorator:
    """Show how many calls are in progress.

    Args:
        gauge: What shows it.
        labels: Called with the call's arguments; returns the values of the labels.

    Raises:
        ValueError: The gauge has labels, and nothing gives their values.

    """
    target = _Target(gauge, labels, own=())
    return Decorator(lambda *args, **kwargs: target.find(args, kwargs)("").track())


class _Target(Generic[S]):
    """Which combination of a series' labels a call belongs to."""

    def __init__(self, series: S, labels: LabelsOf | None, own: tuple[str, ...] = (OUTCOME,)) -> None:
        self._series = series
        self._labels = labels
        self._has_failed = False
        names = series.definition.labels
        self._is_bound = series.values is not None
        self._has_outcome = not self._is_bound and any(name in own for name in names)
        self._names = () if self._is_bound else tuple(name for name in names if name not in own)
        if self._names and labels is None:
            msg = (
                f"{series.definition.name} has the labels {', '.join(self._names)}: pass labels=, a function that "
                "takes the call's arguments and returns their values, or the series with .labels(...) called"
            )
            raise ValueError(msg)

    def find(self, args: tuple[object, ...], kwargs: dict[str, object]) -> Callable[[str], S]:
        """Return what gives the series for an outcome; labels are computed before the call may change its arguments."""
        if self._is_bound:
            return lambda _outcome: self._series
        values = self._values(args, kwargs)
        return lambda outcome: self._series.labels(**values, **({OUTCOME: outcome} if self._has_outcome else {}))

    def _values(self, args: tuple[object, ...], kwargs: dict[str, object]) -> dict[str, object]:
        if self._labels is None:
            return {}
        try:
            values = self._labels(*args, **kwargs)
            return {name: values[name] for name in self._names}
        except Exception as error:  # what is measured must not fail because of the measuring
            if not self._has_failed:
                self._has_failed = True
                log.warning("metrics.labels_failed", metric=self._series.definition.name, exc_info=error)
            return dict.fromkeys(self._names, OTHER)


def _outcome(kind: type[BaseException] | None) -> str:
    if kind is None:
        return "success"
    return "error" if issubclass(kind, Exception) else "cancelled"


class _Timing(AbstractContextManager[None]):
    def __init__(
        self, target: _Target[Histogram | Summary], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> None:
        self._find = target.find(args, kwargs)

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._started
        self._find(_outcome(kind)).observe(seconds)


class _Counting(AbstractContextManager[None]):
    def __init__(self, target: _Target[Counter], args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        self._find = target.find(args, kwargs)

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._find(_outcome(kind)).inc()
