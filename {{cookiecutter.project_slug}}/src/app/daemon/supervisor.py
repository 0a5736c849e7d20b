"""Background tasks that begin again when they crash, each by itself (`core.supervision` decides when)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ..adapters.daemon_metrics import DaemonMetrics
from ..adapters.reporting import ErrorReporting
from ..core.logging import get_logger
from ..core.reporting import ErrorContext
from ..core.supervision import CrashRecord, RestartPolicy
from .configuration import DaemonGroup

log = get_logger(__name__)
AsyncFunction = Callable[[], Awaitable[Any]]


class BackgroundTasksError(Exception):
    """Background tasks crashed too often."""


class LeakedCancellationError(Exception):
    """Something within a task was cancelled, and the task ended of it though nobody had cancelled the task itself."""


class Supervisor:
    """Keeps background tasks running.

    Args:
        policy: How often one may crash, and how long the pauses are.
        metrics: What counts crashes.
        reporting: Where errors are reported to.

    """

    def __init__(self, policy: RestartPolicy, *, metrics: DaemonMetrics, reporting: ErrorReporting) -> None:
        self._policy = policy
        self._metrics = metrics
        self._reporting = reporting
        self._records: dict[str, CrashRecord] = {}

    async def keep_running(self, name: str, function: AsyncFunction) -> None:
        """Run a task until it returns, and again after each crash; only cancelling ends it otherwise.

        Args:
            name: The task's; unique.
            function: Begins it.

        """
        record = self._records[name] = CrashRecord(self._policy)
        self._metrics.watch_task(name)
        while True:
            record.begin(time.monotonic())
            self._metrics.task_began(name)
            try:
                await unless_leaked(function)
            except Exception as error:  # noqa: BLE001 -- whatever it is, the task begins again
                delay = self._take_crash(name, record, error)
            else:
                record.end()
                log.info("background_task.ended", task=name)
                return
            await asyncio.sleep(delay)

    def _take_crash(self, name: str, record: CrashRecord, error: Exception) -> float:
        """Return after how many seconds the task begins again."""
        restart = record.crash(time.monotonic())
        self._metrics.task_crashed(name)
        delay, crashes = round(restart.delay, 3), restart.crashes
        log.error("background_task.crashed", task=name, crashes=crashes, restart_in=delay, exc_info=error)
        self._reporting.report(error, ErrorContext(operation=f"background_task.{name}"), in_log=True)
        if restart.gives_up:
            window = self._policy.crash_window
            log.error("background_task.given_up", task=name, crashes=crashes, window=window)
        return restart.delay

    async def check(self) -> None:
        """Raise when a task crashed too often and has not run long enough since.

        Raises:
            BackgroundTasksError: It names them.

        """
        now = time.monotonic()
        names = [name for name, record in self._records.items() if record.is_given_up(now)]
        if names:
            msg = f"crashed more than {self._policy.max_crashes} times in {self._policy.crash_window:g} s: "
            raise BackgroundTasksError(msg + ", ".join(names))


async def unless_leaked(function: AsyncFunction) -> None:
    """Await a function; that somebody else was cancelled, whom it waited for, becomes an error like any other.

    Args:
        function: What is awaited.

    Raises:
        LeakedCancellationError: It ended as if it were cancelled, and the task that runs it was not.

    """
    try:
        await function()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        msg = "it awaited something that was cancelled"
        raise LeakedCancellationError(msg) from error


def restart_policy(settings: DaemonGroup) -> RestartPolicy:
    """Return what the settings allow background tasks.

    Args:
        settings: The daemon's.

    """
    return RestartPolicy(
        backoff=settings.restart_backoff,
        backoff_max=settings.restart_backoff_max,
        max_crashes=settings.max_crashes,
        crash_window=settings.crash_window,
    )
