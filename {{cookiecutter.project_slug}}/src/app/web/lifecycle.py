"""What happens in each process that serves, before its first request and after its last."""

import os
import threading
from asyncio import AbstractEventLoop
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management import call_command
from django.db import connections

from ..adapters.idempotency_purge import purge_regularly_sync
from ..core.database_url import read_database_url
from ..core.logging import get_logger
from ..core.reporting import ErrorContext
from ..settings_groups import STEP_SECONDS
from .bootstrap import Services, current_services
from .configuration import DjangoSettings

log = get_logger(__name__)


@contextmanager
def running(services: Services) -> Iterator[None]:
    """Let the service run in this process inside the block.

    Args:
        services: Its parts; closed in the end.

    """
    try:
        services.metrics.start()
        services.tracing.install()
        services.reporting.watch_process()
        migrate_embedded(services.settings)
        log.info("service.started")
        with _purging(services):
            yield
    except Exception as error:
        log.exception("service.failed")
        services.reporting.report(error, ErrorContext(operation="service"), in_log=True)
        raise
    finally:
        services.close()
        log.info("service.stopped")


@contextmanager
def living(loop: AbstractEventLoop) -> Iterator[None]:
    """Let the service run in this process inside the block, on an event loop.

    Args:
        loop: It; what goes wrong on it and nobody waits for is reported.

    """
    services = current_services()
    with services.reporting.watching(loop), running(services):
        yield


@contextmanager
def _purging(services: Services) -> Iterator[None]:
    """Delete idempotency records that are over while the service runs."""
    interval = services.settings.idempotency.purge_interval
    if not (interval and services.idempotency_store.transactional):
        yield
        return
    stopped = threading.Event()
    options = {"interval": interval, "on_purged": services.metrics.idempotency_purged, "stopped": stopped}
    store = services.idempotency_store
    thread = threading.Thread(target=purge_regularly_sync, args=(store,), kwargs=options, name="purge", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(STEP_SECONDS)


def migrate_embedded(settings: DjangoSettings) -> None:
    """Bring the embedded database to the current schema; for a server's that is a step of the deployment.

    Args:
        settings: Which database.

    """
    url = read_database_url(settings.database_url)
    if url.backend != "sqlite":
        return
    folder = Path(url.name).resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _alone_in(folder):
            call_command("migrate", interactive=False, verbosity=0)
    finally:
        # Whoever serves has a thread of its own, and with it a connection.
        connections.close_all()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let one of several workers after the other pass."""
    try:
        import fcntl
    except ImportError:  # Windows, where there is one process.
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
