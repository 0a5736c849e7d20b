"""What Celery's signals are connected to: all of them, once, here."""

from collections.abc import Callable, Mapping
from typing import Any

from celery import Task, signals

from ..adapters.task_sender import connect_publishing
from ..core.logging import get_logger
from . import processes
from .quiet import keep_quiet
from .telling import observer, tell

log = get_logger("app.worker")


def connect(broker_url: str) -> None:
    """Connect everything; connecting twice changes nothing.

    Args:
        broker_url: Where tasks come from, and are sent to.

    """
    connect_publishing(broker_url)
    keep_quiet()
    receivers: tuple[tuple[Any, Callable[..., None]], ...] = (
        (signals.setup_logging, _keep_logging),
        (signals.task_prerun, _begin),
        (signals.task_postrun, _end),
        (signals.task_revoked, _revoked),
        (signals.task_unknown, _unknown),
        (signals.task_rejected, _rejected),
        (signals.task_internal_error, _internal_error),
        (signals.worker_ready, processes.ready),
        (signals.worker_shutting_down, processes.shutting_down),
        (signals.worker_shutdown, processes.shut_down),
        (signals.worker_process_init, processes.begin_child),
        (signals.worker_process_shutdown, processes.end_child),
    )
    for signal, receiver in receivers:
        signal.connect(receiver, weak=False, dispatch_uid=f"app.{signal.name}")


def _keep_logging(**_signal: Any) -> None:
    """Be there: Celery leaves logging alone when somebody listens."""


def _begin(task: "Task[Any, Any]", **_signal: Any) -> None:
    observer().begin(task, task.request_stack.top)


def _end(task: "Task[Any, Any]", state: str | None = None, retval: object = None, **_signal: Any) -> None:
    observer().end(task, task.request_stack.top, state, retval)


def _revoked(
    sender: "Task[Any, Any]", request: Any, terminated: bool, signum: Any, expired: bool, **_signal: Any
) -> None:
    fields: dict[str, Any] = {"terminated": bool(terminated), "expired": bool(expired)}
    if signum is not None:
        fields["signal"] = str(signum)
    tell(sender, request, "revoked", None, **fields)


def _unknown(message: Any, exc: BaseException, name: object, **_signal: Any) -> None:
    observer().refused("task.unknown", str(name), _headers_of(message), exc)


def _rejected(message: Any, exc: BaseException | None = None, **_signal: Any) -> None:
    headers = _headers_of(message)
    observer().refused("task.unreadable", str(headers.get("task", "")), headers, exc)


def _headers_of(message: Any) -> Mapping[str, Any]:
    headers = getattr(message, "headers", None)
    return headers if isinstance(headers, Mapping) else {}


def _internal_error(sender: "Task[Any, Any]", task_id: str, exception: BaseException, **_signal: Any) -> None:
    log.critical("task.internal_error", task_id=task_id, task_name=sender.name, exc_info=exception)
