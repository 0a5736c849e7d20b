"""What becomes of work that failed: whether it is tried again, when, and why not."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import NamedTuple

from .errors import AppError
from .idempotency_errors import IdempotencyInProgressError

# Doubled this often, every pause is longer than any that is allowed.
_MAX_DOUBLINGS = 62
# How long to wait for somebody who does the same, if the error does not say it.
WAIT_SECONDS = 1.0


class Reason(StrEnum):
    """Why work was given up."""

    # It failed in a way that trying again does not change.
    PERMANENT = "permanent"
    # It was tried as often as it is allowed.
    EXHAUSTED = "exhausted"
    # The same work was in progress elsewhere for longer than it may take.
    IN_PROGRESS = "in progress"
    # It took longer than it may, and was ended from outside.
    TIME_LIMIT = "time limit"
    # Whoever worked on it died, each time.
    WORKER_LOST = "worker lost"
    # Nobody here knows how to do it.
    UNKNOWN = "unknown"
    # What was sent cannot be read.
    UNREADABLE = "unreadable"
    # Nobody needs it any more.
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often something is tried, and how long the pauses are.

    Attributes:
        max_attempts: How often it is tried before it is given up.
        backoff: Seconds before the second attempt, at most; doubled with each further one.
        backoff_max: The longest of these pauses, in seconds.
        max_wait: For how many seconds the same work may be in progress elsewhere.

    """

    max_attempts: int = 5
    backoff: float = 1.0
    backoff_max: float = 300.0
    max_wait: float = 600.0


class Retry(NamedTuple):
    """It is tried again.

    Attributes:
        delay: In how many seconds.
        counts: Whether what failed was an attempt; waiting for somebody else is none.

    """

    delay: float
    counts: bool = True


def decide(
    error: AppError | None,
    policy: RetryPolicy,
    *,
    attempt: int,
    waited: float = 0.0,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Retry | Reason:
    """Return when failed work is tried again, or why it is not.

    Args:
        error: What it failed with; None for an error that nobody expected.
        policy: How often it is tried.
        attempt: Which attempt failed; the first is 1.
        waited: For how many seconds it has waited for the same work to end elsewhere.
        uniform: Returns a random number between two.

    """
    if error is None or not error.retryable:
        return Reason.PERMANENT
    if isinstance(error, IdempotencyInProgressError):
        pause = _at_least(error) or WAIT_SECONDS
        return Reason.IN_PROGRESS if waited >= policy.max_wait else Retry(pause * uniform(0.5, 1.5), counts=False)
    if attempt >= policy.max_attempts:
        return Reason.EXHAUSTED
    # The whole pause is random, for those that failed together must not come back together.
    return Retry(_at_least(error) + uniform(0.0, longest_pause(policy, attempt)))


def longest_pause(policy: RetryPolicy, attempt: int) -> float:
    """Return how long the pause after an attempt may be, in seconds.

    Args:
        policy: What says so.
        attempt: Which attempt failed; the first is 1.

    """
    return min(policy.backoff_max, policy.backoff * 2.0 ** min(max(attempt, 1) - 1, _MAX_DOUBLINGS))


def _at_least(error: AppError) -> float:
    """Return after how many seconds the error says that trying again makes sense."""
    seconds = error.retry_after
    return seconds if seconds is not None and isfinite(seconds) and seconds > 0 else 0.0
