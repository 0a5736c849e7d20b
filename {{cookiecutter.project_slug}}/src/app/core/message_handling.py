"""What becomes of a message: whether it is handled at all, and whether one that failed is tried again."""

import random
from collections.abc import Callable, Collection
from typing import NamedTuple

from .errors import AppError, Severity
from .messages import Message
from .retry import Reason, Retry, RetryPolicy, decide

_SHOWN = 10


class MessageRefusedError(AppError):
    """A message cannot be handled, whatever is tried."""

    code = "MESSAGE_REFUSED"
    status = 422
    severity = Severity.MEDIUM
    default_message = "The message cannot be handled."


class UnreadableMessageError(MessageRefusedError):
    """What was sent is no message."""

    code = "MESSAGE_UNREADABLE"


class UnknownMessageError(MessageRefusedError):
    """Nobody here handles messages of this type."""

    code = "MESSAGE_UNKNOWN"


class MessageExpiredError(MessageRefusedError):
    """Nobody needs the message any more."""

    code = "MESSAGE_EXPIRED"
    severity = Severity.LOW


class MessageLostError(AppError):
    """The message was delivered again and again, and nobody who worked on it came back."""

    code = "WORKER_LOST"
    default_message = "Every process that worked on the message died."


class Refusal(NamedTuple):
    """A message is given up before it is begun.

    Attributes:
        reason: Why, in one word.
        error: Why, in one sentence.

    """

    reason: Reason
    error: AppError


def refusal(
    message: Message | ValueError, *, deliveries: int, max_deliveries: int, known: Collection[str], now: float
) -> Refusal | None:
    """Return why a message is not handled, or None when it is.

    Args:
        message: The message, or why what was sent is none.
        deliveries: How often it was handed out in this attempt, this time included.
        max_deliveries: How often it may be.
        known: The types that somebody handles.
        now: The time, in seconds since 1970.

    """
    if isinstance(message, ValueError):
        return Refusal(Reason.UNREADABLE, UnreadableMessageError(str(message)))
    if message.type not in known:
        types = sorted(known)
        shown = ", ".join(types[:_SHOWN]) + (", …" if len(types) > _SHOWN else "")
        msg = f"received the type {message.type}; handled: {shown or 'none'}"
        return Refusal(Reason.UNKNOWN, UnknownMessageError(msg))
    if deliveries > max_deliveries:
        msg = f"delivered {deliveries} times (DAEMON__MAX_DELIVERIES is {max_deliveries}), and never done"
        return Refusal(Reason.WORKER_LOST, MessageLostError(msg, details={"deliveries": deliveries}))
    if message.deadline is not None and message.deadline <= now:
        msg = f"its deadline passed {now - message.deadline:.3f} s ago"
        return Refusal(Reason.EXPIRED, MessageExpiredError(msg))
    return None


def next_step(
    error: AppError | None,
    policy: RetryPolicy,
    *,
    attempt: int,
    waited: float,
    left: float | None,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Retry | Reason:
    """Return when a message that failed is tried again, or why it is not.

    Args:
        error: What it failed with; None for an error that nobody expected.
        policy: How often it is tried.
        attempt: Which attempt failed; the first is 1.
        waited: For how many seconds it has waited for the same message to be handled elsewhere.
        left: Seconds until its deadline; None when it has none.
        uniform: Returns a random number between two.

    """
    decision = decide(error, policy, attempt=attempt, waited=waited, uniform=uniform)
    if isinstance(decision, Retry) and left is not None and decision.delay >= left:
        # It would come back only to be thrown away.
        return Reason.EXPIRED
    return decision
