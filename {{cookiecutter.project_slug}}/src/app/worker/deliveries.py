"""How often a task was delivered in vain: one whose process dies each time must not be delivered for ever.

It is counted where that costs nothing on the usual way: only a message that the broker says it delivers again is looked
at. RabbitMQ counts by itself, for Redis the count is kept beside the queue, for files beside the folder.
"""

import hashlib
from pathlib import Path
from typing import Any

from celery import Celery
from celery.app.task import Context
from kombu import Connection

from ..core.errors import AppError
from ..core.logging import get_logger
from .policy import policy_of

log = get_logger(__name__)
# Seconds after which a count is forgotten: longer than a task waits for a worker that comes back.
EXPIRY = 24 * 3600


class WorkerDiedError(AppError):
    """The task was delivered again and again, and no process that worked on it came back."""

    code = "WORKER_LOST"
    default_message = "Every process that worked on the task died."


def refuse_poison(app: Celery, request: Context) -> None:
    """Count the delivery of a task that was delivered before.

    Args:
        app: Whose task it is.
        request: The delivery.

    Raises:
        WorkerDiedError: It was delivered too often.

    """
    limit = policy_of(app).max_deliveries
    try:
        again = _count(app, request)
    except Exception as error:
        log.warning("task.deliveries_not_counted", task_id=request.id, exc_info=error)
        return
    if again >= limit:
        msg = f"delivered {again} times (WORKER__MAX_DELIVERIES is {limit}), and no process that worked on it came back"
        raise WorkerDiedError(msg, details={"deliveries": again})


def forget_deliveries(app: Celery, task_id: str) -> None:
    """Forget the count of a task that was given up, for it may be replayed.

    Args:
        app: Whose task it is.
        task_id: Its id.

    """
    pool: Any = app.pool
    try:
        with pool.acquire(block=True) as connection:
            _forget_beside(connection, task_id)
    except Exception as error:
        log.warning("task.deliveries_not_forgotten", task_id=task_id, exc_info=error)


def _count(app: Celery, request: Context) -> int:
    """Return how often the task was delivered before."""
    known = request.get("x-delivery-count")
    if known is not None:
        return int(known)
    pool: Any = app.pool
    with pool.acquire(block=True) as connection:
        return _count_beside(connection, str(request.id))


def _count_beside(connection: Connection, task_id: str) -> int:
    if connection.transport.driver_type == "redis":
        key = _key(task_id)
        with _client_of(connection) as client:
            count, _ = client.pipeline().incr(key).expire(key, EXPIRY).execute()
        return int(count)
    path = _file_of(connection, task_id)
    return _count_in(path) if path is not None else 0


def _forget_beside(connection: Connection, task_id: str) -> None:
    if connection.transport.driver_type == "redis":
        with _client_of(connection) as client:
            client.delete(_key(task_id))
    path = _file_of(connection, task_id)
    if path is not None:
        path.unlink(missing_ok=True)


def _client_of(connection: Connection) -> Any:
    channel: Any = connection.default_channel
    return channel.conn_or_acquire()


def _key(task_id: str) -> str:
    return f"deliveries.{task_id}"


def _file_of(connection: Connection, task_id: str) -> Path | None:
    folder = (connection.transport_options or {}).get("control_folder")
    # Hashed, for a sender may have chosen it.
    return Path(folder) / "deliveries" / hashlib.sha256(task_id.encode()).hexdigest() if folder else None


def _count_in(path: Path) -> int:
    path.parent.mkdir(exist_ok=True)
    # One byte each: appending is atomic, and the length is the count.
    with path.open("ab") as file:
        file.write(b".")
    return path.stat().st_size
