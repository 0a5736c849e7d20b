"""Periodic jobs: at their times, never two at once, whatever becomes of one."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.adapters.daemon_metrics import DaemonMetrics
from app.bootstrap import Services
from app.daemon.periodic import PeriodicJob

from ..conftest import Log
from .parts import parts, series, settings_in, until


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    """Return what a daemon works with."""
    async with parts(settings_in(tmp_path)) as services:
        yield services


@asynccontextmanager
async def job(
    services: Services, function: Callable[[], Awaitable[Any]], interval: float, **options: Any
) -> AsyncIterator["asyncio.Task[None]"]:
    """Run a job within the block."""
    one = PeriodicJob(
        "job", function, interval=interval, services=services, metrics=DaemonMetrics(services.metrics), **options
    )
    running = asyncio.create_task(one.run())
    try:
        yield running
    finally:
        running.cancel()
        await asyncio.wait({running})


def runs(services: Services) -> Counter[str]:
    """Return how often a run came to which outcome."""
    found = series(services, "periodic_job_runs_total")
    return Counter({labels.partition('outcome="')[2].strip('"'): int(count) for labels, count in found.items()})


async def test_it_runs_at_its_times(services: Services) -> None:
    """Each run is on the grid that begins with the first one, however long the runs take."""
    begun: list[float] = []

    async def act() -> None:
        begun.append(time.monotonic())
        await asyncio.sleep(0.02)

    async with job(services, act, 0.1, first=0.0):
        await until(lambda: len(begun) == 6)
    # A machine that is busy wakes it late, or makes it skip a turn: none is early, and no delay adds to another.
    turns = [round((moment - begun[0]) / 0.1) for moment in begun]
    assert turns == sorted(set(turns))
    assert all(moment - begun[0] > turn * 0.1 - 0.05 for moment, turn in zip(begun, turns, strict=True))


async def test_the_first_run_is_after_the_interval(services: Services) -> None:
    """Unless something else was said."""
    async with job(services, asyncio.Event().wait, 1000.0) as running:
        await asyncio.sleep(0.05)
        assert not running.done()
        assert series(services, "periodic_job_duration_seconds_count") == {}
    assert runs(services) == {"success": 0, "failure": 0, "interrupted": 0, "skipped": 0}


async def test_runs_do_not_overlap(services: Services, log: Log) -> None:
    """Those that had begun while another one took too long are skipped, counted, and told."""
    active, most = 0, 0

    async def act() -> None:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await asyncio.sleep(0.12)
        active -= 1

    async with job(services, act, 0.05):
        await until(lambda: runs(services)["success"] >= 2)
        await until(lambda: len(log.named("periodic_job.skipped")) >= 2)
    assert most == 1
    skipped = log.named("periodic_job.skipped")
    assert runs(services)["skipped"] == sum(line["runs"] for line in skipped) >= 4
    assert {line["job"] for line in skipped} == {"job"}


async def test_a_run_that_fails_does_not_end_the_job(services: Services, log: Log) -> None:
    """It is logged with its error, reported and counted, and the next one comes."""
    count = 0

    async def act() -> None:
        nonlocal count
        count += 1
        if count < 3:
            msg = "broken"
            raise RuntimeError(msg)

    async with job(services, act, 0.01):
        await until(lambda: runs(services)["success"] >= 1)
    assert runs(services)["failure"] == 2
    failures = log.named("periodic_job.failed")
    assert [line["job"] for line in failures] == ["job", "job"]
    assert failures[0]["exception"][0]["type"] == "RuntimeError"
    # Each run has a trace of its own.
    assert len({line["trace_id"] for line in failures}) == 2


async def test_a_failure_is_reported(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the job's name."""
    operations: list[str | None] = []
    monkeypatch.setattr(
        services.reporting, "report", lambda _error, context, *, in_log: operations.append(context.operation)
    )

    async def act() -> None:
        msg = "broken"
        raise RuntimeError(msg)

    async with job(services, act, 0.01):
        await until(lambda: operations)
    assert operations[0] == "periodic_job.job"


async def test_a_cancelled_future_does_not_end_the_job(services: Services) -> None:
    """It counts as a failure: the job itself was not cancelled."""

    async def act() -> None:
        raise asyncio.CancelledError

    async with job(services, act, 0.01) as running:
        await until(lambda: runs(services)["failure"] >= 2)
        assert not running.done()


async def test_a_run_is_cancelled_with_the_job(services: Services, log: Log) -> None:
    """That is counted, and no failure."""
    begun = asyncio.Event()

    async def act() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with job(services, act, 0.01) as running:
        await begun.wait()
    assert running.cancelled()
    assert runs(services) == {"success": 0, "failure": 0, "interrupted": 1, "skipped": 0}
    assert log.named("periodic_job.failed") == []


async def test_no_run_begins_when_the_daemon_stops(services: Services) -> None:
    """The job is done then."""
    begun: list[int] = []

    async def act() -> None:
        begun.append(1)

    async with job(services, act, 0.01, stopping=lambda: len(begun) == 2) as running:
        await until(running.done)
    assert len(begun) == 2


@pytest.mark.parametrize("interval", [0, -1, float("nan")])
async def test_an_interval_is_above_zero(services: Services, interval: float) -> None:
    """The error says what was received and what is allowed."""
    with pytest.raises(ValueError, match=rf"'job': received the interval {interval}; allowed: seconds above 0"):
        async with job(services, asyncio.Event().wait, interval):
            pass
