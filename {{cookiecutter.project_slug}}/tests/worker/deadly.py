"""`python -m tests.worker.deadly`: a worker with tasks that end the process that works on them."""

import os
import signal
import sys
import time
from typing import Any

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded

from app.adapters.idempotent import idempotent
from app.adapters.unit_of_work import SyncUnitOfWork
from app.orders.fulfilment import fulfil
from app.worker import __main__ as entry
from app.worker import application

TASKS = ("tests.worker.deadly",)


@shared_task(name="tests.die")
def die(*, everybody: bool = False) -> None:
    """Kill this process, or the whole worker with it, as memory that runs out does.

    Args:
        everybody: Whether the worker dies too.

    """
    if everybody:
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(name="tests.hang", time_limit=2, soft_time_limit=1)
def hang() -> None:
    """Take longer than allowed, whatever anybody says."""
    while True:
        try:
            time.sleep(60)
        except SoftTimeLimitExceeded:
            continue


@shared_task(name="tests.take_long")
@idempotent(key="order_id", name="tests.take_long", lease=1.0)
def take_long(work: SyncUnitOfWork, order_id: str, seconds: float) -> str:
    """Fulfil an order, and take several times the lease.

    Args:
        work: The transaction of the effect and of the record that it happened.
        order_id: Which order.
        seconds: How long.

    """
    time.sleep(seconds)
    return str(fulfil(work.session, order_id).id)


if __name__ == "__main__":
    known: Any = application
    known.TASKS = (*application.TASKS, *TASKS)
    sys.exit(entry.main())
