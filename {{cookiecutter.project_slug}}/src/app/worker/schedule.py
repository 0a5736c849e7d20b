"""What is sent now and then, by `beat`.

Two beats at once send each entry twice. That does no harm as long as a job may run twice, as those here may: purging
shares the work, and counting only looks. A job that may not is `@idempotent`, with its period as the key.
"""

from typing import Any

from .configuration import WorkerSettings

COUNT_SECONDS = 60.0


def schedule(settings: WorkerSettings) -> dict[str, dict[str, Any]]:
    """Return Celery's schedule.

    Args:
        settings: How often records that are over are deleted.

    """
    entries = {
        # An example: replace it by a job of your own.
        "orders.count": _every(COUNT_SECONDS, "orders.count"),
    }
    if settings.idempotency.purge_interval:
        entries["purge_idempotency"] = _every(settings.idempotency.purge_interval, "maintenance.purge_idempotency")
    return entries


def _every(seconds: float, task: str) -> dict[str, Any]:
    """Return an entry, which is over when the next one comes: while no worker is there they do not pile up."""
    return {"task": task, "schedule": seconds, "options": {"expires": seconds}}
