"""A daemon's life: what is opened and closed in which order, and how its tasks end."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.adapters.logging import configure_logging
from app.bootstrap import Services, bootstrap
from app.core.health import Status
from app.daemon.application import Application
from app.serving.stopping import Stop
from app.settings import ConfigurationError

from ..conftest import Log
from .parts import PATIENCE, living, settings_in, until


def application(folder: Path, *, stop: Stop | None = None, **overrides: Any) -> tuple[Application, Services]:
    """Return a daemon that does nothing, and its parts."""
    settings = settings_in(folder, **overrides)
    services = bootstrap(settings)
    return Application(settings, services, stop=stop), services


class Told(list[str]):
    """What happened, in order."""

    @asynccontextmanager
    async def resource(
        self, name: str, *, opening: Exception | None = None, closing: Exception | None = None
    ) -> AsyncIterator[None]:
        """Tell when it is opened and closed, unless that fails."""
        if opening is not None:
            raise opening
        self.append(f"open {name}")
        try:
            yield
        finally:
            self.append(f"close {name}")
        if closing is not None:
            raise closing

    async def wait(self) -> None:
        """Run until cancelled."""
        self.append("task begins")
        try:
            await asyncio.Event().wait()
        finally:
            self.append("task ends")


async def test_everything_is_opened_in_order_and_closed_in_reverse(tmp_path: Path, log: Log) -> None:
    """The tasks run in between; what is drained is so while they run."""
    app, services = application(tmp_path)
    told = Told()
    closed = services.database.aclose

    async def aclose() -> None:
        told.append("close services")
        await closed()

    services.database.aclose = aclose  # type: ignore[method-assign]
    app.use("one", told.resource("one"))
    app.use("two", told.resource("two"))
    app.supervise("task", told.wait)

    async def drain() -> None:
        told.append("drain")

    app.before_stop(drain)
    async with living(app) as running:
        await until(lambda: "task begins" in told)
        app.stop()
        assert services.health.shutting_down
        assert await running == 0
    expected = ["open one", "open two", "task begins", "drain", "task ends", "close two", "close one", "close services"]
    assert told == expected
    events = [line["event"] for line in log.events]
    assert events == ["daemon.starting", "daemon.ready", "daemon.stopping", "daemon.stopped"]
    assert log.named("daemon.ready")[0]["tasks"] == ["task"]
    assert log.named("daemon.stopped")[0]["exit_code"] == 0


async def test_a_start_that_fails_closes_what_was_opened(tmp_path: Path, log: Log) -> None:
    """One line says what could not be opened, and why; no task begins."""
    app, _ = application(tmp_path)
    told = Told()
    app.use("one", told.resource("one"))
    app.use("broken", told.resource("broken", opening=OSError("no such place")))
    app.use("three", told.resource("three"))
    app.supervise("task", told.wait)
    assert await app.run() == 1
    assert told == ["open one", "close one"]
    (line,) = [line for line in log.events if line["level"] not in ("info", "debug")]
    assert (line["event"], line["opening"], line["level"]) == ("daemon.failed", "broken", "error")
    assert line["exception"][0]["message"] == "no such place"
    assert log.named("daemon.stopped")[0]["exit_code"] == 1


async def test_a_start_that_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before what reports is closed."""
    app, services = application(tmp_path)
    told = Told()
    monkeypatch.setattr(services.reporting, "report", lambda error, *_, **__: told.append(str(error)))
    close = services.reporting.close
    monkeypatch.setattr(services.reporting, "close", lambda: told.append("close") or close())  # type: ignore[func-returns-value]
    app.use("broken", told.resource("broken", opening=OSError("no such place")))
    assert await app.run() == 1
    assert told == ["no such place", "close"]


