"""What Celery is told so that no task is lost; `docs/guide/celery.md` of the template says why each."""

from typing import Any

from ..adapters.broker import broker_configuration
from ..core.broker_url import read_broker_url
from .configuration import WorkerSettings

PROCESSES = {"fork": "prefork", "spawn": "prefork"}
# Where `beat` keeps what was sent when.
SCHEDULE = "var/beat"
# How many times within the visibility timeout a worker looks for what others left behind.
SCANS = 5


def delivery_configuration(settings: WorkerSettings) -> dict[str, Any]:
    """Return Celery's settings for whoever works on tasks.

    Args:
        settings: The worker's.

    """
    worker = settings.worker
    broker = broker_configuration(settings.broker_url, worker.queue)
    return {
        **broker,
        # A task is over when it is done, not when it begins; one whose process died is given back.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_acks_on_failure": True,
        "task_acks_on_timeout": True,
        "worker_prefetch_multiplier": 1,
        # A broker that is not there is waited for, however long; Celery would end after a hundred tries.
        "broker_connection_max_retries": None,
        "task_time_limit": worker.time_limit,
        "task_soft_time_limit": worker.soft_time_limit,
        "beat_schedule_filename": SCHEDULE,
        "task_ignore_result": worker.result_backend is None,
        "result_backend": worker.result_backend,
        "worker_pool": PROCESSES.get(worker.pool, worker.pool),
        "worker_pool_start_method": worker.pool if worker.pool in PROCESSES else "fork",
        "worker_concurrency": worker.concurrency,
        "worker_max_tasks_per_child": worker.max_tasks_per_child,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "timezone": "UTC",
        "enable_utc": True,
        **_of_redis(settings, broker["broker_transport_options"]),
    }


def _of_redis(settings: WorkerSettings, options: dict[str, Any]) -> dict[str, Any]:
    """Return what only Redis needs: it does not know by itself that a worker is gone."""
    if read_broker_url(settings.broker_url).kind != "redis":
        return {}
    queue, timeout = settings.worker.queue, settings.worker.visibility_timeout
    return {
        "broker_transport": "app.worker.redis_broker:Transport",
        "broker_transport_options": {
            **options,
            "visibility_timeout": timeout,
            "unacked_restore_interval": timeout / SCANS,
            "unacked_restore_throttle": 1,
            # With several the next message costs two steps, and nothing here has a priority.
            "priority_steps": [0],
            # Each queue has its own: otherwise another service on this server would give back what runs here.
            "unacked_key": f"{queue}.unacked",
            "unacked_index_key": f"{queue}.unacked_index",
        },
    }
