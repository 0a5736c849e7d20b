"""Gunicorn, stopped as `serving/stopping.py` says, and with every line in the service's own shape.

Its master closes its own listener at the first signal; the workers go on accepting on theirs until they are drained.
"""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.module_loading import import_string
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.glogging import Logger

from ..adapters.logging import close_logging, configure_logging
from ..core.logging import get_logger
from ..serving.stopping import Stop
from ..serving.supervisor import GRACE_SECONDS, NOT_STARTED, listening, pause_after
from .configuration import DjangoSettings
from .gunicorn_requests import before_request
from .gunicorn_workers import STOP_SIGNALS, AsgiWorker, ServiceWorker, ThreadWorker

log = get_logger(__name__)
# As uvicorn does.
KEEP_ALIVE_SECONDS = 5
# The longest request line that gunicorn reads, and the longest header field that it is to read.
MAX_LINE_BYTES = 8190
MAX_FIELD_BYTES = 16_384


def serve(settings: DjangoSettings) -> int:
    """Serve until a signal comes, and return the exit code: 0 after a signal, 1 when the service could not start.

    Args:
        settings: How it is set up.

    """
    configure_logging(settings)
    try:
        listener = listening(settings)
    except OSError:
        log.exception("workers.no_address", host=settings.host, port=settings.port)
        return 1
    master = Master(Project(settings, listener.detach()), settings)
    try:
        master.run()
    except SystemExit as ended:
        return master.exit_code or (1 if ended.code else 0)
    return master.exit_code


class Log(Logger):
    """Passes gunicorn's records on, as those of any library."""

    def setup(self, cfg: Any) -> None:
        """Leave handlers and levels to the service's own logging."""
        self.cfg = cfg
        self.error_log.propagate = True
        self._access_log_enabled = False


class Project(BaseApplication):
    """What gunicorn is told.

    Args:
        settings: How the service is set up.
        listener: The descriptor of the socket where connections come in.

    """

    def __init__(self, settings: DjangoSettings, listener: int) -> None:
        self.settings = settings
        self._listener = listener
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn up."""
        cfg: Any = self.cfg
        for name, value in self._options().items():
            cfg.set(name, value)

    def _options(self) -> Mapping[str, Any]:
        settings = self.settings
        return {
            "bind": f"fd://{self._listener}",
            "workers": settings.http.workers,
            **(self._threads() if self._is_wsgi else {"worker_class": AsgiWorker, "asgi_lifespan": "off"}),
            "graceful_timeout": int(settings.shutdown_timeout + GRACE_SECONDS) + 1,
            "keepalive": KEEP_ALIVE_SECONDS,
            "logger_class": Log,
            "forwarded_allow_ips": ",".join(settings.http.trusted_proxies),
            "limit_request_line": MAX_LINE_BYTES,
            "limit_request_field_size": MAX_FIELD_BYTES,
            # What an operation does not know is its own to refuse.
            "permit_unconventional_http_method": True,
            "control_socket_disable": True,
        }

    def _threads(self) -> Mapping[str, Any]:
        return {"worker_class": ThreadWorker, "threads": self.settings.web.threads, "pre_request": before_request}

    @property
    def _is_wsgi(self) -> bool:
        return self.settings.web.server == "gthread"

    def load(self) -> Any:
        """Return the application, as each worker asks for it."""
        return import_string("app.web.wsgi.application" if self._is_wsgi else "app.web.asgi.application")


@dataclass(frozen=True, slots=True)
class Vacancy:
    """The place of a worker that died.

    Args:
        pause: How long it stays empty.
        due: When the next one starts in it.

    """

    pause: float
    due: float


class Master(Arbiter):
    """Gunicorn's, whose stop begins with a drain and which replaces a worker that keeps dying ever more slowly.

    Args:
        app: What gunicorn is told.
        settings: How much time a stop may take.

    """

    def __init__(self, app: Project, settings: DjangoSettings) -> None:
        self._settings = settings
        self._stop = Stop(settings, at_second=self._end_at_once)
        self._vacancies: list[Vacancy] = []
        self.exit_code = 0
        super().__init__(app)

    def signal(self, sig: int, frame: Any) -> None:
        """Take a signal; a second one that asks for the end ends the workers at once."""
        if sig not in STOP_SIGNALS or self._stop.take(sig):
            super().signal(sig, frame)

    def _end_at_once(self, number: int) -> None:
        self.exit_code = 128 + number
        for pid in list(self.WORKERS):
            self.kill_worker(pid, signal.SIGKILL)

    def handle_int(self) -> None:
        """Stop as at SIGTERM: to gunicorn, it means without delay."""
        self.handle_term()

    def handle_usr2(self) -> None:
        """Start no second master: `python -m` cannot be repeated from its arguments."""
        log.warning("master.not_replaced", signal="SIGUSR2")

    def kill_workers(self, sig: int) -> None:
        """Send all workers a signal: the one that this process was stopped with, or SIGKILL when time is up."""
        if sig == signal.SIGKILL and self.WORKERS:
            self.exit_code = self.exit_code or 1
            log.error("workers.killed", shutdown_timeout=self._settings.shutdown_timeout)
        super().kill_workers(self._stop.signal if sig == signal.SIGTERM and self._stop.signal else sig)

    def spawn_worker(self) -> int:
        """Start a worker; the worker's own process ends in here, whatever its threads still do."""
        self._vacancies.sort(key=lambda vacancy: vacancy.due)
        pause = self._vacancies.pop(0).pause if self._vacancies else 0.0
        # One that comes before the worker has handlers of its own waits: those of the master would swallow it there.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            pid: int = super().spawn_worker()
        except SystemExit as ended:
            if os.getpid() == self.pid:
                raise
            close_logging()
            os._exit(ended.code if isinstance(ended.code, int) else 0)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        log.info("worker.started", pid=pid)
        self.WORKERS[pid].pause = pause
        return pid

    def spawn_workers(self) -> None:
        """Start as many workers as are missing, except where it is too early."""
        early = sum(vacancy.due > time.monotonic() for vacancy in self._vacancies)
        for _ in range(self.num_workers - len(self.WORKERS) - early):
            self.spawn_worker()

    def reap_workers(self) -> None:
        """Look who has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            worker = self.WORKERS.pop(pid, None)
            if worker is not None:
                worker.tmp.close()
                self._notice_end(worker, os.waitstatus_to_exitcode(status))

    def _notice_end(self, worker: ServiceWorker, code: int) -> None:
        if self._stop.has_begun or code == 0:
            return
        if code == NOT_STARTED and not worker.pause:
            # It said why. The next one would fail as well, and whoever started the service is to hear of it.
            reason = "a worker could not start"
            raise HaltServer(reason, NOT_STARTED)
        pause = pause_after(worker.pause, time.monotonic() - worker.started)
        self._vacancies.append(Vacancy(pause, time.monotonic() + pause))
        log.error("worker.died", pid=worker.pid, exit_code=code, restart_in=pause)
