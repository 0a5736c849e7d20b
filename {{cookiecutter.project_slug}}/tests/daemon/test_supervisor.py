"""Background tasks: what becomes of one that crashes, of the others, and of the daemon's health."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.adapters.daemon_metrics import DaemonMetrics
from app.bootstrap import Services
from app.core.supervision import RestartPolicy
from app.daemon.configuration import DaemonGroup
from app.daemon.supervisor import BackgroundTasksError, Supervisor, restart_policy

from ..conftest import Log
from .parts import eventually, parts, series, settings_in, until

AT_ONCE = RestartPolicy(backoff=0.001, backoff_max=0.002, max_crashes=3, crash_window=60.0)


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    """Return what a daemon works with."""
    async with parts(settings_in(tmp_path)) as services:
        yield services


def supervisor_of(services: Services, policy: RestartPolicy = AT_ONCE) -> Supervisor:
    """Return a supervisor."""
    return Supervisor(policy, metrics=DaemonMetrics(services.metrics), reporting=services.reporting)


class Task:
    """Crashes some times, and returns or goes on then."""

    def __init__(self, crashes: int, *, error: BaseException | None = None, goes_on: bool = False) -> None:
        self.begun = 0
        self.goes_on = goes_on
        self._crashes = crashes
        self._error = error or RuntimeError("broken")

    async def run(self) -> None:
        """Begin."""
        self.begun += 1
        if self.begun <= self._crashes:
            raise self._error
        if self.goes_on:
            await asyncio.Event().wait()


async def test_a_task_that_returns_is_done(services: Services) -> None:
    """It does not begin again."""
    task = Task(0)
    await supervisor_of(services).keep_running("done", task.run)
    assert task.begun == 1
    assert series(services, "background_task_up") == {'task="done"': 1}


async def test_a_crashed_task_begins_again(services: Services, log: Log) -> None:
    """Each crash is counted, logged with its error, and reported."""
    task = Task(2)
    await supervisor_of(services).keep_running("shaky", task.run)
    assert task.begun == 3
    assert series(services, "background_task_crashes_total") == {'task="shaky"': 2}
    crashes = log.named("background_task.crashed")
    assert [(line["task"], line["crashes"], line["level"]) for line in crashes] == [
        ("shaky", 1, "error"),
        ("shaky", 2, "error"),
    ]
    assert crashes[0]["exception"][0]["type"] == "RuntimeError"
    assert crashes[0]["restart_in"] <= AT_ONCE.backoff


async def test_a_crash_is_reported(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the task's name, as any other error is."""
    reported: list[tuple[BaseException, str | None]] = []
    monkeypatch.setattr(
        services.reporting, "report", lambda error, context, *, in_log: reported.append((error, context.operation))
    )
    error = RuntimeError("broken")
    await supervisor_of(services).keep_running("shaky", Task(1, error=error).run)
    assert reported == [(error, "background_task.shaky")]


async def test_a_task_that_keeps_crashing_fails_the_check(services: Services, log: Log) -> None:
    """It is given up once, begins again all the same, and is named until it has run for long."""
    supervisor = supervisor_of(services)
    task = Task(10, goes_on=True)
    await supervisor.check()
    running = asyncio.create_task(supervisor.keep_running("broken", task.run))
    await until(lambda: task.begun == 11, "the last restart")
    with pytest.raises(BackgroundTasksError, match=r"more than 3 times in 60 s: broken$"):
        await supervisor.check()
    assert [line["crashes"] for line in log.named("background_task.given_up")] == [4]
    running.cancel()
    await asyncio.wait({running})


async def test_a_task_that_has_run_for_long_passes_the_check(services: Services) -> None:
    """The window is as long as a crash counts."""
    supervisor = supervisor_of(services, RestartPolicy(0.001, 0.002, max_crashes=1, crash_window=0.2))
    task = Task(3, goes_on=True)
    running = asyncio.create_task(supervisor.keep_running("mended", task.run))
    await until(lambda: task.begun == 4, "the last restart")

    async def passes() -> bool:
        try:
            await supervisor.check()
        except BackgroundTasksError:
            return False
        return True

    assert not await passes()
    await eventually(passes)
    assert not running.done()
    running.cancel()
    await asyncio.wait({running})


async def test_a_task_that_is_done_at_last_passes_the_check(services: Services, log: Log) -> None:
    """However often it crashed before: it crashes no more."""
    supervisor = supervisor_of(services)
    await supervisor.keep_running("done", Task(5).run)
    assert len(log.named("background_task.given_up")) == 1
    await supervisor.check()


async def test_a_task_between_two_runs_is_not_up(services: Services) -> None:
    """The series says so until it begins again."""
    supervisor = supervisor_of(services, RestartPolicy(1000.0, 1000.0))
    running = asyncio.create_task(supervisor.keep_running("down", Task(1).run))
    await until(lambda: series(services, "background_task_up") == {'task="down"': 0}, "the crash")
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()


async def test_a_task_that_is_cancelled_ends(services: Services, log: Log) -> None:
    """It is no crash."""
    task = Task(0, goes_on=True)
    running = asyncio.create_task(supervisor_of(services).keep_running("task", task.run))
    await until(lambda: task.begun)
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    assert log.named("background_task.crashed") == []


async def test_a_cancelled_future_does_not_end_a_task(services: Services, log: Log) -> None:
    """What it waits for may be cancelled by somebody else; the task itself was not, and begins again."""
    task = Task(1, error=asyncio.CancelledError())
    await supervisor_of(services).keep_running("task", task.run)
    assert task.begun == 2
    (crash,) = log.named("background_task.crashed")
    assert crash["exception"][0]["type"].endswith(".LeakedCancellationError")


def test_the_settings_say_what_is_allowed() -> None:
    """Each by its own name."""
    group = DaemonGroup(restart_backoff=1, restart_backoff_max=2, max_crashes=3, crash_window=4)
    assert restart_policy(group) == RestartPolicy(backoff=1, backoff_max=2, max_crashes=3, crash_window=4)
