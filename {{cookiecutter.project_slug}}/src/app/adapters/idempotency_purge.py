"""Delete idempotency records that are over, in bounded steps, now and then.

Only the SQL store needs it: Redis forgets by itself, and memory makes room when it is full. Processes that do it at the
same moment share the work.
"""

import asyncio
import random
import threading
from collections.abc import Callable

from ..core.idempotency import IdempotencyStore, SyncIdempotencyStore
from ..core.idempotency_errors import IdempotencyStoreError
from ..core.logging import get_logger

log = get_logger(__name__)
BATCH = 500
BATCHES = 100


async def purge_expired(store: IdempotencyStore, *, batch: int = BATCH, batches: int = BATCHES) -> int:
    """Delete what is over, and return how many records that were.

    Args:
        store: Where.
        batch: How many are deleted in one transaction.
        batches: How many of these; what is left then is for the next time.

    Raises:
        IdempotencyStoreError: The store failed; what was deleted before stays deleted.

    """
    purged = 0
    for _ in range(batches):
        deleted = await store.purge(limit=batch)
        purged += deleted
        if deleted < batch:
            break
    return _told(purged)


def purge_expired_sync(store: SyncIdempotencyStore, *, batch: int = BATCH, batches: int = BATCHES) -> int:
    """Do the same without an event loop.

    Args:
        store: Where.
        batch: How many are deleted in one transaction.
        batches: How many of these; what is left then is for the next time.

    Raises:
        IdempotencyStoreError: The store failed; what was deleted before stays deleted.

    """
    purged = 0
    for _ in range(batches):
        deleted = store.purge(limit=batch)
        purged += deleted
        if deleted < batch:
            break
    return _told(purged)


def _told(purged: int) -> int:
    log.info("idempotency.purged", records=purged)
    return purged


async def purge_regularly(store: IdempotencyStore, *, interval: float, on_purged: Callable[[int], None]) -> None:
    """Delete what is over again and again until the task is cancelled.

    A failure is logged when it begins, not at every attempt while it lasts.

    Args:
        store: Where.
        interval: Seconds between two times, give or take half: processes that started together drift apart.
        on_purged: Called with the number of records each time.

    """
    failing = False
    while True:
        await asyncio.sleep(_pause(interval))
        try:
            on_purged(await purge_expired(store))
            failing = False
        except IdempotencyStoreError as error:
            failing = _has_failed(error, before=failing)


def purge_regularly_sync(
    store: SyncIdempotencyStore, *, interval: float, on_purged: Callable[[int], None], stopped: threading.Event
) -> None:
    """Do the same in a thread, until it is told to stop.

    Args:
        store: Where.
        interval: Seconds between two times, give or take half.
        on_purged: Called with the number of records each time.
        stopped: Set when it is to end.

    """
    failing = False
    while not stopped.wait(_pause(interval)):
        try:
            on_purged(purge_expired_sync(store))
            failing = False
        except IdempotencyStoreError as error:
            failing = _has_failed(error, before=failing)


def _pause(interval: float) -> float:
    return interval * random.uniform(0.5, 1.5)  # noqa: S311 -- nobody gains by guessing it


def _has_failed(error: IdempotencyStoreError, *, before: bool) -> bool:
    if not before:
        log.warning("idempotency.purge_failed", exc_info=error)
    return True
