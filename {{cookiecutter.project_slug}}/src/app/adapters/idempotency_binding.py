"""What the idempotent functions of a process work with, bound once by the composition root.

It is a global of the process, not a context variable: a worker's threads and the tasks of an event loop start with a
context that the composition root has never seen. What serves functions without an event loop is built at the first of
their calls, so a service that has none never opens a second engine.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from ..core.idempotency import IdempotencyStore, SyncIdempotencyStore
from ..core.idempotency_errors import IdempotencyUsageError
from ..settings_groups import IdempotencySettings
from .idempotency_journal import Journal
from .idempotency_lease import LeaseKeeper, SyncLeaseKeeper
from .metrics import Metrics

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Driver:
    """What one kind of function, with an event loop or without, does its input and output with.

    Every function here returns its result, or what its result can be awaited from.
    """

    store: Any
    keeper: LeaseKeeper | SyncLeaseKeeper
    open_work: Callable[[], Any]
    close_work: Callable[[Any], Any]
    sleep: Callable[[float], Any]
    # Sees what it is given through, even if whoever waits for it is cancelled.
    shield: Callable[[Any], Any]


class Idempotency:
    """What idempotent functions work with.

    Args:
        settings: For how long, and what happens when the store fails.
        metrics: What counts outcomes.
        store: Where the records of asynchronous functions are kept.
        open_work: Opens the unit of work of an asynchronous function, on the database of the SQL store.
        sync_store: Builds the same store for functions without an event loop; called once, when it is first needed.
        open_sync_work: The same as `open_work` for those.
        close: Closes what was built for those.

    """

    def __init__(
        self,
        *,
        settings: IdempotencySettings,
        metrics: Metrics,
        store: IdempotencyStore,
        open_work: Callable[[], Any],
        sync_store: Callable[[], SyncIdempotencyStore],
        open_sync_work: Callable[[], Any],
        close: Callable[[], None] | None = None,
    ) -> None:
        self.settings = settings
        self.journal = Journal(metrics.idempotency, on_store_failure=settings.on_store_failure)
        self.asynchronous = Driver(store, LeaseKeeper(store, self.journal), open_work, _aclosed, asyncio.sleep, _shield)
        self._sync_store = sync_store
        self._open_sync_work = open_sync_work
        self._synchronous: Driver | None = None
        self._close = close
        self._building = threading.Lock()

    @property
    def synchronous(self) -> Driver:
        """What functions without an event loop work with."""
        if self._synchronous is None:
            with self._building:
                self._synchronous = self._synchronous or self._build()
        return self._synchronous

    def close(self) -> None:
        """Close what was built for functions without an event loop, and let no function work with this any more."""
        if _Bound.idempotency is self:
            bind_idempotency(None)
        if self._close is not None:
            self._close()

    def _build(self) -> Driver:
        store = self._sync_store()
        keeper = SyncLeaseKeeper(store, self.journal)
        return Driver(store, keeper, self._open_sync_work, _closed, time.sleep, _given)


def _aclosed(work: Any) -> Any:
    return work.aclose()


def _closed(work: Any) -> Any:
    return work.close()


async def _shield(work: Awaitable[T]) -> T:
    return await asyncio.shield(work)


def _given(result: T) -> T:
    return result


class _Bound:
    idempotency: Idempotency | None = None


def bind_idempotency(idempotency: Idempotency | None) -> Idempotency | None:
    """Set what the idempotent functions of this process work with, and return what they worked with before.

    Args:
        idempotency: What they work with from now on; None for nothing.

    """
    before, _Bound.idempotency = _Bound.idempotency, idempotency
    return before


@contextmanager
def bound_idempotency(idempotency: Idempotency | None) -> Iterator[None]:
    """Set what idempotent functions work with inside the block, as tests do.

    Args:
        idempotency: What they work with.

    """
    before = bind_idempotency(idempotency)
    try:
        yield
    finally:
        bind_idempotency(before)


def current_idempotency(name: str) -> Idempotency:
    """Return what idempotent functions work with.

    Args:
        name: The function that asks.

    Raises:
        IdempotencyUsageError: Nothing is bound.

    """
    if _Bound.idempotency is None:
        msg = (
            f"{name} was called before anything was bound for it to keep its records in; build the service with "
            f"bootstrap(settings) first, or use bound_idempotency(...) in a test"
        )
        raise IdempotencyUsageError(msg)
    return _Bound.idempotency
