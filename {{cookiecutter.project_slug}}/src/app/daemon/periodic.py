"""Jobs that run now and then: on a grid of time, never two runs at once, whatever becomes of one."""

import asyncio
import time
from collections.abc import Callable

from ..adapters.daemon_metrics import FAILURE, INTERRUPTED, SUCCESS, DaemonMetrics
from ..bootstrap import Services
from ..core.logging import get_logger
from ..core.reporting import ErrorContext
from ..core.supervision import Turn, next_turn
from .supervisor import AsyncFunction, unless_leaked

log = get_logger(__name__)


class PeriodicJob:
    """A job and its times.

    A run that takes longer than the interval costs those that would have begun meanwhile; they are counted, and the
    next one is at its usual time. With several daemons each runs the job: one that must not run twice is `@idempotent`,
    with its period as the key.

    Args:
        name: The job's, in the log and the metrics.
        function: What it does.
        interval: Seconds from the beginning of a run to that of the next one.
        first: Seconds until the first run; the interval when left out.
        services: What traces it and reports its errors.
        metrics: What counts its runs.
        stopping: Returns whether the daemon stops: then no run begins any more.

    Raises:
        ValueError: The interval is not above 0.

    """

    def __init__(
        self,
        name: str,
        function: AsyncFunction,
        *,
        interval: float,
        first: float | None = None,
        services: Services,
        metrics: DaemonMetrics,
        stopping: Callable[[], bool] = bool,
    ) -> None:
        if not interval > 0:
            msg = f"the periodic job {name!r}: received the interval {interval!r}; allowed: seconds above 0"
            raise ValueError(msg)
        self.name = name
        self._function = function
        self._interval = interval
        self._first = interval if first is None else first
        self._services = services
        self._metrics = metrics
        self._stopping = stopping

    async def run(self) -> None:
        """Run the job at its times until it is cancelled."""
        self._metrics.watch_job(self.name)
        first = time.monotonic() + self._first
        turn = Turn(1, first)
        while True:
            await asyncio.sleep(max(0.0, turn.due - time.monotonic()))
            if self._stopping():
                return
            await self._take_turn()
            turn = next_turn(turn, first=first, interval=self._interval, now=time.monotonic())
            if turn.skipped:
                self._metrics.job_skipped(self.name, turn.skipped)
                log.warning("periodic_job.skipped", job=self.name, runs=turn.skipped, interval=self._interval)

    async def _take_turn(self) -> None:
        """Do what the job does, once; a failure is told, and the next run is at its time."""
        began = time.monotonic()
        outcome = INTERRUPTED
        try:
            with self._services.tracing.span(f"periodic_job {self.name}"):
                await self._do()
            outcome = SUCCESS
        except Exception:  # noqa: BLE001 -- it is told already
            outcome = FAILURE
        finally:
            self._metrics.job_ended(self.name, outcome, time.monotonic() - began)

    async def _do(self) -> None:
        try:
            await unless_leaked(self._function)
        except Exception as error:
            # Within the span: the line has its trace.
            log.exception("periodic_job.failed", job=self.name)
            self._services.reporting.report(error, ErrorContext(operation=f"periodic_job.{self.name}"), in_log=True)
            raise
