"""What `@idempotent` functions (`adapters.idempotent`) work with in a Django service."""

from typing import Any, NoReturn

from asgiref.sync import sync_to_async

from ..adapters.idempotency_binding import Idempotency
from ..adapters.metrics import Metrics
from ..core.idempotency import IdempotencyStore, SyncIdempotencyStore
from ..core.idempotency_errors import IdempotencyUsageError
from ..settings_groups import IdempotencySettings
from .unit_of_work import AtomicWork


class ThreadedStore:
    """A store for code on an event loop: each step in the thread that Django keeps for it.

    Args:
        store: The store for code that runs no event loop.

    """

    def __init__(self, store: SyncIdempotencyStore) -> None:
        self.transactional = store.transactional
        self._store = store

    def __getattr__(self, step: str) -> Any:
        """Return a step."""
        return sync_to_async(getattr(self._store, step))


def build_idempotency(settings: IdempotencySettings, *, metrics: Metrics, store: SyncIdempotencyStore) -> Idempotency:
    """Return what idempotent functions work with.

    Args:
        settings: For how long, and what happens when the store fails.
        metrics: What counts outcomes.
        store: Where their records are kept.

    """
    threaded: Any = ThreadedStore(store)
    of_loop: IdempotencyStore = threaded
    return Idempotency(
        settings=settings,
        metrics=metrics,
        store=of_loop,
        open_work=_no_work,
        sync_store=lambda: store,
        open_sync_work=AtomicWork,
    )


def _no_work() -> NoReturn:
    msg = (
        "an asynchronous idempotent function was given a parameter `work`; allowed with Django: on a function that is "
        "not asynchronous, for a transaction of Django's belongs to one thread; call it through sync_to_async"
    )
    raise IdempotencyUsageError(msg)