async def test_a_setting_that_is_wrong_is_one_message(
    tmp_path: Path, log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, and no error in the log."""
    app, _ = application(tmp_path)
    told = Told()
    app.use("one", told.resource("one"))
    app.use("broken", told.resource("broken", opening=ConfigurationError("BROKER_URL: received nothing")))
    assert await app.run() == 1
    assert told == ["open one", "close one"]
    assert capsys.readouterr().err == "BROKER_URL: received nothing\n"
    assert {line["level"] for line in log.events} == {"info"}


async def test_a_start_that_takes_long_can_be_stopped(tmp_path: Path, log: Log) -> None:
    """What was opened is closed, and it is no failure."""
    app, _ = application(tmp_path)
    told = Told()
    waiting = asyncio.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        waiting.set()
        await asyncio.Event().wait()
        yield

    @asynccontextmanager
    async def first() -> AsyncIterator[None]:
        yield
        task = asyncio.current_task()
        # What is closed may wait, as nobody cancels it any more.
        assert task is not None
        told.append(f"cancelled {task.cancelling()} times")

    app.use("first", first())
    app.use("one", told.resource("one"))
    app.use("slow", slow())
    app.supervise("task", told.wait)
    async with living(app) as running:
        await waiting.wait()
        app.stop()
        async with asyncio.timeout(PATIENCE):
            assert await running == 0
    assert told == ["open one", "close one", "cancelled 0 times"]
    assert [line["event"] for line in log.events] == ["daemon.starting", "daemon.stopping", "daemon.stopped"]


async def test_a_start_that_is_cancelled_stays_cancelled(tmp_path: Path) -> None:
    """By somebody else than a signal; what was opened is closed all the same."""
    app, _ = application(tmp_path)
    told = Told()
    waiting = asyncio.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        waiting.set()
        await asyncio.Event().wait()
        yield

    app.use("one", told.resource("one"))
    app.use("slow", slow())
    running = asyncio.create_task(app.run())
    await waiting.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert told == ["open one", "close one"]


async def test_what_opens_by_cancelled_work_has_failed(tmp_path: Path, log: Log) -> None:
    """It is no stop, and the tasks do not begin without it."""
    app, _ = application(tmp_path)
    told = Told()
    app.use("broken", told.resource("broken", opening=asyncio.CancelledError()))  # type: ignore[arg-type]
    app.supervise("task", told.wait)
    assert await app.run() == 1
    assert told == []
    assert log.named("daemon.failed")[0]["opening"] == "broken"


async def test_what_cannot_be_closed_keeps_nothing_open(tmp_path: Path, log: Log) -> None:
    """It is told, and the daemon has stopped all the same."""
    app, _ = application(tmp_path)
    told = Told()
    app.use("one", told.resource("one"))
    app.use("two", told.resource("two", closing=OSError("gone")))
    async with living(app) as running:
        await until(lambda: log.named("daemon.ready"))
        app.stop()
        assert await running == 0
    assert told[-2:] == ["close two", "close one"]
    assert [line["resource"] for line in log.named("daemon.not_closed")] == ["two"]


async def test_one_task_that_crashes_leaves_the_others_alone(tmp_path: Path, log: Log) -> None:
    """It begins again, and the check says so when it does it too often."""
    app, services = application(tmp_path, daemon={"max_crashes": 2}, health={"cache": 0})
    told = Told()

    async def crash() -> None:
        msg = "broken"
        raise RuntimeError(msg)

    app.supervise("steady", told.wait)
    app.supervise("broken", crash)
    async with living(app):
        await until(lambda: log.named("background_task.given_up"))
        assert told == ["task begins"]
        found = {check.name: check.status for check in (await services.health.report()).checks}
        assert found["background_tasks"] is Status.FAILED
        assert found["daemon"] is Status.OK


async def test_it_is_not_ready_before_everything_is_open(tmp_path: Path) -> None:
    """Its health says so."""
    app, services = application(tmp_path, health={"cache": 0})
    found: list[Status] = []

    @asynccontextmanager
    async def look() -> AsyncIterator[None]:
        found.extend(check.status for check in (await services.health.report()).checks if check.name == "daemon")
        yield

    app.use("look", look())
    async with living(app):
        await until(lambda: found)
    assert found == [Status.FAILED]


async def test_what_is_not_drained_in_time_is_cancelled(tmp_path: Path, log: Log) -> None:
    """So that there is time to close the rest; each of them had all of the time, and one that fails is told."""
    app, _ = application(tmp_path, shutdown_timeout=0.3)
    told = Told()

    async def fail() -> None:
        msg = "broken"
        raise RuntimeError(msg)

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append("cancelled")

    async def end() -> None:
        told.append("drained")

    app.use("one", told.resource("one"))
    for function in (fail, hang, end):
        app.before_stop(function)
    async with living(app) as running:
        await until(lambda: log.named("daemon.ready"))
        app.stop()
        assert await running == 0
    assert told == ["open one", "drained", "cancelled", "close one"]
    assert [line["timeout"] for line in log.named("daemon.not_drained")] == [0.3]
    assert len(log.named("daemon.drain_failed")) == 1


async def test_jobs_run_as_long_as_it_does(tmp_path: Path) -> None:
    """At their first time, and then by their interval; none begins while it is drained."""
    app, _ = application(tmp_path)
    begun = Told()

    async def often() -> None:
        begun.append("often")

    async def soon() -> None:
        begun.append("soon")

    async def drain() -> None:
        before = len(begun)
        await asyncio.sleep(0.2)
        assert len(begun) == before
        begun.append("drained")

    app.periodically("often", often, interval=0.01)
    app.periodically("soon", soon, interval=1000.0, first=0.0)
    app.periodically("later", asyncio.Event().wait, interval=1000.0)
    app.before_stop(drain)
    async with living(app):
        await until(lambda: begun.count("often") >= 3 and "soon" in begun)
    assert begun[-1] == "drained"


async def test_each_task_has_a_name_of_its_own(tmp_path: Path) -> None:
    """Whether it is a job or not."""
    app, services = application(tmp_path)
    app.supervise("task", asyncio.Event().wait)
    with pytest.raises(ValueError, match="a background task named 'task' is there already"):
        app.periodically("task", asyncio.Event().wait, interval=1.0)
    await services.aclose()


async def test_it_may_be_stopped_before_it_runs(tmp_path: Path) -> None:
    """Then it opens nothing."""
    app, _ = application(tmp_path)
    told = Told()
    app.use("one", told.resource("one"))
    app.stop()
    assert await app.run() == 0
    assert told == []
    # And when it has ended.
    app.stop()


def test_it_runs_in_a_thread(tmp_path: Path, log: Log) -> None:
    """Where there are no signals: another thread stops it, twice, and nobody's handlers were touched."""
    before = signal.getsignal(signal.SIGTERM)
    ended: list[int] = []
    app, _ = application(tmp_path)
    told = Told()
    app.supervise("task", told.wait)
    thread = threading.Thread(target=lambda: ended.append(asyncio.run(app.run())))
    thread.start()

    async def ready() -> None:
        await until(lambda: "task begins" in told)

    asyncio.run(ready())
    assert signal.getsignal(signal.SIGTERM) is before
    app.stop()
    app.stop()
    thread.join(PATIENCE)
    assert ended == [0]
    assert log.named("daemon.stopping")[0]["signal"] is None


async def test_errors_that_nobody_waits_for_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it runs."""
    app, services = application(tmp_path)
    configure_logging(services.settings, sink=lambda _line: None)
    reported: list[str] = []
    monkeypatch.setattr(services.reporting, "report", lambda error, *_, **__: reported.append(str(error)))

    def fail() -> None:
        msg = "nobody waits"
        raise RuntimeError(msg)

    async def task() -> None:
        asyncio.get_running_loop().call_soon(fail)

    app.supervise("task", task)
    async with living(app):
        await until(lambda: reported)
    assert reported == ["nobody waits"]
