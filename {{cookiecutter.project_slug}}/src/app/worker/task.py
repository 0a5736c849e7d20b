"""What every task is: something that is tried again when its error is temporary, and given up when it is not.

    @shared_task(name="invoices.send", max_attempts=10, backoff=5.0)
    def send_invoice(invoice_id: str) -> None: ...

What a task raises decides: an error whose `retryable` is true (`app.core.errors`), an outage of the database, of the
network or of another service, and the soft time limit are temporary. Everything else is permanent.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

from celery import Task
from celery.app.task import Context
from celery.exceptions import (
    MaxRetriesExceededError,
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    TaskPredicate,
    TimeLimitExceeded,
    WorkerLostError,
)
from kombu.exceptions import ContentDisallowed, DecodeError

from ..adapters.broker import accepted_delay
from ..adapters.failures import known_failure
from ..core.errors import AppError, InfrastructureError
from ..core.logging import get_logger
from ..core.retry import Reason, RetryPolicy, decide
from ..core.retry import Retry as Again
from .deliveries import WorkerDiedError, refuse_poison
from .policy import policy_of

log = get_logger(__name__)
# Since when, in seconds of the epoch, a task waits for the same one that runs elsewhere.
WAITING_SINCE = "x-waiting-since"
# What a broker says of one delivery, and not of the next message.
_OF_THE_DELIVERY = ("x-delivery-count", "x-acquired-count", "redelivered", WAITING_SINCE)
# A message that RabbitMQ held back comes with the time in front of the queue's name, one bit a part.
_DELAYED, _DELAY_PARTS = "celery_delayed", 28


class ServiceTask(Task):  # type: ignore[type-arg]
    """The base of all tasks.

    Attributes:
        max_attempts: How often it is tried, instead of WORKER__MAX_ATTEMPTS.
        backoff: Seconds before the second attempt at most, instead of WORKER__BACKOFF.
        backoff_max: The longest pause in seconds, instead of WORKER__BACKOFF_MAX.

    """

    max_attempts: int | None = None
    backoff: float | None = None
    backoff_max: float | None = None
    Request = "app.worker.request:ServiceRequest"
    # Celery's own count would not know what was no attempt.
    max_retries = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task: for a message under its policy, for any other caller as the function that it is."""
        request: Any = self.request_stack.top
        if request is None or request.called_directly or request._protected:  # noqa: SLF001 -- as Celery's own does
            return super().__call__(*args, **kwargs)
        # A call of this task within itself is a call.
        request._protected = 1  # noqa: SLF001 -- as above
        if (request.delivery_info or {}).get("redelivered"):
            refuse_poison(self.app, request)
        try:
            return self.run(*args, **kwargs)
        except TaskPredicate:
            # The task itself said what becomes of it.
            raise
        except Exception as error:
            self._try_again(request, error)
            raise

    def retry_policy(self) -> RetryPolicy:
        """Return how often this task is tried."""
        own = {name: getattr(self, name) for name in ("max_attempts", "backoff", "backoff_max")}
        return replace(policy_of(self.app).retry, **{name: value for name, value in own.items() if value is not None})

    def _try_again(self, request: Context, error: Exception) -> None:
        """Send the task once more, if that makes sense, and say so to Celery by raising."""
        since = float(request.get(WAITING_SINCE) or time.time())
        waited = time.time() - since
        decision = decide(temporary(error), self.retry_policy(), attempt=request.retries + 1, waited=waited)
        if isinstance(decision, Again):
            self._send_again(request, error, decision, None if decision.counts else since)

    def _send_again(self, request: Context, error: Exception, again: Again, since: float | None) -> NoReturn:
        headers = {name: value for name, value in (request.headers or {}).items() if name not in _OF_THE_DELIVERY}
        delay = accepted_delay(self.app.conf, again.delay)
        message = self.signature_from_request(
            request,
            queue=queue_of(request.delivery_info),
            countdown=delay,
            retries=request.retries + again.counts,
            headers=headers if since is None else {**headers, WAITING_SINCE: since},
        )
        when: Any = delay
        retry = Retry(exc=error, when=when, is_eager=request.is_eager, sig=message)
        if not request.is_eager:
            try:
                message.apply_async()
            except Exception as failure:
                log.warning("task.retry_not_sent", task_id=request.id, task_name=self.name, exc_info=failure)
                # Neither lost nor done: the broker still has it.
                raise Reject(failure, requeue=True) from error
        raise retry from error


def queue_of(delivery_info: Mapping[str, Any] | None) -> str | None:
    """Return the queue that a message came from, as far as it says so.

    Args:
        delivery_info: What Celery knows of its delivery.

    """
    info = delivery_info or {}
    key: str = info.get("routing_key") or ""
    if str(info.get("exchange") or "").startswith(_DELAYED):
        key = key.split(".", _DELAY_PARTS)[-1]
    return key or None


def temporary(error: BaseException) -> AppError | None:
    """Return an error as one of the service, or None when it is none that is known.

    Args:
        error: What a task raised.

    """
    if isinstance(error, SoftTimeLimitExceeded):
        return InfrastructureError("The task took longer than WORKER__SOFT_TIME_LIMIT allows.")
    return known_failure(error)


def reason_of(error: BaseException) -> Reason:
    """Return why a task was given up that was not tried again.

    Args:
        error: What it failed with.

    """
    if isinstance(error, TimeLimitExceeded):
        return Reason.TIME_LIMIT
    if isinstance(error, WorkerDiedError | WorkerLostError | SystemExit):
        return Reason.WORKER_LOST
    if isinstance(error, DecodeError | ContentDisallowed):
        return Reason.UNREADABLE
    if isinstance(error, MaxRetriesExceededError):
        return Reason.EXHAUSTED
    # What is temporary would have been tried again.
    found = decide(temporary(error), RetryPolicy(max_attempts=1, max_wait=0.0), attempt=1)
    return found if isinstance(found, Reason) else Reason.EXHAUSTED
