"""Readiness checks for code that runs no event loop: each in a thread of its own, within its time.

A thread cannot be stopped. One that goes on after its time is left to itself, and its check is not started again
before it ends, so that a dependency that hangs costs one thread and no more.
"""

import threading
import time
from collections.abc import Callable

from ..core.health import CheckResult, Report, SyncCheck, summarise
from .health import Checks


class SyncHealth(Checks[SyncCheck]):
    """The registry of checks.

    Args:
        timeout: Seconds after which a check counts as failed, unless it has a time of its own.
        cache: Seconds for which results serve again, so that probes cannot load a dependency.
        on_result: Called with each check that ran, for the metrics.

    """

    def __init__(self, *, timeout: float, cache: float, on_result: Callable[[CheckResult], None] | None = None) -> None:
        super().__init__(timeout=timeout, cache=cache, on_result=on_result)
        self._refreshing = threading.Lock()
        self._probes: dict[str, _Probe] = {}

    def report(self) -> Report:
        """Return the state of all dependencies; callers at the same moment share one run.

        A service that is about to stop says so at once, without asking anything.
        """
        if self.is_due:
            with self._refreshing:
                # Whoever waited for the lock finds the results of who had it.
                if self.is_due:
                    self._refresh()
        return summarise(self.results, shutting_down=self.shutting_down)

    def _refresh(self) -> None:
        started = [(check, self._start(check)) for check in self.all()]
        self.take(tuple(self._result(check, probe) for check, probe in started))

    def _start(self, check: SyncCheck) -> "_Probe | None":
        before = self._probes.get(check.name)
        if before is not None and before.thread.is_alive():
            return None
        probe = self._probes[check.name] = _Probe(check)
        return probe

    def _result(self, check: SyncCheck, probe: "_Probe | None") -> CheckResult:
        error = BUSY if probe is None else probe.wait(self.seconds_of(check))
        seconds = 0.0 if probe is None else probe.seconds
        return self.checked(check, error, seconds)


BUSY = TimeoutError("the probe before this one still has no answer")


class _Probe:
    """One run of a check, in a thread that ends with the process."""

    def __init__(self, check: SyncCheck) -> None:
        self._check = check
        self._error: BaseException | None = None
        self._ended: float | None = None
        self._started = time.perf_counter()
        self.thread = threading.Thread(target=self._run, name=f"health-{check.name}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._check.probe()
        except BaseException as error:  # noqa: BLE001 -- whatever it is, it is what is wrong
            self._error = error
        self._ended = time.perf_counter()

    @property
    def seconds(self) -> float:
        """How long it took, or has taken."""
        return (self._ended or time.perf_counter()) - self._started

    def wait(self, seconds: float) -> BaseException | None:
        """Return what is wrong with the dependency, if anything.

        Args:
            seconds: How long to wait, from the start on.

        """
        self.thread.join(max(0.0, seconds - (time.perf_counter() - self._started)))
        if self.thread.is_alive():
            return TimeoutError(f"no answer within {seconds:g} seconds")
        return self._error
