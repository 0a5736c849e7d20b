"""Keep a claim alive while its operation runs.

A claim is renewed when a third of its lease is over, so an operation that is done by then costs the store nothing, and
nearly nothing here: one timer, or one thread where there is no event loop, watches over all claims.

A renewal that fails is tried again until the operation ends, and logged once. A claim that was lost, because the
process was paused or the store was away for longer than the lease, does not stop its operation: nobody knows how far it
has come, and stopping it half-way protects nothing. What it can no longer do is to complete the record, by which a
store that is transactional undoes its effect too.
"""

import asyncio
import os
import threading
import time
import weakref
from contextvars import Context, copy_context
from dataclasses import dataclass
from math import inf

from ..core.idempotency import Claim, IdempotencyStore, SyncIdempotencyStore
from .idempotency_journal import Journal

# Of a lease: when it is renewed, and when that is tried again.
PERIOD = 1 / 3
RETRY_PERIOD = 1 / 12


@dataclass(slots=True, eq=False)
class Lease:
    """A claim that is kept alive.

    Attributes:
        claim: Which one.
        seconds: For how long it holds without renewal.
        due: When it is renewed next.
        context: What was open where it was taken.
        is_under_way: Whether it is being renewed.
        is_failing: Whether the last renewal failed.
        is_lost: Whether somebody else was found to have the claim.

    """

    claim: Claim
    seconds: float
    due: float
    # What a renewal logs belongs to the request or task.
    context: Context
    is_under_way: bool = False
    is_failing: bool = False
    is_lost: bool = False


class _Keeper:
    """The leases that are kept, and what a renewal means for one."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._held: set[Lease] = set()

    def _take_due(self, now: float) -> list[Lease]:
        due = [lease for lease in self._held if lease.due <= now]
        for lease in due:
            lease.due, lease.is_under_way = inf, True
        return due

    def _next_due(self) -> float:
        return min((lease.due for lease in self._held), default=inf)

    def _renewed(self, lease: Lease, *, held: bool) -> None:
        """Take note of what the store said; of an operation that is done meanwhile it means nothing."""
        if lease not in self._held:
            return
        if held:
            lease.is_failing = False
            lease.due = time.monotonic() + lease.seconds * PERIOD
            return
        self._lost(lease)

    def _lost(self, lease: Lease) -> None:
        self._held.discard(lease)
        if not lease.is_lost:
            lease.is_lost = True
            self._journal.lease_lost(lease.claim)

    def _failed(self, lease: Lease, error: Exception) -> None:
        if lease not in self._held:
            return
        if not lease.is_failing:
            self._journal.renewal_failed(error)
        lease.is_failing = True
        lease.due = time.monotonic() + lease.seconds * RETRY_PERIOD


class LeaseKeeper(_Keeper):
    """Keeps the claims of an event loop alive.

    Args:
        store: Which holds them.
        journal: Where failures and losses go.

    """

    def __init__(self, store: IdempotencyStore, journal: Journal) -> None:
        super().__init__(journal)
        self._store = store
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = inf
        self._tasks: dict[Lease, asyncio.Task[None]] = {}

    def hold(self, claim: Claim, seconds: float) -> Lease:
        """Keep a claim alive from now on.

        Args:
            claim: The claim.
            seconds: Its lease.

        """
        lease = Lease(claim, seconds, time.monotonic() + seconds * PERIOD, copy_context())
        self._held.add(lease)
        self._wake(lease.due)
        return lease

    def let_go(self, lease: Lease) -> None:
        """Renew a claim no more; a renewal that is under way means nothing then.

        Args:
            lease: What `hold` returned.

        """
        self._held.discard(lease)

    async def settle(self, lease: Lease) -> None:
        """Wait for a renewal that is under way: its connection must not outlive the operation.

        Args:
            lease: One that was let go.

        """
        task = self._tasks.get(lease)
        if task is not None:
            await asyncio.wait([task])

    def lost(self, lease: Lease) -> None:
        """Take note that the store says that somebody else has the claim; counted and logged once.

        Args:
            lease: What `hold` returned.

        """
        self._lost(lease)

    def _wake(self, due: float) -> None:
        """See to it that the timer goes off in time."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # The timer of an event loop that is gone never goes off.
            self._loop, self._timer, self._wakes_at = loop, None, inf
        if due < self._wakes_at:
            if self._timer is not None:
                self._timer.cancel()
            self._wakes_at = due
            self._timer = loop.call_later(max(0.0, due - time.monotonic()), self._sweep, context=Context())

    def _sweep(self) -> None:
        self._timer, self._wakes_at = None, inf
        for lease in self._take_due(time.monotonic()):
            task = asyncio.get_running_loop().create_task(self._renew(lease), context=lease.context)
            self._tasks[lease] = task
        self._wake(self._next_due())

    async def _renew(self, lease: Lease) -> None:
        try:
            held = await self._store.renew(lease.claim, lease=lease.seconds)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the next attempt may succeed
            self._failed(lease, error)
        else:
            self._renewed(lease, held=held)
        finally:
            lease.is_under_way = False
            del self._tasks[lease]
        self._wake(self._next_due())


