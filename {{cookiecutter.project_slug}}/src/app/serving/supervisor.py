"""Several processes that serve on one address, and one more that watches them.

The watching process hands every signal on, starts a worker again that died, after a pause that grows, and gives up when
the service cannot start at all. Workers share nothing but the address and the folder where their metrics add up.
"""

import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from ..adapters.logging import configure_logging
from ..core.logging import get_logger
from ..settings import ConfigurationError, Settings

log = get_logger(__name__)
NOT_STARTED = 3
# How long workers may take beyond SHUTDOWN_TIMEOUT before they are killed.
GRACE_SECONDS = 5.0
# Before a worker that died is replaced; doubled each time, until one lives longer than the longest.
SHORTEST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
# On some systems a signal does not end the wait.
LONGEST_WAIT = 1.0
# A fresh interpreter: a fork would share threads' locks and everything that is open.
_spawn = multiprocessing.get_context("spawn")
# Takes the listener and the folder where metrics add up, and returns the exit code; a module's function, by its name.
Serve = Callable[[socket.socket, str], int]


def pause_after(pause: float, lived: float) -> float:
    """Return how long a place of a worker that died stays empty.

    Args:
        pause: How long it was empty before that worker.
        lived: For how long the worker lived.

    """
    return min(LONGEST_PAUSE, pause * 2) if pause and lived <= LONGEST_PAUSE else SHORTEST_PAUSE


def supervise(settings: Settings, serve: Serve) -> int:
    """Serve in as many processes as the settings say, and return the exit code of them all.

    Args:
        settings: How they are set up.
        serve: What each of them does.

    """
    configure_logging(settings)
    with ExitStack() as stack:
        try:
            listener = stack.enter_context(listening(settings))
        except OSError:
            log.exception("workers.no_address", host=settings.host, port=settings.port)
            return 1
        folder = stack.enter_context(metrics_folder(settings))
        return Supervisor(settings, serve, listener, folder).run()


def listening(settings: Settings) -> socket.socket:
    """Return where connections come in.

    Args:
        settings: The address.

    Raises:
        OSError: It is taken, or not one of this machine's.

    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family)


@contextmanager
def metrics_folder(settings: Settings) -> Iterator[str]:
    """Lend the folder where several processes count together: the one that the settings name, or a temporary one.

    Args:
        settings: Whether they name one.

    Raises:
        ConfigurationError: They do not, and there is no place for temporary ones.

    """
    if settings.prometheus_multiproc_dir is not None:
        yield settings.prometheus_multiproc_dir
        return
    try:
        folder = tempfile.TemporaryDirectory(prefix="metrics-")
    except OSError as error:
        msg = f"PROMETHEUS_MULTIPROC_DIR: received nothing, and there is no temporary folder ({error}); set it to one"
        raise ConfigurationError(msg) from error
    with folder as name:
        yield name


def _work(serve: Serve, listener: socket.socket, folder: str) -> None:
    """Serve as one of several processes."""
    # Until the server takes signals, Ctrl-C ends the process as SIGTERM does, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_stop_when_orphaned, name="parent-watch", daemon=True).start()
    try:
        code = serve(listener, folder)
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- logging needs what could not be set up
        code = 1
    sys.exit(NOT_STARTED if code else 0)


def _stop_when_orphaned() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


@dataclass(slots=True)
class Worker:
    """A place that one process after the other fills.

    Args:
        process: The process.
        started: When it was started.
        pause: How long the place stayed empty before.
        due: When the next process starts in it; None while the death of this one was not noticed.

    """

    process: SpawnProcess
    started: float
    pause: float = 0.0
    due: float | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.process.exitcode is None


class Supervisor:
    """Keeps workers running until a signal comes.

    Args:
        settings: How they are set up.
        serve: What each of them does.
        listener: Where connections come in.
        folder: Where their metrics add up.

    """

    def __init__(self, settings: Settings, serve: Serve, listener: socket.socket, folder: str) -> None:
        self._settings = settings
        self._serve = serve
        self._listener = listener
        self._folder = folder
        self._workers: list[Worker] = []
        self._signal: int | None = None
        self._kill_at = float("inf")
        self._code = 0

    def run(self) -> int:
        """Start the workers, wait for their end, and return the exit code."""
        before = {number: signal.signal(number, self._hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for _ in range(self._settings.http.workers):
                self._workers.append(Worker(self._start(), time.monotonic()))
            while self._signal is None or any(worker.is_alive for worker in self._workers):
                self._wait()
                self._look_after()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        # Whom a second signal ends at once has 128 and its number.
        forced = [code for worker in self._workers if (code := worker.process.exitcode or 0) > 128]
        return self._code or max(forced, default=0)

    def _start(self) -> SpawnProcess:
        process = _spawn.Process(target=_work, args=(self._serve, self._listener, self._folder))
        process.start()
        log.info("worker.started", pid=process.pid)
        if self._signal is not None:
            _send(process, self._signal)
        return process

    def _hand_on(self, number: int, _frame: FrameType | None = None) -> None:
        """Let all workers stop; a second signal, which ends them at once, is handed on too."""
        if self._signal is None:
            self._signal = number
            self._kill_at = time.monotonic() + self._settings.shutdown_timeout + GRACE_SECONDS
        for worker in self._workers:
            _send(worker.process, number)

    def _wait(self) -> None:
        """Wait until a worker ends, or something is to be done about one."""
        missing = [worker.due or 0.0 for worker in self._workers if self._signal is None and not worker.is_alive]
        until = min([self._kill_at, *missing])
        seconds = min(LONGEST_WAIT, max(0.0, until - time.monotonic()))
        sentinels = [worker.process.sentinel for worker in self._workers if worker.is_alive]
        # Without any, `wait` would return at once.
        wait(sentinels, seconds) if sentinels else time.sleep(seconds)

    def _look_after(self) -> None:
        now = time.monotonic()
        if now >= self._kill_at:
            self._kill_at = float("inf")
            self._code = 1
            log.error("workers.killed", shutdown_timeout=self._settings.shutdown_timeout)
            for worker in self._workers:
                worker.process.kill()
        for worker in self._workers:
            if self._signal is not None or worker.is_alive:
                continue
            if worker.due is None:
                self._notice_death(worker, now)
            elif now >= worker.due:
                worker.process, worker.started, worker.due = self._start(), now, None

    def _notice_death(self, worker: Worker, now: float) -> None:
        code = worker.process.exitcode
        if code == NOT_STARTED and not worker.pause:
            # It said why. The next one would fail as well, and whoever started the service is to hear of it.
            self._code = 1
            self._hand_on(signal.SIGTERM)
            return
        worker.pause = pause_after(worker.pause, now - worker.started)
        worker.due = now + worker.pause
        log.error("worker.died", pid=worker.process.pid, exit_code=code, restart_in=worker.pause)


def _send(process: SpawnProcess, number: int) -> None:
    if process.exitcode is None and process.pid is not None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
