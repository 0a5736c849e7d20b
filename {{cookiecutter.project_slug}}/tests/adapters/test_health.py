"""Readiness checks: together, within their time, remembered for a moment, and logged when they begin to fail."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from app.adapters.health import Health
from app.core.health import Check, Report

from ..conftest import Log


class Dependency:
    """Something that works or does not."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0

    async def probe(self) -> None:
        """Answer, or fail."""
        self.asked += 1
        if self.error is not None:
            raise self.error


async def hang() -> None:
    """Never answer."""
    await asyncio.sleep(3600)


def statuses(report: Report) -> dict[str, str]:
    """Return the status of each check."""
    return {check.name: check.status.value for check in report.checks}


def health(*probes: Callable[[], Awaitable[None]], timeout: float = 30, cache: float = 0) -> Health:
    """Return a registry of required checks, named a, b and so on."""
    registry = Health(timeout=timeout, cache=cache)
    for name, probe in zip("abc", probes, strict=False):
        registry.register(Check(name, probe))
    return registry


async def test_all_pass() -> None:
    """The service is ready when every check passes; a report has them in the order of registration."""
    report = await health(Dependency().probe, Dependency().probe).report()
    assert report.ready
    assert list(statuses(report).items()) == [("a", "ok"), ("b", "ok")]
    assert all(check.duration >= 0 for check in report.checks)


async def test_nothing_registered() -> None:
    """Without checks the service is ready."""
    assert (await health().report()).ready


async def test_required_check_fails() -> None:
    """The service is not ready while a required check fails."""
    broken = Dependency()
    broken.error = OSError("refused")
    report = await health(Dependency().probe, broken.probe).report()
    assert not report.ready
    assert statuses(report) == {"a": "ok", "b": "failed"}


async def test_optional_check_fails() -> None:
    """The service is ready without what it can do without, and says what is missing."""
    broken = Dependency()
    broken.error = OSError("refused")
    registry = health(Dependency().probe)
    registry.register(Check("extra", broken.probe, required=False))
    report = await registry.report()
    assert report.ready
    assert report.document()["status"] == "degraded"
    assert statuses(report) == {"a": "ok", "extra": "failed"}


async def test_checks_run_together() -> None:
    """No check waits for another one."""
    both_inside = asyncio.Barrier(2)

    async def meet() -> None:
        await both_inside.wait()

    assert (await health(meet, meet).report()).ready


async def test_check_that_hangs() -> None:
    """A check that does not answer in time has failed, and the others are as they are."""
    report = await health(hang, Dependency().probe, timeout=0.02).report()
    assert statuses(report) == {"a": "failed", "b": "ok"}


async def test_check_with_a_time_of_its_own() -> None:
    """A check that is slower or more important than others has a time of its own."""
    registry = Health(timeout=3600, cache=0)
    registry.register(Check("slow", hang, timeout=0.02))
    assert statuses(await registry.report()) == {"slow": "failed"}


async def test_check_that_cannot_be_stopped() -> None:
    """A probe that goes on after its time holds nobody up, and is not started again before it ends."""
    started, end = 0, asyncio.Event()

    async def stubborn() -> None:
        nonlocal started
        started += 1
        while not end.is_set():
            with suppress(asyncio.CancelledError):
                await end.wait()

    registry = health(stubborn, timeout=0.02)
    for _ in range(3):
        assert statuses(await registry.report()) == {"a": "failed"}
    assert started == 1
    end.set()
    await asyncio.sleep(0)
    assert statuses(await registry.report()) == {"a": "ok"}
    assert started == 2


async def test_check_that_cancels_itself() -> None:
    """A library that lets a cancellation escape is a failed check, not a request that ends."""

    async def cancelled() -> None:
        raise asyncio.CancelledError

    assert statuses(await health(cancelled).report()) == {"a": "failed"}


