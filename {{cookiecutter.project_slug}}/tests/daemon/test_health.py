"""Whether a daemon may receive work, also while its event loop is held up."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from app.core.health import Check, Report, Status
from app.daemon.health import Readiness
from app.daemon.loop_lag import LoopLag

from ..conftest import Log
from .parts import PATIENCE, eventually, parts, settings_in, until

Ask = Callable[[], Report]


@asynccontextmanager
async def asked(folder: Path, *checks: Check, seconds: float = 0.3) -> AsyncIterator[tuple[Readiness, LoopLag]]:
    """Lend what answers, with a loop that is measured."""
    settings = settings_in(folder, health={"timeout": seconds, "cache": 0})
    async with parts(settings) as services:
        for check in checks:
            services.health.register(check)
        lag = LoopLag(0.1)
        measuring = asyncio.create_task(lag.run())
        await until(lambda: lag._due < float("inf"))
        yield Readiness(services.health, asyncio.get_running_loop(), lag), lag
        measuring.cancel()
        await asyncio.wait({measuring})


def statuses(report: Report) -> dict[str, Status]:
    """Return what each check found."""
    return {check.name: check.status for check in report.checks}


async def is_ready(readiness: Readiness) -> bool:
    """Return whether the daemon may receive work."""
    return (await ask(readiness)).ready


async def ask(readiness: Readiness) -> Report:
    """Ask in another thread, as the server's are."""
    return await asyncio.to_thread(readiness.ready)


async def test_another_thread_gets_an_answer(tmp_path: Path) -> None:
    """Of all checks, the loop's own included."""
    async with asked(tmp_path) as (readiness, _):
        (tmp_path / "test.db").touch()
        report = await ask(readiness)
    assert report.ready
    assert statuses(report) == {"database": Status.OK, "event_loop": Status.OK}


async def test_a_loop_that_is_held_up_is_a_failure(tmp_path: Path, log: Log) -> None:
    """Told while it lasts, once, with what holds it up; the others are as they were, and then it is over."""
    (tmp_path / "test.db").touch()
    async with asked(tmp_path) as (readiness, _):
        shown: list[tuple[str, Status]] = []
        readiness._health._on_result = lambda result: shown.append((result.name, result.status))
        assert (await ask(readiness)).ready
        with ThreadPoolExecutor(1) as threads:
            asking = threads.submit(lambda: [readiness.ready(), readiness.ready()])
            # The loop is held up until both were answered.
            first, second = asking.result(PATIENCE)
        for report in (first, second):
            assert not report.ready
            assert statuses(report) == {"database": Status.OK, "event_loop": Status.FAILED}
        (failure,) = log.named("health.check_failed")
        assert failure["check"] == "event_loop"
        assert "it does: " in failure["exception"][0]["message"]
        assert "wait (" in failure["exception"][0]["message"]
        # For the metrics: before it was held up, and at least once since.
        assert [status for name, status in shown if name == "event_loop"][:2] == [Status.OK, Status.FAILED]
        await eventually(lambda: is_ready(readiness))
    assert [line["check"] for line in log.named("health.check_recovered")] == ["event_loop"]


async def test_a_loop_that_was_held_up_for_long_is_told_at_once(tmp_path: Path) -> None:
    """Nobody has to wait for the whole of a check's time once more."""
    (tmp_path / "test.db").touch()
    async with asked(tmp_path, seconds=60.0) as (readiness, lag):
        # As it is when the loop was to answer long ago.
        lag._due = time.monotonic() - 60.0
        began = time.monotonic()
        report = readiness.ready()
        assert time.monotonic() - began < 30.0
        # What was begun meanwhile comes to its end.
        await eventually(lambda: is_ready(readiness))
    assert statuses(report)["event_loop"] is Status.FAILED


async def test_a_check_that_is_slow_is_not_the_loop(tmp_path: Path) -> None:
    """It has its time, and the answer names it."""
    (tmp_path / "test.db").touch()
    slow = Check("slow", asyncio.Event().wait)  # type: ignore[arg-type]
    async with asked(tmp_path, slow) as (readiness, _):
        report = await ask(readiness)
    assert statuses(report) == {"database": Status.OK, "slow": Status.FAILED, "event_loop": Status.OK}


async def test_a_daemon_that_stops_asks_nobody(tmp_path: Path, log: Log) -> None:
    """It answers at once, even while its loop is held up, which is no failure any more."""
    async with asked(tmp_path) as (readiness, _):
        readiness._health.shutting_down = True
        assert readiness.ready().status is Status.SHUTTING_DOWN
    assert log.named("health.check_failed") == []


async def test_a_loop_that_has_ended_is_not_asked(tmp_path: Path) -> None:
    """A thread of the server may be later than the end."""
    async with asked(tmp_path) as (readiness, _):
        found: list[Readiness] = [readiness]

    def run() -> None:
        loop = asyncio.new_event_loop()
        loop.close()
        found[0]._loop = loop

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found[0].ready().status is Status.SHUTTING_DOWN
