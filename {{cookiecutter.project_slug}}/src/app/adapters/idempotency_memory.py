"""Idempotency records in the memory of one process: for tests, and for services of exactly one process.

An operation runs at most once per lease, as long as the process lives: it forgets at restart and knows nothing of other
processes, so it refuses to work where another one has a copy of it. Time is the process's monotonic clock.
"""

import os
import sys
import threading
import time
from heapq import heapify, heappop, heappush
from typing import Any, ClassVar

from ..core.idempotency import Claim, Decision, Outcome, Record, decide, is_over
from ..core.idempotency_answer import Answer
from ..core.idempotency_errors import IdempotencyStoreError
from ..settings import ConfigurationError

MAX_RECORDS = 10_000
MAX_BYTES = 64 * 1024 * 1024


class _Kept:
    """A record, whose it is, how large its answer is, and when it is over unless somebody renews or finishes it."""

    __slots__ = ("caller", "ends", "owner", "record", "size")

    def __init__(self, claim: Claim, record: Record) -> None:
        self.owner = claim.owner
        self.caller = claim.caller
        self.record = record
        self.size = 0
        self.ends = max(record.lease_until, record.expires_at)


class _Records:
    """The records of a process, for any number of threads."""

    def __init__(self, max_records: int, max_bytes: int) -> None:
        _refuse_in_a_child()
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: dict[str, _Kept] = {}
        # Keys with an answer, oldest first.
        self._finished: dict[str, None] = {}
        # What ends next stands first; an entry may be older than what is known of its key.
        self._ends: list[tuple[float, str]] = []

    def begin(self, claim: Claim, lease: float, ttl: float) -> Decision:
        if os.getpid() != self._process:
            raise ConfigurationError(_SHARED.format("this process is a fork of the one that made it"))
        with self._lock:
            now = time.monotonic()
            known = self._kept.get(claim.key)
            decision = decide(known.record if known else None, claim.fingerprint, now)
            if decision.outcome is Outcome.RUN:
                if known is not None:
                    self._drop(claim.key)
                if len(self._kept) >= self._max_records:
                    self._make_room(now)
                kept = self._kept[claim.key] = _Kept(claim, Record(claim.fingerprint, now + lease, now + ttl))
                self._will_end(kept.ends, claim.key)
            return decision

    def complete(self, claim: Claim, answer: Answer, ttl: float) -> bool:
        with self._lock:
            kept = self._held(claim)
            if kept is None:
                return False
            now = time.monotonic()
            record = kept.record
            kept.record = Record(record.fingerprint, record.lease_until, now + ttl, answer)
            kept.size = len(answer.body or b"")
            self._bytes += kept.size
            self._finished[claim.key] = None
            # When it is over later than was said before, that is noticed then.
            if now + ttl < kept.ends:
                kept.ends = now + ttl
                self._will_end(kept.ends, claim.key)
            if self._bytes > self._max_bytes:
                self._make_room(now, spare=claim.key)
            return True

    def renew(self, claim: Claim, lease: float) -> bool:
        with self._lock:
            kept = self._held(claim)
            if kept is None:
                return False
            kept.record = kept.record._replace(lease_until=time.monotonic() + lease)
            return True

    def release(self, claim: Claim) -> None:
        with self._lock:
            if self._held(claim) is not None:
                self._drop(claim.key)

    def purge(self, limit: int) -> int:
        with self._lock:
            return self._drop_ended(time.monotonic(), limit)

    def forget(self, caller: str) -> int:
        with self._lock:
            keys = [key for key, kept in self._kept.items() if kept.caller == caller]
            for key in keys:
                self._drop(key)
            return len(keys)

    def _held(self, claim: Claim) -> _Kept | None:
        kept = self._kept.get(claim.key)
        return kept if kept is not None and kept.owner == claim.owner and kept.record.answer is None else None

    def _will_end(self, ends: float, key: str) -> None:
        heappush(self._ends, (ends, key))
        if len(self._ends) > 4 * self._max_records:
            self._ends = [(kept.ends, name) for name, kept in self._kept.items()]
            heapify(self._ends)

    def _drop(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= kept.size
            self._finished.pop(key, None)

    def _make_room(self, now: float, *, spare: str = "") -> None:
        """Drop what is over, then the oldest answers; a running operation is never forgotten."""
        if not self._is_full(spare):
            return
        self._drop_ended(now, self._max_records)
        while self._is_full(spare):
            oldest = next((key for key in self._finished if key != spare), None)
            if oldest is None and spare:
                return
            if oldest is None:
                msg = f"the memory store holds {self._max_records} running requests and takes no more"
                raise IdempotencyStoreError(msg)
            self._drop(oldest)

    def _is_full(self, spare: str) -> bool:
        too_many = not spare and len(self._kept) >= self._max_records
        return too_many or self._bytes > self._max_bytes

    def _drop_ended(self, now: float, limit: int) -> int:
        dropped = 0
        while dropped < limit and self._ends and self._ends[0][0] <= now:
            _, key = heappop(self._ends)
            kept = self._kept.get(key)
            if kept is not None and is_over(kept.record, now):
                self._drop(key)
                dropped += 1
            elif kept is not None:
                record = kept.record
                kept.ends = record.expires_at if record.answer else max(record.lease_until, record.expires_at)
                heappush(self._ends, (kept.ends, key))
        return dropped


_SHARED = (
    "IDEMPOTENCY__STORE: received 'memory'; {}, and each process would run what is to run once. "
    "Allowed in one process only; for several set sql or redis"
)


def _refuse_in_a_child() -> None:
    """Raise in a process that `multiprocessing` started: it is hardly the only one."""
    # Whoever was started by it has it loaded.
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        raise ConfigurationError(_SHARED.format("this process is a child of another one"))


class MemoryIdempotencyStore:
    """Keeps records in this process, for code on an event loop.

    Args:
        max_records: How many it keeps; past that what is over goes first, then the oldest answers.
        max_bytes: How large their answers may be together.

    Raises:
        ConfigurationError: Several processes would each have a store of their own.

    """

    transactional: ClassVar[bool] = False

    def __init__(self, *, max_records: int = MAX_RECORDS, max_bytes: int = MAX_BYTES) -> None:
        self._records = _Records(max_records, max_bytes)

    async def begin(self, claim: Claim, *, lease: float, ttl: float) -> Decision:
        """Take the claim, or say what stands in its way."""
        return self._records.begin(claim, lease, ttl)

    async def complete(
        self,
        claim: Claim,
        answer: Answer,
        *,
        ttl: float,
        transaction: Any = None,  # noqa: ARG002 -- memory has none to join
    ) -> bool:
        """Keep the answer; False when the claim was lost."""
        return self._records.complete(claim, answer, ttl)

    async def renew(self, claim: Claim, *, lease: float) -> bool:
        """Extend the lease."""
        return self._records.renew(claim, lease)

    async def release(self, claim: Claim) -> None:
        """Free the key."""
        self._records.release(claim)

    async def purge(self, *, limit: int) -> int:
        """Drop records that are over."""
        return self._records.purge(limit)

    async def forget(self, caller: str) -> int:
        """Drop every record of a caller."""
        return self._records.forget(caller)


class SyncMemoryIdempotencyStore:
    """The same for threads.

    Args:
        max_records: How many it keeps; past that what is over goes first, then the oldest answers.
        max_bytes: How large their answers may be together.

    Raises:
        ConfigurationError: Several processes would each have a store of their own.

    """

    transactional: ClassVar[bool] = False

    def __init__(self, *, max_records: int = MAX_RECORDS, max_bytes: int = MAX_BYTES) -> None:
        self._records = _Records(max_records, max_bytes)

    def begin(self, claim: Claim, *, lease: float, ttl: float) -> Decision:
        """Take the claim, or say what stands in its way."""
        return self._records.begin(claim, lease, ttl)

    def complete(
        self,
        claim: Claim,
        answer: Answer,
        *,
        ttl: float,
        transaction: Any = None,  # noqa: ARG002 -- memory has none to join
    ) -> bool:
        """Keep the answer; False when the claim was lost."""
        return self._records.complete(claim, answer, ttl)

    def renew(self, claim: Claim, *, lease: float) -> bool:
        """Extend the lease."""
        return self._records.renew(claim, lease)

    def release(self, claim: Claim) -> None:
        """Free the key."""
        self._records.release(claim)

    def purge(self, *, limit: int) -> int:
        """Drop records that are over."""
        return self._records.purge(limit)

    def forget(self, caller: str) -> int:
        """Drop every record of a caller."""
        return self._records.forget(caller)
