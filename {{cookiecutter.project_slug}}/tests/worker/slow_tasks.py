"""Tasks that take as long as a test needs them to."""

import os
import time
from pathlib import Path

from celery import shared_task

from app.adapters.idempotent import idempotent
from app.adapters.unit_of_work import SyncUnitOfWork
from app.orders.fulfilment import fulfil

LEASE_SECONDS = 4.0


@shared_task(name="tests.fulfil_slowly")
@idempotent(key="order_id", name="tests.fulfil_slowly", lease=LEASE_SECONDS)
def fulfil_slowly(work: SyncUnitOfWork, order_id: str, seconds: float) -> str:
    """Fulfil an order, and take a while over it.

    Args:
        work: The transaction of the effect and of the record that it happened.
        order_id: Which order.
        seconds: How long it takes.

    """
    fulfil(work.session, order_id)
    _note(f"began-{order_id}")
    time.sleep(seconds)
    return order_id


@shared_task(name="tests.note")
def note(name: str, seconds: float = 0.0) -> None:
    """Leave a file with the process's number, and take a while over it: an effect that is not idempotent.

    Args:
        name: The file's.
        seconds: How long it takes.

    """
    _note(name)
    time.sleep(seconds)


def _note(name: str) -> None:
    with Path(name).open("a") as file:
        file.write(f"{os.getpid()}\n")
