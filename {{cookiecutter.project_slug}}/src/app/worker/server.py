"""Run the worker, or `beat`, in this process until a signal comes."""

import warnings
from pathlib import Path
from typing import Any

from celery import Celery, bootsteps
from celery.beat import EmbeddedService, Service
from celery.platforms import SecurityWarning  # type: ignore[attr-defined] # its types leave it out

from ..adapters.logging import configure_logging
from ..bootstrap import bootstrap
from ..core.broker_url import read_broker_url
from ..migrations import migrate_embedded
from .application import create_app
from .bootstrap import using_services
from .configuration import WorkerSettings
from .processes import running, shared_metrics
from .stopping import ServiceWorker, end_when_told


class Beat(bootsteps.StartStopStep):
    """What is sent by the schedule, in a thread of the worker: a process would outlive it, and send on."""

    # A process should not be forked while another thread does something.
    requires = ("celery.worker.components:Pool",)

    def create(self, w: Any) -> Any:
        """Return what the worker starts and stops."""
        return EmbeddedService(w.app, thread=True)


def run(settings: WorkerSettings) -> int:
    """Work until a signal comes, and return the process's exit code.

    Args:
        settings: How it is set up.

    """
    # Health is answered before the worker listens itself; and nothing else would end process 1 of a container.
    end_when_told()
    with shared_metrics(settings) as settings:
        services = bootstrap(settings)
        configure_logging(settings, on_event=services.metrics.log_record)
        # Messages are JSON: who can send one can start tasks, as ever, and nothing else.
        warnings.filterwarnings("ignore", category=SecurityWarning)
        migrate_embedded(settings)
        with using_services(services):
            app = _application(settings)
            with running(services, app, settings):
                return _work(app, settings)


def _work(app: Celery, settings: WorkerSettings) -> int:
    if sends_by_schedule(settings):
        app.steps["worker"].add(Beat)
    ServiceWorker.service_settings = settings
    # Workers need not know of each other: it takes a second at the start, and messages all the time.
    worker = ServiceWorker(app=app, hostname=None, quiet=True, without_mingle=True, without_gossip=True)
    worker.start()
    return int(worker.exitcode or 0)


def run_beat(settings: WorkerSettings) -> int:
    """Send what is due by the schedule until a signal comes, and return the process's exit code.

    Args:
        settings: How it is set up.

    """
    configure_logging(settings)
    # It keeps in its file what was sent when, and ends.
    end_when_told()
    try:
        Service(_application(settings)).start()
    except SystemExit:
        return 0
    return 0


def _application(settings: WorkerSettings) -> Celery:
    app = create_app(settings)
    app.set_default()
    Path(app.conf.beat_schedule_filename).parent.mkdir(parents=True, exist_ok=True)
    return app


def sends_by_schedule(settings: WorkerSettings) -> bool:
    """Return whether this worker also runs `beat`.

    Args:
        settings: What says so.

    """
    if settings.worker.beat is not None:
        return settings.worker.beat
    return read_broker_url(settings.broker_url).kind == "filesystem"