class SyncLeaseKeeper(_Keeper):
    """The same for code that runs no event loop: one thread, there while anything is held and a while longer.

    Args:
        store: Which holds the claims.
        journal: Where failures and losses go.

    """

    def __init__(self, store: SyncIdempotencyStore, journal: Journal) -> None:
        super().__init__(journal)
        self._store = store
        self.start_anew()
        _all.add(self)

    def start_anew(self) -> None:
        """Forget the claims of the parent process: their thread is not in this one."""
        self._held = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wakes_at = inf

    def hold(self, claim: Claim, seconds: float) -> Lease:
        """Keep a claim alive from now on.

        Args:
            claim: The claim.
            seconds: Its lease.

        """
        lease = Lease(claim, seconds, time.monotonic() + seconds * PERIOD, copy_context())
        with self._changed:
            self._held.add(lease)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="idempotency-lease", daemon=True)
                self._thread.start()
            elif lease.due < self._wakes_at:
                self._changed.notify_all()
        return lease

    def let_go(self, lease: Lease) -> None:
        """Renew a claim no more; a renewal that is under way means nothing then.

        Args:
            lease: What `hold` returned.

        """
        with self._changed:
            self._held.discard(lease)

    def settle(self, lease: Lease) -> None:
        """Wait for a renewal that is under way: its connection must not outlive the operation.

        Args:
            lease: One that was let go.

        """
        with self._changed:
            self._changed.wait_for(lambda: not lease.is_under_way)

    def lost(self, lease: Lease) -> None:
        """Take note that the store says that somebody else has the claim; counted and logged once.

        Args:
            lease: What `hold` returned.

        """
        with self._changed:
            self._lost(lease)

    def _run(self) -> None:
        while True:
            with self._changed:
                due = self._take_due(time.monotonic())
                if not due and not self._sleep():
                    self._thread = None
                    return
            for lease in due:
                lease.context.run(self._renew, lease)

    def _sleep(self) -> bool:
        """Wait until something is due, and return whether anything is held, so that an idle thread ends."""
        now = time.monotonic()
        self._wakes_at = min(self._next_due(), now + IDLE_SECONDS)
        self._changed.wait(self._wakes_at - now)
        self._wakes_at = -inf
        return bool(self._held)

    def _renew(self, lease: Lease) -> None:
        held, failure = False, None
        try:
            held = self._store.renew(lease.claim, lease=lease.seconds)
        except Exception as error:  # noqa: BLE001 -- as above
            failure = error
        with self._changed:
            lease.is_under_way = False
            if failure is None:
                self._renewed(lease, held=held)
            else:
                self._failed(lease, failure)
            self._changed.notify_all()


# Longer than the pause between two short operations of a busy process, for starting a thread is what costs.
IDLE_SECONDS = 30.0
_all: "weakref.WeakSet[SyncLeaseKeeper]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for keeper in list(_all):
        keeper.start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
