"""Run the readiness checks together, each within its time, and keep the results for a moment."""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from ..core.health import Check, CheckResult, Report, Status, SyncCheck, summarise
from ..core.logging import get_logger

log = get_logger(__name__)


AnyCheck = TypeVar("AnyCheck", Check, SyncCheck)


class Checks(Generic[AnyCheck]):
    """Which checks there are, and what they found last.

    Args:
        timeout: Seconds after which a check counts as failed, unless it has a time of its own.
        cache: Seconds for which results serve again, so that probes cannot load a dependency.
        on_result: Called with each check that ran, for the metrics.

    """

    def __init__(self, *, timeout: float, cache: float, on_result: Callable[[CheckResult], None] | None = None) -> None:
        self.timeout = timeout
        self.cache = cache
        self._on_result = on_result
        self._checks: dict[str, AnyCheck] = {}
        self.results: tuple[CheckResult, ...] = ()
        self._expires = float("-inf")
        self.shutting_down = False

    def register(self, check: AnyCheck) -> None:
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

    def all(self) -> tuple[AnyCheck, ...]:
        """Return the checks."""
        return tuple(self._checks.values())

    @property
    def is_due(self) -> bool:
        """Whether the results are too old to serve; a service that is about to stop asks nothing."""
        return not self.shutting_down and time.monotonic() >= self._expires

    def take(self, results: tuple[CheckResult, ...]) -> None:
        """Let results serve for a while.

        Args:
            results: What each check found.

        """
        self.results = results
        self._expires = time.monotonic() + self.cache

    def seconds_of(self, check: AnyCheck) -> float:
        """Return after how long a check counts as failed.

        Args:
            check: Which one.

        """
        return self.timeout if check.timeout is None else check.timeout

    def checked(self, check: AnyCheck, error: BaseException | None, seconds: float) -> CheckResult:
        """Return what a check found; counted, and logged when it is news.

        Args:
            check: Which one.
            error: What is wrong, if anything.
            seconds: How long it took.

        """
        result = CheckResult(check.name, Status.OK if error is None else Status.FAILED, seconds, check.required)
        self._log_change(check, error)
        if self._on_result is not None:
            self._on_result(result)
        return result

    def _log_change(self, check: AnyCheck, error: BaseException | None) -> None:
        """Log a failure when it begins and when it is over, not at every probe while it lasts."""
        failed_before = any(known.name == check.name and known.status is Status.FAILED for known in self.results)
        if error is not None and not failed_before:
            log.warning("health.check_failed", check=check.name, required=check.required, exc_info=error)
        if error is None and failed_before:
            log.info("health.check_recovered", check=check.name)


class Health(Checks[Check]):
    """The registry of checks for code on an event loop.

    Args:
        timeout: Seconds after which a check counts as failed, unless it has a time of its own.
        cache: Seconds for which results serve again, so that probes cannot load a dependency.
        on_result: Called with each check that ran, for the metrics.

    """

    def __init__(self, *, timeout: float, cache: float, on_result: Callable[[CheckResult], None] | None = None) -> None:
        super().__init__(timeout=timeout, cache=cache, on_result=on_result)
        self._hanging: dict[str, asyncio.Task[None]] = {}
        self._refreshing: asyncio.Task[None] | None = None

    async def report(self) -> Report:
        """Return the state of all dependencies; callers at the same moment share one run, which none of them can stop.

        A service that is about to stop says so at once, without asking anything.
        """
        if self.is_due:
            if self._refreshing is None or self._refreshing.done():
                self._refreshing = asyncio.create_task(self._refresh())
            await asyncio.shield(self._refreshing)
        return summarise(self.results, shutting_down=self.shutting_down)

    async def _refresh(self) -> None:
        self.take(tuple(await asyncio.gather(*(self._run(check) for check in self.all()))))

    async def _run(self, check: Check) -> CheckResult:
        started = time.perf_counter()
        error = await self._ask(check)
        return self.checked(check, error, time.perf_counter() - started)

    async def _ask(self, check: Check) -> BaseException | None:
        """Return what is wrong with a dependency, if anything.

        A probe that goes on after its time, whatever it is told, is not waited for and not started a second time.
        """
        seconds = self.seconds_of(check)
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


async def _run_probe(check: Check) -> None:
    await check.probe()
