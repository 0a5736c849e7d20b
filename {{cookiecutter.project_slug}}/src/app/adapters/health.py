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
        timeout: Seconds after which a check counts as failed, unless it has a time of its own.
        cache: Seconds for which results serve again, so that probes cannot load a dependency.
        on_result: Called with each check that ran, for the metrics.

    """

    def __init__(self, *, timeout: float, cache: float, on_result: Callable[[CheckResult], None] | None = None) -> None:
        self.timeout = timeout
        self._on_result = on_result
        self.cache = cache
        self._checks: dict[str, Check] = {}
        self._hanging: dict[str, asyncio.Task[None]] = {}
        self._results: tuple[CheckResult, ...] = ()
        self._expires = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None
        self.shutting_down = False

    def register(self, check: Check) -> None:
        """Add a check.

        Args:
            check: What to look at; its name must be new.

        """
        if check.name in self._checks:
            msg = f"a check named {check.name!r} is registered already; each needs a name of its own"
            raise ValueError(msg)
        self._checks[check.name] = check
        self._expires = float("-inf")

    def remove(self, name: str) -> None:
        """Switch a check off.

        Args:
            name: The check's name.

        Raises:
            ValueError: There is no check of this name.

        """
        if name not in self._checks:
            msg = f"no check named {name!r}; there are: {', '.join(self._checks) or 'none'}"
            raise ValueError(msg)
        del self._checks[name]
        self._expires = float("-inf")

    async def report(self) -> Report:
        """Return the state of all dependencies; callers at the same moment share one run, which none of them can stop.

        A service that is about to stop says so at once, without asking anything.
        """
        if not self.shutting_down and time.monotonic() >= self._expires:
            if self._refreshing is None or self._refreshing.done():
                self._refreshing = asyncio.create_task(self._refresh())
            await asyncio.shield(self._refreshing)
        return summarise(self._results, shutting_down=self.shutting_down)

    async def _refresh(self) -> None:
        self._results = tuple(await asyncio.gather(*(self._run(check) for check in self._checks.values())))
        self._expires = time.monotonic() + self.cache

    async def _run(self, check: Check) -> CheckResult:
        started = time.perf_counter()
        error = await self._ask(check)
        status = Status.OK if error is None else Status.FAILED
        result = CheckResult(check.name, status, time.perf_counter() - started, check.required)
        self._log_change(check, error)
        if self._on_result is not None:
            self._on_result(result)
        return result

    async def _ask(self, check: Check) -> BaseException | None:
        """Return what is wrong with a dependency, if anything.

        A probe that goes on after its time, whatever it is told, is not waited for and not started a second time.
        """
        seconds = self.timeout if check.timeout is None else check.timeout
        if check.name in self._hanging:
            return TimeoutError("the probe before this one still has no answer")
        probe = asyncio.create_task(_run_probe(check))
        try:
            await asyncio.wait({probe}, timeout=seconds)
        finally:
            if not probe.done():
                self._give_up(check.name, probe)
        if probe.done() and not probe.cancelled():
            return probe.exception()
        await asyncio.sleep(0)
        return TimeoutError(f"no answer within {seconds:g} seconds")

    def _give_up(self, name: str, probe: asyncio.Task[None]) -> None:
        def forget(ended: asyncio.Task[None]) -> None:
            del self._hanging[name]
            # Asked for, or asyncio would log that nobody did.
            if not ended.cancelled():
                ended.exception()

        self._hanging[name] = probe
        probe.add_done_callback(forget)
        probe.cancel()

    def _log_change(self, check: Check, error: BaseException | None) -> None:
        """Log a failure when it begins and when it is over, not at every probe while it lasts."""
        failed_before = any(known.name == check.name and known.status is Status.FAILED for known in self._results)
        if error is not None and not failed_before:
            log.warning("health.check_failed", check=check.name, required=check.required, exc_info=error)
        if error is None and failed_before:
            log.info("health.check_recovered", check=check.name)


async def _run_probe(check: Check) -> None:
    await check.probe()
