"""A claim is kept alive while its operation runs, on an event loop and without one."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from app.adapters import idempotency_lease
from app.adapters.idempotency_journal import Journal
from app.adapters.idempotency_lease import LeaseKeeper, SyncLeaseKeeper
from app.core.context import request_context
from app.core.idempotency import Claim, new_claim
from app.core.idempotency_errors import IdempotencyStoreError

from ..conftest import Log
from ..processes import FORKS, run_python

LEASE = 0.3
PATIENCE = 10.0


class Store:
    """Renews as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Claim] = []
        self.says: Callable[[], bool] = lambda: True

    def renew(self, claim: Claim, *, lease: float) -> Any:
        """Renew."""
        self.asked.append(claim)
        return self.says()


class AsyncStore(Store):
    """The same, awaited."""

    async def renew(self, claim: Claim, *, lease: float) -> Any:
        """Renew."""
        return super().renew(claim, lease=lease)


class Kit:
    """A keeper and what it works with.

    Args:
        mode: `async` or `sync`.

    """

    def __init__(self, mode: str) -> None:
        self.store: Any = AsyncStore() if mode == "async" else Store()
        self.counted: list[str] = []
        journal = Journal(self.counted.append, on_store_failure="reject")
        keeper: Any = LeaseKeeper if mode == "async" else SyncLeaseKeeper
        self.keeper: Any = keeper(self.store, journal)

    async def until(self, is_so: Callable[[], object]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(PATIENCE):
            while not is_so():  # noqa: ASYNC110 -- a thread may bring it about
                await asyncio.sleep(0.005)


@pytest.fixture(params=["async", "sync"])
def kit(request: pytest.FixtureRequest) -> Iterator[Kit]:
    """Return a keeper of each kind."""
    made = Kit(request.param)
    yield made
    made.keeper._held.clear()


def claim() -> Claim:
    """Return a claim."""
    return new_claim(caller="ada", operation=("POST", "/orders"), key="k", fingerprint="f")


async def test_renewed_again_and_again(kit: Kit) -> None:
    """A claim is renewed for as long as it is held, and no longer."""
    mine = claim()
    lease = kit.keeper.hold(mine, LEASE)
    await kit.until(lambda: len(kit.store.asked) >= 3)
    kit.keeper.let_go(lease)
    asked = len(kit.store.asked)
    await asyncio.sleep(LEASE)
    assert kit.store.asked[:3] == [mine] * 3
    assert len(kit.store.asked) <= asked + 1
    assert kit.counted == []


async def test_short_operation(kit: Kit) -> None:
    """What ends within a third of its lease costs the store nothing."""
    for _ in range(100):
        kit.keeper.let_go(kit.keeper.hold(claim(), LEASE))
    await asyncio.sleep(LEASE)
    assert kit.store.asked == []


async def test_shorter_lease_comes_first(kit: Kit) -> None:
    """A lease that is shorter than those before it is renewed in time."""
    kit.keeper.hold(claim(), 1000.0)
    short = claim()
    kit.keeper.hold(short, LEASE)
    await kit.until(lambda: kit.store.asked)
    assert kit.store.asked == [short]


def asked_since(kit: Kit, before: int) -> bool:
    """Return whether the store was asked several times more."""
    return len(kit.store.asked) >= before + 4


async def test_failing_renewal(kit: Kit, log: Log) -> None:
    """A renewal that fails is tried again before the lease ends, and logged once until one succeeds."""

    def fails() -> bool:
        msg = "away"
        raise IdempotencyStoreError(msg)

    kit.store.says = fails
    for rounds in (1, 2):
        lease = kit.keeper.hold(claim(), LEASE)
        before = len(kit.store.asked)
        await kit.until(partial(asked_since, kit, before))
        assert len(log.named("idempotency.renewal_failed")) == rounds
        kit.keeper.let_go(lease)
    assert set(kit.counted) == {"store_error"}


async def test_failing_renewal_is_tried_within_the_lease(kit: Kit) -> None:
    """After a failure the next attempts come early enough to save the lease."""
    assert idempotency_lease.PERIOD + 3 * idempotency_lease.RETRY_PERIOD < 1


async def test_renewal_that_succeeds_after_failures(kit: Kit, log: Log) -> None:
    """A store that comes back is asked at the usual pace, and a new outage is news again."""
    answers = [False, True, False]

    def says() -> bool:
        if answers and not answers.pop(0):
            msg = "away"
            raise IdempotencyStoreError(msg)
        return True

    kit.store.says = says
    lease = kit.keeper.hold(claim(), LEASE)
    await kit.until(lambda: len(kit.store.asked) >= 4)
    kit.keeper.let_go(lease)
    assert len(log.named("idempotency.renewal_failed")) == 2


async def test_lost_claim(kit: Kit, log: Log) -> None:
    """A claim that somebody else has is logged and counted once, with the context of its request; no more is asked."""
    kit.store.says = lambda: False
    with request_context(request_id="r-1"):
        lease = kit.keeper.hold(claim(), LEASE)
    await kit.until(lambda: lease.is_lost)
    kit.keeper.lost(lease)
    await asyncio.sleep(LEASE)
    assert [line["request_id"] for line in log.named("idempotency.lease_lost")] == ["r-1"]
    assert (kit.counted, len(kit.store.asked)) == (["lease_lost"], 1)


async def test_renewal_that_ends_after_the_operation(kit: Kit, log: Log) -> None:
    """What a renewal finds when its operation is done already means nothing: the record is complete, not lost."""
    asked = len(kit.store.asked)
    lease = kit.keeper.hold(claim(), LEASE)

    def says() -> bool:
        kit.keeper.let_go(lease)
        return False

    kit.store.says = says
    await kit.until(lambda: len(kit.store.asked) > asked)
    await asyncio.sleep(0.05)
    assert (kit.counted, log.named("idempotency.lease_lost")) == ([], [])


async def test_many_at_once(kit: Kit) -> None:
    """All claims that are held are renewed."""
    held = [claim() for _ in range(50)]
    for one in held:
        kit.keeper.hold(one, LEASE)
    await kit.until(lambda: {one.owner for one in kit.store.asked} == {one.owner for one in held})


def lease_threads() -> list[threading.Thread]:
    """Return the threads that renew."""
    return [thread for thread in threading.enumerate() if thread.name == "idempotency-lease"]


async def test_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an event loop one thread serves all claims, and ends when there are none for a while."""
    kit, before = Kit("sync"), set(lease_threads())
    monkeypatch.setattr(idempotency_lease, "IDLE_SECONDS", 0.05)
    leases = [kit.keeper.hold(claim(), LEASE) for _ in range(5)]
    (thread,) = set(lease_threads()) - before
    for lease in leases:
        kit.keeper.let_go(lease)
    await kit.until(lambda: not thread.is_alive())
    kit.keeper.hold(claim(), LEASE)
    await kit.until(lambda: kit.store.asked)


FORKING = """
import os, threading
from app.adapters.idempotency_journal import Journal
from app.adapters.idempotency_lease import SyncLeaseKeeper
from app.core.idempotency import new_claim

asked, was_asked = [], threading.Event()

class Store:
    def renew(self, claim, *, lease):
        asked.append(claim.fingerprint)
        was_asked.set()
        return True

keeper = SyncLeaseKeeper(Store(), Journal(print, on_store_failure="reject"))
keeper.hold(new_claim(caller="", operation=(), key="k", fingerprint="the parent's"), 1000.0)
if os.fork() == 0:
    keeper.hold(new_claim(caller="", operation=(), key="k", fingerprint="the child's"), 0.3)
    was_asked.wait(10)
    print(asked, flush=True)
    os._exit(0)
os.wait()
"""


def test_child_process() -> None:
    """A forked child has a thread of its own for its own claims; those of its parent are not its concern."""
    ended = run_python(*FORKS, "-c", FORKING)
    assert (ended.stdout, ended.stderr) == ('["the child\'s"]\n', "")


def test_next_event_loop() -> None:
    """A keeper that outlives an event loop serves the next one."""
    kit = Kit("async")

    async def hold() -> None:
        asked = len(kit.store.asked)
        lease = kit.keeper.hold(claim(), LEASE)
        await kit.until(lambda: len(kit.store.asked) > asked)
        kit.keeper.let_go(lease)
        kit.keeper.hold(claim(), 1000.0)

    for _ in range(2):
        asyncio.run(hold())
