"""Counters, gauges, histograms and summaries: numbers in memory, counted exactly by any number of threads.

A combination of label values has its numbers in *cells*: a list, or, where several processes are summed, memory that
they share. Whoever counts changes cells under one lock; nothing is rendered, allocated or looked up twice on that path.
"""

import math
import os
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, Self

from .definition import Definition

# What replaces the values of combinations that are too many.
OTHER = "_OTHER"
LONGEST_VALUE = 256

# One for all: what is held that shortly is never waited for. Reentrant, because a signal handler or a finalizer may
# count while its thread is counting.
LOCK = threading.RLock()
# Bound once, and called with `try`/`finally`: `with` takes twice as long on Python 3.11.
acquire = LOCK.acquire
release = LOCK.release
if hasattr(os, "register_at_fork"):
    # A thread that the child does not have would hold the lock there forever.
    os.register_at_fork(before=acquire, after_in_parent=release, after_in_child=release)


class Cells(Protocol):
    """The numbers of one combination of label values."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[float]: ...
    def __getitem__(self, index: int, /) -> float: ...
    def __setitem__(self, index: int, value: float, /) -> None: ...


class Owner(Protocol):
    """What series belong to."""

    limit: int

    def allocate(self, definition: Definition, values: tuple[str, ...], /) -> Cells:
        """Return the cells of a combination of label values."""

    def overflowed(self, definition: Definition, /) -> None:
        """Take note that a series has more combinations than are kept apart."""


class _NeedsLabels:
    """Stands where the cells would be of a series that has labels, so that the fast path needs no check."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[float]:
        return iter([self[0]])

    def __getitem__(self, index: int, /) -> float:
        names = ", ".join(self._definition.labels)
        msg = f"{self._definition.name} has the labels {names}: call .labels({names}) first"
        raise ValueError(msg)

    def __setitem__(self, index: int, value: float, /) -> None:
        self[index]


class Series:
    """A family of series, or one combination of its label values.

    Args:
        definition: Its name and labels.
        owner: What it belongs to.
        values: The values of the labels; None for the family.

    """

    __slots__ = ("_children", "_owner", "cells", "definition", "values")

    def __init__(self, definition: Definition, owner: Owner, values: tuple[str, ...] | None = None) -> None:
        self.definition = definition
        self.values = () if not definition.labels else values
        self._owner = owner
        self._children: dict[tuple[str, ...], Self] = {}
        self.cells: Cells = _NeedsLabels(definition) if self.values is None else owner.allocate(definition, self.values)

    def labels(self, *values: object, **named: object) -> Self:
        """Return one combination of label values; keep it where it is used often.

        Args:
            values: The values, in the labels' order.
            named: The values by name, instead.

        Raises:
            ValueError: The labels are not those that were defined.

        """
        key = tuple(map(str, values)) if not named else self._in_order(values, named)
        child = self._children.get(key)
        return child if child is not None else self._add(key)

    def combinations(self) -> list[Self]:
        """Return every combination of label values that there is, or the series itself when it has no labels."""
        return [self] if self.values is not None else list(self._children.values())

    def _in_order(self, values: tuple[object, ...], named: dict[str, object]) -> tuple[str, ...]:
        if values or set(named) != set(self.definition.labels):
            raise self._wrong_labels(named)
        return tuple(str(named[name]) for name in self.definition.labels)

    def _wrong_labels(self, received: object) -> ValueError:
        allowed = ", ".join(self.definition.labels) or "none"
        return ValueError(f"{self.definition.name}: received the labels {received!r}; allowed: {allowed}")

    def _add(self, key: tuple[str, ...]) -> Self:
        if not key and not self.definition.labels:
            return self
        if self.values is not None or len(key) != len(self.definition.labels):
            raise self._wrong_labels(key)
        key = tuple(map(_clean, key))
        with LOCK:
            child = self._children.get(key)
            if child is not None:
                return child
            is_one_too_many = len(self._children) >= self._owner.limit
            if is_one_too_many:
                key = (OTHER,) * len(key)
                child = self._children.get(key)
            if child is None:
                self._children[key] = child = type(self)(self.definition, self._owner, key)
        if is_one_too_many:
            self._owner.overflowed(self.definition)
        return child


def _clean(value: str) -> str:
    """Return a label's value that can be written as UTF-8, and is not longer than anybody would read."""
    return value[:LONGEST_VALUE].encode("utf-8", "replace").decode()


