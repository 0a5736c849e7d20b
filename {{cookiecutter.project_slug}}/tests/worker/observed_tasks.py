"""Tasks that end in every way there is, for what is said of them."""

import os
import time
from typing import Any

from celery import shared_task
from sqlalchemy import text

from app.core.logging import get_logger
from app.worker.bootstrap import current_services

log = get_logger(__name__)


@shared_task(name="tests.look")
def look(seconds: float = 0.0) -> int:
    """Log, ask the database, and take a while.

    Args:
        seconds: How long it takes.

    """
    with current_services().database.sync_engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    log.info("tests.looked", pid=os.getpid())
    time.sleep(seconds)
    return os.getpid()


@shared_task(name="tests.fail")
def fail(*args: Any, **kwargs: Any) -> None:
    """Fail, and say with what."""
    msg = f"refused {args} {kwargs}"
    raise LookupError(msg)


@shared_task(name="tests.retry", bind=True, max_retries=1)
def retry(self: Any, *args: Any, **kwargs: Any) -> str:
    """Fail once, and say with what; then succeed, and return it."""
    if not self.request.retries:
        msg = f"not yet {args} {kwargs}"
        raise self.retry(exc=LookupError(msg), countdown=0)
    return f"{args} {kwargs}"


@shared_task(name="tests.hang", time_limit=1, soft_time_limit=60)
def hang(seconds: float) -> None:
    """Take longer than it may.

    Args:
        seconds: How long it takes.

    """
    time.sleep(seconds)
