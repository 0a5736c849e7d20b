"""The daemon as it is put together: what it consists of, what it answers, and how it is called."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from app.adapters.idempotency_memory import MemoryIdempotencyStore
from app.bootstrap import Services, bootstrap
from app.core.errors import BrokerError
from app.daemon import __main__ as entry
from app.daemon import server
from app.daemon.application import Application
from app.daemon.configuration import DaemonSettings
from app.daemon.jobs import count_fulfilments, measure_backlog, purge_idempotency
from app.migrations import migrate_embedded
from app.orders.fulfilment import fulfil
from app.settings import ConfigurationError

from ..conftest import Log
from .in_memory import InMemorySource
from .lives import PATIENCE, living
from .parts import living as running
from .parts import parts, series, settings_in, until

CHECKS = {"daemon", "background_tasks", "broker", "database", "event_loop"}
# A machine that is busy holds up any loop.
PATIENT = {"DAEMON__LOOP_LAG_WARNING": "60", "HEALTH__TIMEOUT": "30"}
TASKS = ["loop_lag", "consumer", "outbox", "queue.measure", "orders.count", "idempotency.purge"]


@asynccontextmanager
async def tidy(folder: Path) -> AsyncIterator[Services]:
    """Lend parts with a database that is up to date."""
    settings = settings_in(folder)
    await asyncio.to_thread(migrate_embedded, settings)
    async with parts(settings) as services:
        yield services


async def test_fulfilments_are_counted(tmp_path: Path, log: Log) -> None:
    """The example of a job says how many there are."""
    async with tidy(tmp_path) as services:
        async with services.database.session() as session:
            await session.run_sync(fulfil, "A1")
            await session.run_sync(fulfil, "A2")
            await session.commit()
        assert await count_fulfilments(services) == 2
    assert [line["fulfilled"] for line in log.named("orders.counted")] == [2]


async def test_idempotency_records_are_purged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And counted."""
    async with tidy(tmp_path) as services:
        left = [3]

        async def purge(*, limit: int) -> int:
            return left.pop() if left else 0

        monkeypatch.setattr(services.idempotency_store, "purge", purge)
        await purge_idempotency(services)
        assert series(services, "idempotency_records_purged_total") == {"": 3}


async def test_a_backlog_that_is_not_known_is_no_failure() -> None:
    """The broker's loss is told by whoever lost it; any other error is one."""

    async def fail(error: Exception) -> None:
        raise error

    await measure_backlog(lambda: fail(BrokerError("away")))
    with pytest.raises(RuntimeError):
        await measure_backlog(lambda: fail(RuntimeError()))


