"""What happens in each of a worker's processes before its first task and after its last.

The parent starts what reports on the service, serves health and metrics, and closes everything at the end. A process of
its pool, forked or spawned, has connections and queues of its own, and brings what it still has to say to its
destination before it ends: billiard leaves it without running what `atexit` knows.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from billiard.process import current_process
from celery import Celery

from ..adapters.health_sync import SyncHealth
from ..adapters.logging import close_logging, configure_logging
from ..bootstrap import Services
from ..core.logging import get_logger
from ..core.reporting import ErrorContext, install, installed
from ..serving.admin_server import AdminServer
from ..serving.supervisor import metrics_folder
from ..settings import ConfigurationError
from .bootstrap import current_services, has_services
from .configuration import WorkerSettings
from .health import Consuming, worker_health

log = get_logger("app.worker")
POOLS_OF_PROCESSES = ("fork", "spawn")


class _Parent:
    """What only the process has that was started first; a spawned one has none of it, a forked one leaves it alone."""

    pid: int | None = None
    health: SyncHealth | None = None
    consuming = Consuming()
    pool = ""
    # By which signal it was told to stop.
    signal: str | None = None


@contextmanager
def shared_metrics(settings: WorkerSettings) -> Iterator[WorkerSettings]:
    """Lend the folder where the pool's processes count together, in settings that name it.

    Args:
        settings: The worker's.

    Raises:
        ConfigurationError: There is no place for it.

    """
    if settings.worker.pool not in POOLS_OF_PROCESSES:
        yield settings
        return
    with metrics_folder(settings) as folder:
        # Where a spawned process reads its settings from.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # noqa: TID251 -- set, not read
        yield settings.model_copy(update={"prometheus_multiproc_dir": folder})


@contextmanager
def running(services: Services, app: Celery, settings: WorkerSettings) -> Iterator[None]:
    """Let the worker run inside the block, with health and metrics on `ADMIN_PORT`.

    Args:
        services: Its parts; closed in the end.
        app: Its Celery application.
        settings: The worker's.

    Raises:
        ConfigurationError: The port is taken.

    """
    _Parent.pid, _Parent.pool, _Parent.signal = os.getpid(), settings.worker.pool, None
    _Parent.consuming = Consuming()
    health = _Parent.health = worker_health(services, app, _Parent.consuming)
    try:
        shown = services.metrics if settings.metrics.enabled else None
        server = AdminServer(settings.host, settings.admin_port, ready=health.report, metrics=shown)
        services.metrics.start()
        services.tracing.install()
        services.reporting.watch_process()
        with installed(services.reporting), server.serving():
            yield
    except ConfigurationError:
        raise
    except Exception as error:
        log.exception("worker.failed")
        services.reporting.report(error, ErrorContext(operation="worker"), in_log=True)
        raise
    finally:
        shut_down()


def ready(sender: Any, **_signal: Any) -> None:
    """Take note that the worker takes tasks from now on.

    Args:
        sender: Celery's consumer.
        _signal: What else Celery tells.

    """
    _Parent.consuming.consumer = sender
    concurrency = getattr(getattr(sender, "controller", None), "concurrency", None)
    queues = sorted(sender.app.amqp.queues.consume_from)
    log.info("worker.ready", pool=_Parent.pool, concurrency=concurrency, queues=queues)


def shutting_down(sig: str = "", how: str = "", **_signal: Any) -> None:
    """Take note that the worker was told to stop: readiness turns 503 before its tasks have ended.

    Args:
        sig: By which signal.
        how: As Celery calls it.
        _signal: What else Celery tells.

    """
    _Parent.signal = sig or None
    if _Parent.health is not None:
        _Parent.health.shutting_down = True
    log.info("worker.stopping", signal=sig, how=how.lower())


def shut_down(**_signal: Any) -> None:
    """Close everything that this process works with, once: the worker has stopped."""
    if _Parent.pid != os.getpid():
        return
    _Parent.pid = None
    if _Parent.health is not None:
        _Parent.health.shutting_down = True
    try:
        asyncio.run(current_services().aclose())
    finally:
        log.info("worker.shutdown", signal=_Parent.signal)


def _is_in_pool() -> bool:
    """Return whether this is a process of the pool: Celery tells of one that begins where there is none, too."""
    name: str = current_process().name
    return name != "MainProcess"


def begin_child(**_signal: Any) -> None:
    """Give a process of the pool what it cannot share with its parent."""
    if not _is_in_pool():
        return
    if hasattr(os, "setpgid"):
        # A signal to all of the worker's processes is for the worker alone, which lets their tasks end.
        os.setpgid(0, 0)
    was_spawned = not has_services()
    services = current_services()
    if was_spawned:
        configure_logging(services.settings, on_event=services.metrics.log_record)
        services.metrics.start()
        services.tracing.install()
        services.reporting.watch_process()
        install(services.reporting)
    else:
        services.database.start_anew()
    log.debug("worker.process_started")


def end_child(**_signal: Any) -> None:
    """Bring what a process of the pool still has to say to its destination."""
    if not _is_in_pool() or not has_services():
        return
    try:
        asyncio.run(current_services().aclose())
        log.debug("worker.process_stopped")
    finally:
        close_logging()
