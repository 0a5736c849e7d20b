"""The pool of a database's connections: how many there are, how long one is waited for, and who waited in vain."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from .query_failures import QueryFailure

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class PoolState:
    """What the open connections do, how many there may be, who waits for one now, and who did in vain until now."""

    in_use: int = 0
    idle: int = 0
    limit: int = 0
    waiting: int = 0
    timeouts: int = 0

    def __add__(self, other: "PoolState") -> "PoolState":
        """Return what two pools do together."""
        return PoolState(
            self.in_use + other.in_use,
            self.idle + other.idle,
            self.limit + other.limit,
            self.waiting + other.waiting,
            self.timeouts + other.timeouts,
        )


class PoolMetrics(Protocol):
    """What counts connections; `adapters.metrics.Metrics` does."""

    def database_failed(self, failure: str) -> None:
        """Count an error of the database."""

    def connection_awaited(self, seconds: float) -> None:
        """Count how long it took until there was a connection."""


class PoolWatch:
    """Who waits for a connection of a pool.

    Args:
        metrics: What counts how long that took, and who waited in vain.
        timeout_error: What the pool raises for those.

    """

    def __init__(self, metrics: PoolMetrics | None, timeout_error: type[Exception]) -> None:
        self._lock = threading.Lock()
        self._metrics = metrics
        self._timeout_error = timeout_error
        self.waiting = 0
        self.timeouts = 0

    def connect(self, connect: Callable[[], C]) -> C:
        """Return a connection: a free one, or a new one, that answered."""
        started = time.perf_counter()
        self._change(waiting=1)
        try:
            connection = connect()
        except self._timeout_error:
            self._change(timeouts=1)
            if self._metrics is not None:
                self._metrics.database_failed(QueryFailure.UNAVAILABLE)
            raise
        finally:
            self._change(waiting=-1)
        if self._metrics is not None:
            self._metrics.connection_awaited(time.perf_counter() - started)
        return connection

    def _change(self, *, waiting: int = 0, timeouts: int = 0) -> None:
        with self._lock:
            self.waiting += waiting
            self.timeouts += timeouts