def get(settings: DaemonSettings, path: str) -> tuple[int, str]:
    """Return the status and the body of an answer on the admin port."""
    connection = HTTPConnection("127.0.0.1", settings.admin_port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


async def test_it_answers_on_its_admin_port(tmp_path: Path, log: Log) -> None:
    """Readiness, and the series; the port is free again when it has ended."""
    settings = settings_in(tmp_path)
    await asyncio.to_thread(migrate_embedded, settings)
    app = server.observed(settings, bootstrap(settings))
    async with running(app):
        await until(lambda: log.named("daemon.ready"))
        status, body = await asyncio.to_thread(get, settings, "/readyz")
        assert status == 200
        assert {check["name"] for check in json.loads(body)["checks"]} == CHECKS - {"broker"}
        assert "event_loop_lag_seconds " in (await asyncio.to_thread(get, settings, "/metrics"))[1]
    with pytest.raises(ConnectionRefusedError):
        get(settings, "/livez")


async def test_series_can_be_hidden(tmp_path: Path, log: Log) -> None:
    """As for any service."""
    settings = settings_in(tmp_path, metrics={"enabled": False})
    async with running(server.observed(settings, bootstrap(settings))):
        await until(lambda: log.named("daemon.ready"))
        assert (await asyncio.to_thread(get, settings, "/metrics"))[0] == 404


async def test_a_port_that_is_taken_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which one, and what is allowed."""
    settings = settings_in(tmp_path)
    with socket.create_server(("127.0.0.1", settings.admin_port)):
        assert await server.observed(settings, bootstrap(settings)).run() == 1
    assert capsys.readouterr().err.startswith(f"ADMIN_PORT: received {settings.admin_port}, and nobody can listen")


@pytest.mark.parametrize("purge_interval", [0, 1])
async def test_only_what_the_database_keeps_is_purged(
    tmp_path: Path, purge_interval: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other stores forget by themselves; an interval of 0 switches it off."""
    monkeypatch.setattr("app.daemon.server.random.uniform", lambda low, high: low + (high - low) / 8)
    settings = settings_in(tmp_path, idempotency={"purge_interval": purge_interval})
    for store, expected in ((None, bool(purge_interval)), (MemoryIdempotencyStore(), False)):
        services = bootstrap(settings, idempotency_store=store)
        app = Application(settings, services)
        server._add_jobs(app, settings, services)
        assert ("idempotency.purge" in app._functions) is expected
        if expected:
            # Daemons that begin together do it one after the other.
            assert app._functions["idempotency.purge"].__self__._first == 0.625  # type: ignore[attr-defined]
        await services.aclose()


class Source(InMemorySource):
    """A queue that cannot be opened."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error
        self.is_closed = False

    async def open(self) -> None:
        """Fail."""
        raise self._error

    async def aclose(self) -> None:
        """Close."""
        self.is_closed = True


async def test_a_broker_that_is_away_does_not_end_the_start() -> None:
    """A wrong setting does; it is closed either way."""
    away, wrong = Source(BrokerError("away")), Source(ConfigurationError("wrong"))
    async with server._opened(away):
        before = away.is_closed
    with pytest.raises(ConfigurationError):
        async with server._opened(wrong):
            pass
    assert (before, away.is_closed, wrong.is_closed) == (False, True, True)


async def test_what_is_opened_in_which_order(tmp_path: Path) -> None:
    """What tells how the daemon is comes first, and goes last."""
    settings = settings_in(tmp_path)
    async with parts(settings) as services:
        app = server.compose(settings, services)
        assert [name for name, _ in app._resources] == ["admin server", "publisher", "queue"]


def test_uvloop_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own is, where not."""
    uvloop = pytest.importorskip("uvloop")
    assert server.loop_factory() is uvloop.new_event_loop
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert server.loop_factory() is None


def test_a_wrong_argument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With how it is called."""
    for arguments in (["publisch", "{}"], ["publish"], ["publish", "{}", "{}"]):
        assert entry.main(arguments) == 2
        error = capsys.readouterr().err
        assert error == f"usage: python -m app.daemon [publish '<json>']\nreceived: {' '.join(arguments)}\n"


@pytest.mark.parametrize("arguments", [[], ["publish", "{}"]])
def test_a_wrong_setting_is_one_message(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever was to be done."""
    monkeypatch.setenv("BROKER_URL", "carrier-pigeon://here")
    assert entry.main(arguments) == 1
    assert capsys.readouterr().err.count("BROKER_URL: received") == 1


def test_it_takes_care_of_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    """Spans of libraries are taken, what ends a thread is reported, and lines of the log are counted."""
    settings = settings_in(tmp_path)
    services = bootstrap(settings)
    monkeypatch.setattr(server, "bootstrap", lambda _settings: services)
    called: list[str] = []
    loops: list[str] = []
    monkeypatch.setattr(type(services.tracing), "install", lambda _self: called.append("tracing"))
    monkeypatch.setattr(type(services.metrics), "start", lambda _self: called.append("metrics"))
    monkeypatch.setattr(type(services.reporting), "watch_process", lambda _self: called.append("reporting"))

    def compose(settings: DaemonSettings, services: Services) -> Application:
        app = server.observed(settings, services)

        async def stop() -> None:
            loops.append(type(asyncio.get_running_loop()).__module__)
            app.stop()

        app.supervise("stop", stop)
        return app

    monkeypatch.setattr(server, "compose", compose)
    assert server.run(settings) == 0
    assert called == ["tracing", "reporting", "metrics"]
    assert loops == ["asyncio.unix_events" if server.loop_factory() is None else "uvloop"]
    assert series(services, "log_records_total")['level="info"'] >= 2
    assert log.named("daemon.starting") == []


def test_it_is_one_process_from_start_to_stop(tmp_path: Path) -> None:
    """With the embedded database and queue: it begins all of its tasks, is ready, and stops without an error."""
    with living(tmp_path, "-m", "app.daemon", **PATIENT) as life:
        assert life.wait_for("daemon.ready")["tasks"] == TASKS
        life.until(lambda: life.ask("/readyz")[0] == 200)
        checks: list[dict[str, Any]] = json.loads(life.ask("/readyz")[1])["checks"]
        assert {check["name"] for check in checks} == CHECKS
        assert life.end(signal.SIGTERM) == 0
        assert not [line for line in life.events if line["level"] not in ("info", "debug")]


def test_a_message_that_is_published_is_handled(tmp_path: Path) -> None:
    """By the daemon in the same folder."""
    with living(tmp_path, "-m", "app.daemon") as life:
        life.wait_for("daemon.ready")
        text = '{"id": "m1", "type": "order.placed", "data": {"order_id": "A1"}}'
        with living(tmp_path, "-m", "app.daemon", "publish", text, log="published") as publishing:
            assert publishing.popen.wait(PATIENCE) == 0
            assert publishing.output.strip().endswith("m1")
        assert life.wait_for("order.fulfilled")["order_id"] == "A1"
        assert life.end(signal.SIGTERM) == 0


def test_a_database_that_cannot_be_opened_is_one_message(tmp_path: Path) -> None:
    """And no traceback."""
    with living(tmp_path, "-m", "app.daemon", DATABASE_URL="sqlite:////proc/nowhere/app.db") as life:
        assert life.popen.wait(PATIENCE) == 1
        assert life.output.count("DATABASE_URL: received") == 1
        assert "Traceback" not in life.output
