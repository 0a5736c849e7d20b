"""What observes the tasks of this process."""

from typing import Any

from celery import Task

from .bootstrap import current_services
from .observability import Observer


class _Observing:
    """What observes with the process's parts, which are built after it was spawned."""

    observer: Observer | None = None


def observer() -> Observer:
    """Return what observes the tasks of this process."""
    services, known = current_services(), _Observing.observer
    if known is None or known.services is not services:
        known = _Observing.observer = Observer(services)
    return known


def tell(task: "Task[Any, Any]", request: Any, outcome: str, error: BaseException | None, **fields: Any) -> None:
    """Report on a task whose end this process knows of, though it did not work on it.

    Args:
        task: The task.
        request: The attempt.
        outcome: What became of it: `revoked`, `lost` or `failure`.
        error: What ended it, if anything was raised.
        fields: What else is known.

    """
    observer().ended_outside(task, request, outcome, error, **fields)
