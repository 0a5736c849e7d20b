"""Idempotency: what a key, a request and what the store knows of them mean together.

An operation runs under a claim that one owner holds for the time of a lease. When it is done its answer is kept, and a
repetition gets that; when it fails the claim is released. Nothing here does I/O: stores claim atomically, drivers act
on the decision.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from random import Random
from typing import Any, ClassVar, NamedTuple, Protocol

from .errors import AppError
from .idempotency_answer import Answer
from .idempotency_errors import (
    IdempotencyInProgressError,
    IdempotencyKeyReusedError,
    IdempotencyNotReplayableError,
)

# Nobody's name, so that no user who is called like it shares the scope of callers without one.
ANONYMOUS = ""
RETRY_AFTER = 1
# Of its own, so that nobody's `random.seed()` makes two processes draw the same tokens. A token tells owners apart and
# is no secret; asking the operating system for it would cost more than all of the decision.
_random = Random()  # noqa: S311
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


class Outcome(StrEnum):
    """What a request with a key comes to."""

    RUN = "run"
    REPLAY = "replay"
    IN_PROGRESS = "in_progress"
    MISMATCH = "mismatch"
    NOT_REPLAYABLE = "not_replayable"
    STORE_ERROR = "store_error"
    LEASE_LOST = "lease_lost"


class Record(NamedTuple):
    """What a store knows of a key.

    Attributes:
        fingerprint: What identified the request that claimed the key.
        lease_until: When the claim ends, unless it is renewed; by the store's clock, in seconds.
        expires_at: When the record means nothing any more; by the same clock.
        answer: The answer, or the text that is kept of it; None while the operation runs.

    """

    fingerprint: str
    lease_until: float
    expires_at: float
    answer: Answer | str | None = None


class Claim(NamedTuple):
    """The right to run an operation once: only its owner may complete, renew or release the record.

    Attributes:
        key: A hash of the caller, the operation and the key that the caller chose.
        caller: A hash of the caller, by which all records of one can be forgotten.
        fingerprint: What identifies the request.
        owner: A random token.

    """

    key: str
    caller: str
    fingerprint: str
    owner: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a request.

    Attributes:
        outcome: The decision.
        answer: What to send when it is a replay.
        damaged: Whether an answer was stored that cannot be read.

    """

    outcome: Outcome
    answer: Answer | None = None
    damaged: bool = False


class IdempotencyStore(Protocol):
    """Keeps records. Every method is atomic, measures time by the store's clock and raises `IdempotencyStoreError`."""

    transactional: ClassVar[bool]
    """Whether `complete` can commit together with the operation's effect."""

    async def begin(self, claim: Claim, *, lease: float, ttl: float) -> Decision:
        """Take the claim, or say what stands in its way."""

    async def complete(self, claim: Claim, answer: Answer, *, ttl: float, transaction: Any = None) -> bool:
        """Keep the answer; False when the claim was lost to another owner."""

    async def renew(self, claim: Claim, *, lease: float) -> bool:
        """Extend the lease; False when the claim was lost."""

    async def release(self, claim: Claim) -> None:
        """Free the key, if the claim still holds it."""

    async def purge(self, *, limit: int) -> int:
        """Delete at most so many records that are over, and return how many those were."""

    async def forget(self, caller: str) -> int:
        """Delete every record of a caller, as `Claim.caller` names it, and return how many those were."""


class SyncIdempotencyStore(Protocol):
    """The same for code that runs no event loop."""

    transactional: ClassVar[bool]
    """Whether `complete` can commit together with the operation's effect."""

    def begin(self, claim: Claim, *, lease: float, ttl: float) -> Decision:
        """Take the claim, or say what stands in its way."""

    def complete(self, claim: Claim, answer: Answer, *, ttl: float, transaction: Any = None) -> bool:
        """Keep the answer; False when the claim was lost to another owner."""

    def renew(self, claim: Claim, *, lease: float) -> bool:
        """Extend the lease; False when the claim was lost."""

    def release(self, claim: Claim) -> None:
        """Free the key, if the claim still holds it."""

    def purge(self, *, limit: int) -> int:
        """Delete at most so many records that are over, and return how many those were."""

    def forget(self, caller: str) -> int:
        """Delete every record of a caller, as `Claim.caller` names it, and return how many those were."""


def digest(*parts: bytes) -> str:
    """Return a hash of the parts that no other split of the same bytes has: their lengths come first.

    Args:
        parts: Anything; the last may be large, it is not copied.

    """
    hasher = hashlib.sha256(b"%d:" * len(parts) % tuple(map(len, parts)) + b"".join(parts[:-1]))
    hasher.update(parts[-1])
    return hasher.hexdigest()


def caller_id(caller: str) -> str:
    """Return the name under which a store knows a caller.

    Args:
        caller: The authenticated user, or `ANONYMOUS`.

    """
    return digest(caller.encode())


def new_claim(*, caller: str, operation: Sequence[str], key: str, fingerprint: str) -> Claim:
    """Return a claim of its own owner; the store sees the key only as a hash.

    Args:
        caller: The authenticated user, or `ANONYMOUS`.
        operation: What is done, such as the HTTP method and the route's template.
        key: What the caller chose.
        fingerprint: What identifies the request.

    """
    whose, scope = _scope(caller, tuple(operation))
    name = hashlib.sha256(scope + key.encode()).hexdigest()
    return Claim(name, whose, fingerprint, f"{_random.getrandbits(128):032x}")


@lru_cache(maxsize=1024)
def _scope(caller: str, operation: tuple[str, ...]) -> tuple[str, bytes]:
    """Return what the keys of an operation have in common: the caller's name, and bytes of one length to put before."""
    return caller_id(caller), digest(*[part.encode() for part in (caller, *operation)]).encode()


_RUN = Decision(Outcome.RUN)


def is_over(record: Record, now: float) -> bool:
    """Return whether a record has no meaning any more: it expired, and nobody is running its operation.

    Args:
        record: What the store knows of a key.
        now: The store's time.

    """
    running = record.answer is None and record.lease_until > now
    return record.expires_at <= now and not running


def decide(record: Record | None, fingerprint: str, now: float) -> Decision:
    """Return what a request comes to, given what the store knows of its key.

    Args:
        record: The record of the key, if there is one.
        fingerprint: What identifies the request.
        now: The store's time.

    """
    if record is None or is_over(record, now):
        return _RUN
    if record.fingerprint != fingerprint:
        return Decision(Outcome.MISMATCH)
    if record.answer is None:
        return Decision(Outcome.RUN if record.lease_until <= now else Outcome.IN_PROGRESS)
    answer = Answer.load(record.answer) if isinstance(record.answer, str) else record.answer
    if answer is None:
        # The operation ran: running it again in silence would be worse than refusing.
        return Decision(Outcome.NOT_REPLAYABLE, damaged=True)
    return Decision(Outcome.REPLAY if answer.body is not None else Outcome.NOT_REPLAYABLE, answer)


REFUSALS: Mapping[Outcome, Callable[[], AppError]] = {
    Outcome.IN_PROGRESS: lambda: IdempotencyInProgressError(retry_after=RETRY_AFTER),
    Outcome.MISMATCH: IdempotencyKeyReusedError,
    Outcome.NOT_REPLAYABLE: IdempotencyNotReplayableError,
}
