"""Whether failed work is tried again, and when."""

from math import inf, nan

import pytest

from app.core.errors import AppError, InfrastructureError, NotFoundError, RateLimitError
from app.core.idempotency_errors import IdempotencyInProgressError
from app.core.retry import Reason, Retry, RetryPolicy, decide, longest_pause

POLICY = RetryPolicy(max_attempts=4, backoff=2.0, backoff_max=10.0, max_wait=60.0)
DOWN = InfrastructureError()
BUSY = IdempotencyInProgressError(retry_after=3.0)


def highest(_low: float, high: float) -> float:
    """Be a source of random numbers that is as high as it can be."""
    return high


def lowest(low: float, _high: float) -> float:
    """Be one that is as low as it can be."""
    return low


def test_pauses_double_up_to_the_longest() -> None:
    """The pause may be twice as long each time, but never longer than allowed."""
    delays = [decide(DOWN, POLICY, attempt=attempt, uniform=highest) for attempt in (1, 2, 3)]
    assert delays == [Retry(2.0), Retry(4.0), Retry(8.0)]
    assert longest_pause(POLICY, 4) == longest_pause(POLICY, 10**6) == 10.0


def test_jitter_is_full() -> None:
    """Those that failed together may come back at any time between at once and the longest pause."""
    assert decide(DOWN, POLICY, attempt=3, uniform=lowest) == Retry(0.0)
    delays = [decide(DOWN, POLICY, attempt=3) for _ in range(200)]
    assert all(isinstance(retry, Retry) and 0 <= retry.delay <= 8 for retry in delays)
    assert len(set(delays)) > 100


@pytest.mark.parametrize(("said", "least"), [(30.0, 30.0), (None, 0.0), (-1.0, 0.0), (nan, 0.0), (inf, 0.0)])
def test_an_error_may_say_when(said: float | None, least: float) -> None:
    """No attempt comes earlier than the error says that it makes sense, nor all at that moment."""
    error = RateLimitError(retry_after=said)
    assert decide(error, POLICY, attempt=1, uniform=lowest) == Retry(least)
    assert decide(error, POLICY, attempt=1, uniform=highest) == Retry(least + 2.0)


@pytest.mark.parametrize("error", [None, AppError(), NotFoundError()])
def test_permanent_errors(error: AppError | None) -> None:
    """What is not known to be temporary is not tried again."""
    assert decide(error, POLICY, attempt=1) is Reason.PERMANENT


def test_attempts_end() -> None:
    """The last attempt that is allowed is the last."""
    assert isinstance(decide(DOWN, POLICY, attempt=3), Retry)
    assert decide(DOWN, POLICY, attempt=4) is Reason.EXHAUSTED


def test_waiting_is_no_attempt() -> None:
    """While the same work is in progress elsewhere it waits, whichever attempt this is, in pauses that do not grow."""
    assert decide(BUSY, POLICY, attempt=99, waited=59.0, uniform=highest) == Retry(4.5, counts=False)
    assert decide(BUSY, POLICY, attempt=1, uniform=lowest) == Retry(1.5, counts=False)
    assert decide(IdempotencyInProgressError(), POLICY, attempt=1, uniform=lowest) == Retry(0.5, counts=False)


def test_waiting_ends() -> None:
    """It waits no longer than the same work may take."""
    assert decide(BUSY, POLICY, attempt=1, waited=60.0) is Reason.IN_PROGRESS
