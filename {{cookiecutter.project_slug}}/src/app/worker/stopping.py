"""How a worker stops.

On SIGTERM or SIGINT it takes no more tasks, and those that run may end. What is left when nearly all of
`SHUTDOWN_TIMEOUT` has passed is given back to the broker, and the process ends with 0. A second signal ends it at once.

Celery's own soft shutdown is not used: it sleeps in the signal's handler for the whole of its time, however soon the
tasks are done, and acknowledges none of them meanwhile.
"""

import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any, NoReturn

from celery import signals
from celery.apps.worker import Worker
from celery.worker import state

from ..adapters.logging import flush_logging
from ..core.logging import get_logger
from ..serving.stopping import Stop, end_at_once
from ..settings import Settings

log = get_logger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGINT)
FLUSH_SECONDS = 0.5


class ServiceWorker(Worker):
    """Celery's worker, stopped by this service's rules.

    Attributes:
        service_settings: How long a stop may take.

    """

    service_settings: Settings
    hostname: str

    def install_platform_tweaks(self, worker: Any) -> None:  # noqa: ARG002 -- Celery's signature
        """Listen to signals; Celery's other ones would restart the process, or write what is no log line."""
        self._stop = Stop(self.service_settings, at_second=self._end_at_once)
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: object) -> None:
        if not self._stop.take(number):
            return
        if (qos := self._taking()) is not None:
            # At once, as the loop may be waiting; it would also take again what is given back.
            qos.can_consume = _never
        # The loop looks at it between two turns.
        state.should_stop = 0  # type: ignore[assignment] # its types know only where it begins
        timer = threading.Timer(max(0.0, self._stop.seconds_left), self._give_back)
        timer.daemon = True
        timer.start()
        self._stop.end_in_time(self._end)
        signals.worker_shutting_down.send(sender=self.hostname, sig=self._stop.signal_name, how="Warm", exitcode=0)

    def _give_back(self) -> None:
        """Leave what still runs to somebody else: in a thread, as the main one waits for it."""
        running = len(state.active_requests)
        log.warning("worker.gives_back", running=running)
        self._end_children()
        give_back = getattr(self._taking(), "restore_unacked", None)
        if give_back is not None:
            # RabbitMQ does it by itself when the connection is gone.
            with suppress(Exception):
                give_back()
        with suppress(Exception):
            signals.worker_shutdown.send(sender=self)
        self._end()

    def _taking(self) -> Any:
        """Return what decides whether the worker takes a message, where that is kombu and not RabbitMQ."""
        consumer = getattr(getattr(self, "consumer", None), "task_consumer", None)
        return getattr(getattr(consumer, "channel", None), "qos", None)

    def _end(self) -> None:
        flush_logging(FLUSH_SECONDS)
        os._exit(0)

    def _end_at_once(self, number: int) -> None:
        self._end_children()
        end_at_once(number)

    def _end_children(self) -> None:
        """Kill the pool's processes: where the kernel does not, they would work on beside whoever does so next."""
        pool = getattr(getattr(self, "pool", None), "_pool", None)
        for process in list(getattr(pool, "_pool", None) or ()):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def end_when_told() -> None:
    """Let a signal end this process with 0, and what it has begun be closed, until a worker listens itself."""
    for number in SIGNALS:
        signal.signal(number, _exit)


def _exit(_number: int, _frame: object) -> NoReturn:
    sys.exit(0)


def _never() -> bool:
    return False
