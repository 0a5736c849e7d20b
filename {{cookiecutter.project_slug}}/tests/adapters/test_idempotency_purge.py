"""Records that are over are deleted in bounded steps."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.adapters.idempotency_purge import purge_expired, purge_expired_sync, purge_regularly
from app.core.idempotency_errors import IdempotencyStoreError

from ..conftest import Log


class Store:
    """A store with records that are over.

    Args:
        over: How many.

    """

    transactional = True

    def __init__(self, over: int) -> None:
        self.over = over
        self.limits: list[int] = []

    def purge_now(self, *, limit: int) -> int:
        """Delete some."""
        self.limits.append(limit)
        deleted = min(limit, self.over)
        self.over -= deleted
        return deleted

    async def purge(self, *, limit: int) -> int:
        """Delete some."""
        return self.purge_now(limit=limit)


class SyncStore(Store):
    """The same without an event loop."""

    purge = Store.purge_now  # type: ignore[assignment] # as the other protocol has it


async def purge(kind: str, over: int, **bounds: int) -> tuple[int, Store]:
    """Return how many were deleted, and the store."""
    store: Any = Store(over) if kind == "async" else SyncStore(over)
    if kind == "async":
        return await purge_expired(store, **bounds), store
    return await asyncio.to_thread(purge_expired_sync, store, **bounds), store


KINDS = pytest.mark.parametrize("kind", ["async", "sync"])


@KINDS
@pytest.mark.parametrize(("over", "steps"), [(0, 1), (9, 1), (10, 2), (25, 3)])
async def test_until_nothing_is_left(kind: str, over: int, steps: int) -> None:
    """It goes on until a step finds less than it may delete."""
    purged, store = await purge(kind, over, batch=10, batches=100)
    assert (purged, store.over, store.limits) == (over, 0, [10] * steps)


@KINDS
async def test_bounded(kind: str) -> None:
    """It stops after so many steps, however much is left."""
    purged, store = await purge(kind, 100, batch=10, batches=3)
    assert (purged, store.over) == (30, 70)


@KINDS
async def test_logged(kind: str, log: Log) -> None:
    """One line says how many they were, whatever number of steps it took."""
    await purge(kind, 25, batch=10, batches=100)
    (line,) = log.named("idempotency.purged")
    assert (line["level"], line["records"]) == ("info", 25)


class Sleeps:
    """What stands for sleeping: it takes no time, and ends the job after so many times.

    Args:
        times: How many.

    """

    def __init__(self, times: int) -> None:
        self.left = times
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        """Note how long, and give way."""
        if not self.left:
            raise asyncio.CancelledError
        self.left -= 1
        self.seconds.append(seconds)


@pytest.fixture
def sleeping(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Sleeps]:
    """Return what sets how often the job sleeps before it ends."""

    def choose(times: int) -> Sleeps:
        sleeps = Sleeps(times)
        monkeypatch.setattr("app.adapters.idempotency_purge.asyncio.sleep", sleeps)
        return sleeps

    return choose


async def test_again_and_again(sleeping: Callable[[int], Sleeps]) -> None:
    """It waits first, each time for another while around the interval, and counts what it deleted."""
    sleeps, store, counted = sleeping(50), Store(3), list[int]()
    with pytest.raises(asyncio.CancelledError):
        await purge_regularly(store, interval=100, on_purged=counted.append)  # type: ignore[arg-type] # all it needs
    assert counted == [3] + [0] * 49
    assert all(50 <= seconds <= 150 for seconds in sleeps.seconds)
    assert len(set(sleeps.seconds)) == 50


class Failing(Store):
    """A store that fails, and is back, and fails again."""

    def purge_now(self, *, limit: int) -> int:
        """Fail, or not."""
        super().purge_now(limit=limit)
        if len(self.limits) != 4:
            msg = "the SQL store failed: OperationalError"
            raise IdempotencyStoreError(msg)
        return 0


async def test_failure(sleeping: Callable[[int], Sleeps], log: Log) -> None:
    """A failure does not end the job, and is logged when it begins, not each time."""
    sleeping(6)
    store = Failing(0)
    with pytest.raises(asyncio.CancelledError):
        await purge_regularly(store, interval=1, on_purged=lambda _purged: None)  # type: ignore[arg-type] # all it needs
    assert len(store.limits) == 6
    assert [line["level"] for line in log.named("idempotency.purge_failed")] == ["warning"] * 2
