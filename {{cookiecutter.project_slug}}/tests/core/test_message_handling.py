"""Whether a message is handled at all, and whether one that failed is tried again."""

import pytest

from app.core.errors import InfrastructureError, NotFoundError
from app.core.idempotency_errors import IdempotencyInProgressError
from app.core.message_handling import Refusal, next_step, refusal
from app.core.messages import Message, MessageUnreadableError, new_message
from app.core.retry import Reason, Retry, RetryPolicy

NOW = 1000.0
POLICY = RetryPolicy(max_attempts=3, backoff=1.0, backoff_max=10.0, max_wait=60.0)


def refused(message: Message | ValueError, *, deliveries: int = 1) -> Refusal | None:
    """Return why a message is not handled."""
    return refusal(message, deliveries=deliveries, max_deliveries=2, known=("a",), now=NOW)


@pytest.mark.parametrize(
    ("message", "deliveries", "reason", "words"),
    [
        (MessageUnreadableError("received x"), 9, Reason.UNREADABLE, "received x"),
        (new_message("b", {}, deadline=1), 9, Reason.UNKNOWN, "received the type b; handled: a"),
        (new_message("a", {}, deadline=1), 3, Reason.WORKER_LOST, "delivered 3 times (DAEMON__MAX_DELIVERIES is 2)"),
        (new_message("a", {}, deadline=NOW), 1, Reason.EXPIRED, "its deadline passed 0.000 s ago"),
    ],
)
def test_refused(message: Message | ValueError, deliveries: int, reason: Reason, words: str) -> None:
    """What cannot be handled, has killed too often, or is too late is refused, for the first of these reasons."""
    found = refused(message, deliveries=deliveries)
    assert found is not None
    assert found.reason is reason
    assert words in str(found.error)
    assert not found.error.retryable


@pytest.mark.parametrize("deadline", [None, NOW + 0.001])
def test_handled(deadline: float | None) -> None:
    """Any other message is handled, also when it was delivered as often as it may be."""
    assert refused(new_message("a", {}, deadline=deadline), deliveries=2) is None


def test_many_types() -> None:
    """Of many types that are handled some are named."""
    found = refusal(
        new_message("x", {}), deliveries=1, max_deliveries=1, known=[f"t{number:02}" for number in range(50)], now=NOW
    )
    assert found is not None
    assert str(found.error).endswith("t08, t09, …")


@pytest.mark.parametrize(
    ("error", "attempt", "left", "expected"),
    [
        (InfrastructureError(), 1, None, Retry(1.0)),
        (InfrastructureError(), 1, 1.5, Retry(1.0)),
        (InfrastructureError(), 1, 1.0, Reason.EXPIRED),
        (InfrastructureError(), 3, 0.0, Reason.EXHAUSTED),
        (NotFoundError(), 1, 0.0, Reason.PERMANENT),
        (None, 1, None, Reason.PERMANENT),
        (IdempotencyInProgressError(retry_after=2), 9, None, Retry(3.0, counts=False)),
        (IdempotencyInProgressError(retry_after=2), 9, 1.0, Reason.EXPIRED),
    ],
)
def test_next_step(
    error: InfrastructureError | None, attempt: int, left: float | None, expected: Retry | Reason
) -> None:
    """What would come back after its deadline is given up as expired; else the policy decides."""
    found = next_step(error, POLICY, attempt=attempt, waited=0.0, left=left, uniform=lambda _low, high: high)
    assert found == expected
