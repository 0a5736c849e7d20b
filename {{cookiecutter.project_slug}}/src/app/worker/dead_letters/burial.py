"""Send what was given up to the dead letters: first there, for certain, and only then is it no longer in its queue."""

from typing import Any

from celery import Celery
from kombu.message import Message

from ...core.broker_url import read_broker_url
from ...core.context import request_context
from ...core.logging import get_logger
from ...core.retry import Reason
from ...core.task_headers import read_task_headers
from ..bootstrap import current_services
from ..deliveries import forget_deliveries
from ..task import queue_of
from .letter import Letter, dead_queue, explanation, letter_of

log = get_logger("app.tasks")
# A broker that is away for longer gives the task back by itself.
PATIENCE = {"max_retries": 2, "interval_start": 0.0, "interval_step": 0.2, "interval_max": 0.5}


def bury(app: Celery, message: Message, reason: Reason, error: BaseException) -> None:
    """Put a copy of a message to the dead letters; the caller acknowledges the message when this has returned.

    Args:
        app: Whose it is.
        message: As it was delivered.
        reason: Why it is given up.
        error: What it failed with.

    Raises:
        Exception: The broker did not take it; the message must be given back.

    """
    queue = queue_of(message.delivery_info) or app.conf.task_default_queue
    why = explanation(reason, error, queue=queue, attempts=attempts_of(message))
    letter = letter_of(message, why)
    send(app, letter, dead_queue(queue, kind_of(app)))
    current_services().metrics.task_given_up(reason.value)
    _tell(letter, why)
    forget_deliveries(app, letter.id)


def send(app: Celery, letter: Letter, queue: Any) -> None:
    """Send a message, and return when the broker has it.

    Args:
        app: Whose it is.
        letter: The message.
        queue: A `kombu.Queue`, or the name of one that is there.

    """
    declare = [] if isinstance(queue, str) else [queue]
    with app.producer_pool.acquire(block=True) as producer:
        producer.publish(
            letter.body,
            exchange="",
            routing_key=queue if isinstance(queue, str) else queue.name,
            declare=declare,
            content_type=letter.content_type,
            content_encoding=letter.content_encoding,
            headers=dict(letter.headers),
            delivery_mode=2,
            retry=True,
            retry_policy=dict(PATIENCE),
            **letter.properties,
        )


def kind_of(app: Celery) -> str:
    """Return which broker an application speaks to.

    Args:
        app: The application.

    """
    url = str(app.conf.broker_url)
    return "filesystem" if url.startswith(("filesystem:", "memory:")) else read_broker_url(url).kind


def attempts_of(message: Message) -> int:
    """Return how often a task was tried.

    Args:
        message: Of its last attempt.

    """
    retries = message.headers.get("retries")
    return retries + 1 if isinstance(retries, int) else 1


def _tell(letter: Letter, why: dict[str, Any]) -> None:
    sender = read_task_headers(letter.headers, letter.id)
    ids = {"request_id": sender.request_id, "trace_id": sender.trace.trace_id}
    fields = {name: why[name] for name in ("queue", "reason", "code")}
    with request_context(**ids, task_id=letter.id, task_name=letter.task):
        log.warning("task.given_up", attempt=why["attempts"], **fields)
