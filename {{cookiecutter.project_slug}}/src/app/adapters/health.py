"""Run the readiness checks together, each within its time, and keep the results for a moment."""

import asyncio
import time
from collections.abc import Callable

from ..core.health import Check, CheckResult, Report, Status, summarise
from ..core.logging import get_logger

log = get_logger(__name__)


class Health:
    """The registry of checks.

    Args:
        timeout: Seconds after which a check counts as failed.
        cache: Seconds for which results serve again, so that probes cannot load a dependency.
        on_result: Called with each check that ran, for the metrics.

    """

    def __init__(self, *, timeout: float, cache: float, on_result: Callable[[CheckResult], None] | None = None) -> None:
        self._timeout = timeout
        self._on_result = on_result
        self._cache = cache
        self._checks: list[Check] = []
        self._results: tuple[CheckResult, ...] = ()
        self._expires = float("-inf")
        self._lock = asyncio.Lock()
        self.shutting_down = False

    def register(self, check: Check) -> None:
        """Add a check.

        Args:
            check: What to look at; its name must be new.

        """
        if any(known.name == check.name for known in self._checks):
            msg = f"a check named {check.name!r} is registered already; each needs a name of its own"
            raise ValueError(msg)
        self._checks.append(check)

    async def report(self) -> Report:
        """Return the state of all dependencies; callers at the same moment share one run."""
        async with self._lock:
            if time.monotonic() >= self._expires:
                self._results = tuple(await asyncio.gather(*(self._run(check) for check in self._checks)))
                self._expires = time.monotonic() + self._cache
        return summarise(self._results, shutting_down=self.shutting_down)

    async def _run(self, check: Check) -> CheckResult:
        started = time.perf_counter()
        status = Status.OK
        try:
            async with asyncio.timeout(self._timeout):
                await check.probe()
        except Exception as error:  # noqa: BLE001 -- whatever a dependency raises, it is not ready
            status = Status.FAILED
            self._log_change(check.name, error)
        result = CheckResult(check.name, status, time.perf_counter() - started, check.required)
        if self._on_result is not None:
            self._on_result(result)
        return result

    def _log_change(self, name: str, error: Exception) -> None:
        """Log a failure when it begins, not at every probe while it lasts."""
        before = {result.name: result.status for result in self._results}
        if before.get(name) is not Status.FAILED:
            log.warning("health.check_failed", check=name, exc_info=error)
