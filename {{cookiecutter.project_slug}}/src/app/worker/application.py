"""The Celery application, put together."""

from typing import Any

from celery import Celery

from .bootstrap import load_worker_settings
from .configuration import WorkerSettings
from .delivery import delivery_configuration
from .policy import policy_configuration
from .schedule import schedule
from .signals import connect

# Where tasks are; one of your own joins them here.
TASKS: tuple[str, ...] = ("app.worker.orders", "app.worker.maintenance")


class WorkerCelery(Celery):
    """Celery, whose application is put together anew in a process that was spawned: it would lose its signals."""

    amqp_cls = "app.worker.connection:PatientAMQP"

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross the border of a process."""
        return restored_app, ()


def create_app(settings: WorkerSettings) -> Celery:
    """Return the application; it connects to nothing before it is used.

    Args:
        settings: How it is set up.

    """
    # Without what Celery does for a Django project that the environment may name: it would set up logging anew.
    app = WorkerCelery("app", include=list(TASKS), task_cls="app.worker.task:ServiceTask", fixups=[])
    app.conf.update(delivery_configuration(settings))
    app.conf.update(policy_configuration(settings))
    app.conf.beat_schedule = schedule(settings)
    connect(settings.broker_url)
    return app


def restored_app() -> Celery:
    """Return the application of a process that was spawned: put together there as in its parent."""
    return create_app(load_worker_settings())
