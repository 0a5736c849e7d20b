"""How long the event loop was held up: in the gauge and, above the limit, in the log."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Thread

import pytest

from app.adapters.daemon_metrics import DaemonMetrics
from app.bootstrap import Services
from app.daemon.loop_lag import LoopLag

from ..conftest import Log
from .parts import parts, series, settings_in, until


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    """Return what a daemon works with."""
    async with parts(settings_in(tmp_path)) as services:
        yield services


@asynccontextmanager
async def measured(services: Services, limit: float) -> AsyncIterator[LoopLag]:
    """Measure within the block."""
    lag = LoopLag(limit)
    DaemonMetrics(services.metrics).watch_loop(lag.highest)
    running = asyncio.create_task(lag.run())
    await until(lambda: lag._due < float("inf"))
    try:
        yield lag
    finally:
        running.cancel()
        await asyncio.wait({running})


def block(seconds: float) -> None:
    """Hold the loop up."""
    time.sleep(seconds)


async def test_a_loop_that_is_held_up_shows(services: Services, log: Log) -> None:
    """In the gauge from then on, and in one warning."""
    async with measured(services, 0.2):
        block(0.6)
        await until(lambda: log.named("event_loop.blocked"))
        assert series(services, "event_loop_lag_seconds")[""] >= 0.5
    (warning, *_) = log.named("event_loop.blocked")
    assert warning["level"] == "warning"
    assert warning["seconds"] >= 0.5
    assert (warning["limit"], warning["times"]) == (0.2, 1)


async def test_a_lag_below_the_limit_is_no_warning(services: Services, log: Log) -> None:
    """The gauge has it all the same."""
    async with measured(services, 3600.0) as lag:
        lag._pause = 0.01
        block(LoopLag(3600.0)._pause + 0.2)
        await until(lambda: series(services, "event_loop_lag_seconds")[""] >= 0.15)
    assert log.named("event_loop.blocked") == []


async def test_other_threads_see_it_while_it_lasts(services: Services) -> None:
    """How long it has lasted, and what the loop's thread does."""
    found: list[tuple[float, float, str]] = []
    async with measured(services, 0.05) as lag:

        def look() -> None:
            time.sleep(0.4)
            found.append((lag.now(), series(services, "event_loop_lag_seconds")[""], lag.where()))

        other = Thread(target=look)
        other.start()
        # Until the other one has looked.
        other.join()
    ((now, gauge, where),) = found
    assert gauge >= now >= 0.3
    assert "test_other_threads_see_it_while_it_lasts (" in where


async def test_nothing_is_held_up_when_nobody_measures(services: Services) -> None:
    """Before it begins, and after it has ended."""
    lag = LoopLag(0.05)
    assert (lag.now(), lag.highest(), lag.where()) == (0, 0, "")
    running = asyncio.create_task(lag.run())
    await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.wait({running})
    await asyncio.sleep(0.1)
    assert lag.now() == 0