class Counter(Series):
    """Counts what happens; it only rises."""

    __slots__ = ("_followed",)

    def __init__(self, definition: Definition, owner: Owner, values: tuple[str, ...] | None = None) -> None:
        super().__init__(definition, owner, values)
        self._followed = 0.0

    def inc(self, amount: float = 1) -> None:
        """Count.

        Args:
            amount: How much is added.

        Raises:
            ValueError: The amount is below 0, or not a number.

        """
        if not amount >= 0:
            msg = f"{self.definition.name}: received {amount!r}; a counter only rises, allowed: 0 and above"
            raise ValueError(msg)
        acquire()
        try:
            self.cells[0] += amount
        finally:
            release()

    def follow(self, total: float) -> None:
        """Take over a total that is counted elsewhere; one that falls has begun again.

        Args:
            total: What was counted there until now.

        """
        acquire()
        try:
            self.inc(total - self._followed if total >= self._followed else total)
            self._followed = total
        finally:
            release()

    @property
    def value(self) -> float:
        """What was counted in this process."""
        return self.cells[0]


class Gauge(Series):
    """A value that rises and falls."""

    __slots__ = ()

    def inc(self, amount: float = 1) -> None:
        """Add to the value.

        Args:
            amount: How much.

        """
        acquire()
        try:
            before = self.cells[0]
            self._put(amount if math.isnan(before) else before + amount)
        finally:
            release()

    def dec(self, amount: float = 1) -> None:
        """Take from the value.

        Args:
            amount: How much.

        """
        self.inc(-amount)

    def set(self, value: float) -> None:
        """Set the value.

        Args:
            value: What it is from now on.

        """
        acquire()
        try:
            self._put(value)
        finally:
            release()

    def _put(self, value: float) -> None:
        self.cells[0] = value
        if self.definition.across == "latest":
            self.cells[1] = time.time()

    def set_to_current_time(self) -> None:
        """Set the value to the Unix time in seconds: when something was last done."""
        self.set(time.time())

    @contextmanager
    def track(self) -> Iterator[None]:
        """Count the block as in progress."""
        self.inc()
        try:
            yield
        finally:
            self.dec()

    @property
    def value(self) -> float:
        """What it is in this process."""
        return self.cells[0]


class _Observing(Series):
    """What takes single values, such as durations."""

    __slots__ = ()

    def observe(self, value: float) -> None:
        """Take a value."""
        raise NotImplementedError

    @contextmanager
    def time(self) -> Iterator[None]:
        """Take the block's duration in seconds, also when it fails."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.observe(time.perf_counter() - started)

    @property
    def sum(self) -> float:
        """The sum of the values that this process took."""
        return self.cells[-1]

    def _refuse_nan(self, value: float) -> None:
        # It would make the sum NaN for good.
        if math.isnan(value):
            msg = f"{self.definition.name}: received NaN; allowed: numbers"
            raise ValueError(msg)


class Histogram(_Observing):
    """Counts values by size, so that quantiles can be estimated over all instances."""

    __slots__ = ()

    def observe(self, value: float) -> None:
        """Take a value.

        Args:
            value: In the unit that the series' name says.

        Raises:
            ValueError: The value is not a number.

        """
        self._refuse_nan(value)
        index = bisect_left(self.definition.buckets, value)
        acquire()
        try:
            self.cells[index] += 1
            self.cells[-1] += value
        finally:
            release()

    @property
    def count(self) -> float:
        """How many values this process took."""
        return sum(list(self.cells)[:-1])


class Summary(_Observing):
    """The number of values and their sum: the mean, for less than a histogram costs."""

    __slots__ = ()

    def observe(self, value: float) -> None:
        """Take a value.

        Args:
            value: In the unit that the series' name says.

        Raises:
            ValueError: The value is not a number.

        """
        self._refuse_nan(value)
        acquire()
        try:
            self.cells[0] += 1
            self.cells[1] += value
        finally:
            release()

    @property
    def count(self) -> float:
        """How many values this process took."""
        return self.cells[0]


Allocate = Callable[[Definition, tuple[str, ...]], Cells]


def in_memory(definition: Definition, _values: tuple[str, ...]) -> Cells:
    """Return cells that only this process sees.

    Args:
        definition: How many are needed.

    """
    return [definition.initial] * definition.width