async def test_check_is_switched_off() -> None:
    """A check that was taken out is neither asked nor shown; an unknown name is refused with the known ones."""
    dependency = Dependency()
    registry = health(dependency.probe, Dependency().probe, cache=3600)
    assert statuses(await registry.report()) == {"a": "ok", "b": "ok"}
    registry.remove("a")
    assert statuses(await registry.report()) == {"b": "ok"}
    assert dependency.asked == 1
    with pytest.raises(ValueError, match="no check named 'a'; there are: b"):
        registry.remove("a")


async def test_results_serve_again() -> None:
    """Within the cache's time no dependency is asked again."""
    dependency = Dependency()
    registry = health(dependency.probe, cache=3600)
    for _ in range(3):
        await registry.report()
    assert dependency.asked == 1


async def test_results_expire() -> None:
    """After the cache's time a dependency is asked again, and its recovery is seen."""
    dependency = Dependency()
    dependency.error = OSError("refused")
    registry = health(dependency.probe, cache=0)
    assert not (await registry.report()).ready
    dependency.error = None
    assert (await registry.report()).ready


async def test_probes_at_the_same_moment_share_a_run() -> None:
    """However many ask at once, a dependency is asked once."""
    dependency = Dependency()
    registry = health(dependency.probe, cache=3600)
    reports = await asyncio.gather(*(registry.report() for _ in range(20)))
    assert dependency.asked == 1
    assert all(report.ready for report in reports)


async def test_caller_that_goes_away() -> None:
    """A caller that gives up ends no check: the next one gets what it found."""
    answer = asyncio.Event()
    asked = 0

    async def slow() -> None:
        nonlocal asked
        asked += 1
        await answer.wait()

    registry = health(slow)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await registry.report()
    answer.set()
    assert (await registry.report()).ready
    assert asked == 1


async def test_shutting_down() -> None:
    """A service that is about to stop takes no new work, at once and whatever is remembered."""
    registry = health(Dependency().probe, cache=3600)
    assert (await registry.report()).ready
    registry.shutting_down = True
    report = await registry.report()
    assert not report.ready
    assert report.document()["status"] == "shutting_down"


async def test_shutting_down_while_a_check_hangs() -> None:
    """That the service is about to stop is said at once, whatever another caller waits for."""
    registry = health(hang, timeout=3600)
    waiting = asyncio.create_task(registry.report())
    await asyncio.sleep(0)
    registry.shutting_down = True
    async with asyncio.timeout(10):
        assert not (await registry.report()).ready
    waiting.cancel()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def test_failure_is_logged_when_it_begins(log: Log) -> None:
    """A failure is one line when it begins, however often it is probed, one when it is over, and so on."""
    dependency = Dependency()
    registry = health(dependency.probe)
    for error in (OSError("refused"), OSError("refused"), None, None, OSError("again")):
        dependency.error = error
        await registry.report()
    lines = log.named("health.check_failed")
    assert [(line["level"], line["check"]) for line in lines] == [("warning", "a")] * 2
    assert [line["exception"][0]["message"] for line in lines] == ["refused", "again"]
    assert [(line["level"], line["check"]) for line in log.named("health.check_recovered")] == [("info", "a")]


def test_name_is_taken() -> None:
    """Two checks of one name would hide each other."""
    registry = health(Dependency().probe)
    with pytest.raises(ValueError, match="a check named 'a' is registered already"):
        registry.register(Check("a", Dependency().probe))


async def test_results_are_told() -> None:
    """Whoever wants to know, such as the metrics, hears of each check that ran, and of none that did not."""
    told: list[tuple[str, str]] = []
    checks = Health(timeout=1, cache=60, on_result=lambda result: told.append((result.name, result.status.value)))
    dependency = Dependency()
    dependency.error = ConnectionRefusedError()
    checks.register(Check("queue", dependency.probe))
    await checks.report()
    await checks.report()
    assert told == [("queue", "failed")]
