"""How often tasks are tried, as the settings say; Celery's configuration carries it into every process of a pool."""

from dataclasses import dataclass
from typing import Any, cast

from celery import Celery

from ..core.retry import RetryPolicy
from .configuration import WorkerSettings

_KEY = "app_task_policy"
# How often the lease of a process that died must be over before its task is given up.
_LEASES = 3


@dataclass(frozen=True, slots=True)
class TaskPolicy:
    """What becomes of tasks that fail.

    Attributes:
        retry: How often they are tried.
        max_deliveries: How often one whose process dies is delivered.

    """

    retry: RetryPolicy
    max_deliveries: int


def policy_configuration(settings: WorkerSettings) -> dict[str, Any]:
    """Return the policy as a setting of Celery's, and what buries messages that are no task.

    Args:
        settings: What says it.

    """
    worker = settings.worker
    # The longest that the same task may rightly be in progress elsewhere, and what its process needs to be found dead.
    max_wait = worker.time_limit + _LEASES * settings.idempotency.lease
    retry = RetryPolicy(worker.max_attempts, worker.backoff, worker.backoff_max, max_wait)
    return {_KEY: TaskPolicy(retry, worker.max_deliveries), "worker_consumer": "app.worker.consumer:ServiceConsumer"}


def policy_of(app: Celery) -> TaskPolicy:
    """Return the policy of an application.

    Args:
        app: One that `create_app` made.

    """
    return cast("TaskPolicy", app.conf[_KEY])
