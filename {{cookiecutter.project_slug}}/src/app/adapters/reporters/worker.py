"""One reporter behind a bounded queue and a thread of its own: it may be slow, hang or fail, and stops nobody else.

The thread starts with the first report. After a fork the child begins with an empty queue, a thread and a connection of
its own, while the parent still delivers what it had.
"""

import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.util import Finalize
from queue import Empty, SimpleQueue

from ...core.logging import get_logger
from ...core.reporting import ErrorReport
from . import Reporter

CLOSE_SECONDS = 2.0
RETRY_SECONDS = 0.5
ATTEMPTS = 2
log = get_logger("app.errors")
OnOutcome = Callable[[str], None]


class _Delivery(threading.Thread):
    """Takes reports from its queue until it is told to end."""

    def __init__(self, reporter_name: str, connect: Callable[[], Reporter], on_outcome: OnOutcome) -> None:
        super().__init__(name=f"error-reports-{reporter_name}", daemon=True)
        self.queue: SimpleQueue[ErrorReport | threading.Event | None] = SimpleQueue()
        self.hurry = threading.Event()
        self._reporter_name = reporter_name
        self._connect = connect
        self._on_outcome = on_outcome
        self._reporter: Reporter | None = None
        self._failed = 0

    def run(self) -> None:
        """Deliver in order; a mark is set when its turn comes, None ends it."""
        while (item := self.queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
            else:
                self._deliver(item)
        if self._reporter is not None:
            # What was delivered stays delivered, whatever closing says.
            with suppress(Exception):
                self._reporter.close()

    def _deliver(self, report: ErrorReport) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._reporter = self._reporter or self._connect()
                self._reporter.report(report)
            except Exception as error:  # noqa: BLE001 -- whatever a destination raises must not end the thread
                if attempt == ATTEMPTS or self.hurry.wait(RETRY_SECONDS):
                    self._note_failure(error)
                    return
            else:
                self._note_success()
                return

    def _note_failure(self, error: Exception) -> None:
        """Count a failure, and log it when it begins, not at every report while it lasts."""
        self._failed += 1
        self._on_outcome("failed")
        if self._failed == 1:
            log.warning("error.reporter_failed", reporter=self._reporter_name, exc_info=error)

    def _note_success(self) -> None:
        self._on_outcome("delivered")
        if self._failed:
            log.info("error.reporter_recovered", reporter=self._reporter_name, lost=self._failed)
        self._failed = 0

    def take_the_rest(self) -> int:
        """Take what waits out of the queue, and return how many reports it was."""
        taken = 0
        with suppress(Empty):
            while True:
                taken += isinstance(self.queue.get_nowait(), ErrorReport)
        return taken


class ReporterWorker:
    """Delivers reports to one reporter, in their order.

    Args:
        name: The reporter's name, in metrics and in the log.
        connect: Makes the reporter; called on the thread, at the first report, and again after a fork or a close.
        max_reports: How many wait at the most; further ones are dropped and counted.
        on_outcome: Called with `delivered`, `failed` or `dropped` for each report.

    """

    def __init__(self, name: str, connect: Callable[[], Reporter], *, max_reports: int, on_outcome: OnOutcome) -> None:
        self.name = name
        self._connect = connect
        self._max_reports = max_reports
        self._on_outcome = on_outcome
        self.start_anew()
        _workers.add(self)

    def start_anew(self) -> None:
        """Begin with nothing queued and nothing open, in a new object or a new process."""
        # Reentrant: a signal handler that reports may interrupt the thread that holds it.
        self._lock = threading.RLock()
        self._delivery: _Delivery | None = None

    def put(self, report: ErrorReport) -> None:
        """Queue a report; never waits, never raises.

        Args:
            report: What is delivered.

        """
        with self._lock:
            delivery = self._delivery or self._start()
            if delivery.queue.qsize() < self._max_reports:
                delivery.queue.put(report)
                return
        self._on_outcome("dropped")

    def _start(self) -> _Delivery:
        _close_at_the_end()
        self._delivery = _Delivery(self.name, self._connect, self._on_outcome)
        self._delivery.start()
        return self._delivery

    def flush(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Wait until all that was queued had its turn, and return whether it had.

        Args:
            timeout: Seconds.

        """
        delivery = self._delivery
        if delivery is None:
            return True
        reached = threading.Event()
        delivery.queue.put(reached)
        return reached.wait(timeout)

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Deliver what waits, for a bounded time, and stop; what is left is dropped and counted.

        A report that comes later starts anew.

        Args:
            timeout: Seconds.

        """
        with self._lock:
            delivery, self._delivery = self._delivery, None
            if delivery is None:
                return
            delivery.hurry.set()
            delivery.queue.put(None)
        if delivery is not threading.current_thread():
            delivery.join(timeout)
        if delivery.is_alive():
            self._drop_the_rest(delivery)

    def _drop_the_rest(self, delivery: _Delivery) -> None:
        dropped = delivery.take_the_rest()
        # Whenever the thread that hangs comes back, it ends.
        delivery.queue.put(None)
        for _ in range(dropped):
            self._on_outcome("dropped")
        log.warning("error.reports_dropped", reporter=self.name, dropped=dropped)


_workers: "weakref.WeakSet[ReporterWorker]" = weakref.WeakSet()


def close_all(timeout: float = CLOSE_SECONDS) -> None:
    """Close all workers of this process, together within one time.

    Args:
        timeout: Seconds.

    """
    deadline = time.monotonic() + timeout
    for worker in list(_workers):
        worker.close(max(0.0, deadline - time.monotonic()))


class _End:
    """In which process the end was prepared."""

    pid = 0


def _close_at_the_end() -> None:
    """Let no report be lost when the process ends, be it a child of `multiprocessing` that never gets to `atexit`."""
    if _End.pid != os.getpid():
        _End.pid = os.getpid()
        Finalize(None, close_all, exitpriority=10)


def _after_fork_in_child() -> None:
    for worker in list(_workers):
        worker.start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
