"""From an error to its reporters: each fault once, the rest of a storm counted, no reporter in another's way.

The log takes a report at once, for it has a queue of its own; the others have a queue and a thread each.
"""

import asyncio
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from ..core.errors import Severity
from ..core.logging import get_logger, is_reported, mark_reported
from ..core.reporting import (
    ErrorContext,
    ErrorReport,
    ReportCap,
    build_report,
    fingerprint_of,
    installed,
    mark,
    report_id_of,
)
from ..settings import Settings
from .reporters import Reporter
from .reporters.file import FileReporter
from .reporters.log import LogReporter
from .reporters.worker import CLOSE_SECONDS, ReporterWorker

OnOutcome = Callable[[str, str], None]
log = get_logger("app.errors")


class ErrorReporting:
    """Takes errors.

    Args:
        workers: The reporters that may block.
        to_log: The reporter that does not, or None.
        cap: How many reports of one fault are passed on.
        on_outcome: Called for each report and reporter with its name and `delivered`, `failed`, `dropped` or
            `suppressed`.

    """

    def __init__(
        self,
        *,
        workers: tuple[ReporterWorker, ...] = (),
        to_log: Reporter | None = None,
        cap: ReportCap,
        on_outcome: OnOutcome,
    ) -> None:
        self._workers = workers
        self._to_log = to_log
        self._cap = cap
        self._on_outcome = on_outcome
        _all.add(self)

    def report(self, error: BaseException, context: ErrorContext, *, in_log: bool = False) -> str | None:
        """Report an error once, however often it is passed here in one request; never raises, never waits.

        Args:
            error: What was raised.
            context: What the process was doing.
            in_log: Whether the caller writes it to the log itself.

        Returns:
            The report's id, or None when the cap held it back or no reporter wants it.

        """
        try:
            was_reported, report_id = report_id_of(error)
            return report_id if was_reported else self._take(error, context, in_log=in_log)
        except Exception:  # noqa: BLE001 -- a fault in reporting must not become a second fault of the request
            _say_lost(error)
            return None

    def _take(self, error: BaseException, context: ErrorContext, *, in_log: bool) -> str | None:
        if not self._workers and (in_log or self._to_log is None):
            # Nobody wants it: describing an error is not free.
            mark(error, None)
            return None
        fingerprint = fingerprint_of(error, context.operation)
        suppressed = self._cap.admit(fingerprint, time.monotonic())
        if suppressed is None:
            mark(error, None)
            self._count_suppressed(in_log=in_log)
            return None
        report = build_report(error, context, fingerprint=fingerprint, suppressed=suppressed)
        mark(error, report.id)
        if not in_log:
            self._log(report, error)
        for worker in self._workers:
            worker.put(report)
        return report.id

    def _log(self, report: ErrorReport, error: BaseException) -> None:
        # What somebody has logged with its frames is not logged twice.
        if self._to_log is None or is_reported(error):
            return
        try:
            self._to_log.report(report)
            mark_reported(error)
            self._on_outcome("log", "delivered")
        except Exception:  # noqa: BLE001 -- the other reporters get theirs
            self._on_outcome("log", "failed")

    def _count_suppressed(self, *, in_log: bool) -> None:
        names = [worker.name for worker in self._workers]
        if self._to_log is not None and not in_log:
            names.append("log")
        for name in names:
            self._on_outcome(name, "suppressed")

    def flush(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Wait until every report had its turn, and return whether all had.

        Args:
            timeout: Seconds, for all together.

        """
        deadline = time.monotonic() + timeout
        return all(worker.flush(max(0.0, deadline - time.monotonic())) for worker in self._workers)

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Deliver what waits, for a bounded time, and stop the threads; what comes later starts them again.

        Args:
            timeout: Seconds, for all together.

        """
        untold = self._cap.take_untold()
        if untold:
            log.warning("error.suppressed", suppressed=untold)
        deadline = time.monotonic() + timeout
        for worker in self._workers:
            worker.close(max(0.0, deadline - time.monotonic()))

    def start_anew(self) -> None:
        """Forget what the parent process counted; it tells that itself."""
        self._cap.reset()

    @contextmanager
    def watching(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Make this what `report_error` reports to, and report what an event loop finds that nobody waits for.

        Args:
            loop: The event loop; what it does with such an error otherwise, it still does.

        """
        before = loop.get_exception_handler()

        def handle(loop: asyncio.AbstractEventLoop, found: dict[str, Any]) -> None:
            if before is None:
                loop.default_exception_handler(found)
            else:
                before(loop, found)
            error = found.get("exception")
            if isinstance(error, Exception):
                self.report(error, ErrorContext(operation=str(found.get("message"))), in_log=True)

        loop.set_exception_handler(handle)
        try:
            with installed(self):
                yield
        finally:
            loop.set_exception_handler(before)

    def watch_process(self) -> None:
        """Report what ends the process or one of its threads, after the hooks that are there have logged it."""
        before, before_thread = sys.excepthook, threading.excepthook

        def crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            before(kind, error, trace)
            self._report_crash(error, "process")

        def thread_crashed(crash: threading.ExceptHookArgs) -> None:
            before_thread(crash)
            if crash.exc_value is not None:
                self._report_crash(crash.exc_value, f"thread {crash.thread.name if crash.thread else '?'}")

        sys.excepthook, threading.excepthook = crashed, thread_crashed

    def _report_crash(self, error: BaseException, operation: str) -> None:
        if isinstance(error, Exception):
            context = ErrorContext(operation=operation, severity=Severity.CRITICAL)
            self.report(error, context, in_log=True)


def _say_lost(error: BaseException) -> None:
    """Say on standard error that a report was lost, but not what it said: it may not have passed the redaction."""
    with suppress(Exception):
        sys.stderr.write(f"the report of a {type(error).__name__} was lost\n")


def error_reporting(settings: Settings, *, database: Callable[[], Reporter], on_outcome: OnOutcome) -> ErrorReporting:
    """Return what the settings ask for; no reporter is opened before the first error.

    Args:
        settings: Which reporters, and how much of what.
        database: What makes the reporter that writes to the service's database.
        on_outcome: As for `ErrorReporting`.

    """
    options = settings.errors
    return ErrorReporting(
        workers=tuple(
            ReporterWorker(name, connect, max_reports=options.queue, on_outcome=partial(on_outcome, name))
            for name, connect in _connections(settings, database).items()
        ),
        to_log=LogReporter() if "log" in options.reporters else None,
        cap=ReportCap(options.cap, options.cap_seconds),
        on_outcome=on_outcome,
    )


def _connections(settings: Settings, database: Callable[[], Reporter]) -> Mapping[str, Callable[[], Reporter]]:
    """Return what makes each reporter that may block."""
    options = settings.errors
    identity = {
        "service": settings.service_name,
        "environment": settings.environment,
        "version": settings.service_version,
    }
    made: dict[str, Callable[[], Reporter]] = {
        "file": lambda: FileReporter(
            Path(options.file), identity=identity, max_bytes=options.file_bytes, backups=options.file_backups
        ),
        "database": database,
    }
    names: tuple[str, ...] = options.reporters
    chosen = {name: connect for name, connect in made.items() if name in names}
    if settings.sentry_dsn is None:
        return chosen
    # Here, so that a service without a DSN does not load the SDK; and now, for at the first error it would be late.
    from .reporters.sentry import SentryReporter

    return {**chosen, "sentry": partial(SentryReporter, settings.sentry_dsn.get_secret_value(), identity=identity)}


_all: "weakref.WeakSet[ErrorReporting]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for reporting in list(_all):
        reporting.start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
