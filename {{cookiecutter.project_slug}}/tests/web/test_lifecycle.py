"""What happens in a process that serves, before its first request and after its last."""

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.adapters.idempotency_purge import purge_expired_sync, purge_regularly_sync
from app.adapters.reporting import ErrorReporting
from app.core.idempotency_errors import IdempotencyStoreError
from app.settings_groups import IdempotencySettings
from app.web import lifecycle
from app.web.bootstrap import Services
from app.web.lifecycle import migrate_embedded, running

from ..conftest import Log

PATIENCE = 30


class Store:
    """A store with records that are over.

    Args:
        over: How many, or what goes wrong, each time.

    """

    def __init__(self, *over: int | Exception) -> None:
        self.left = list(over)
        self.is_empty = threading.Event()

    @property
    def transactional(self) -> bool:
        """Whether it keeps records that nobody else deletes."""
        return True

    def purge(self, *, limit: int) -> int:
        """Delete some."""
        if not self.left:
            self.is_empty.set()
            return 0
        over = self.left.pop(0)
        if isinstance(over, Exception):
            raise over
        return over


@pytest.fixture
def migrated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return which databases were migrated, instead of doing it."""
    found: list[str] = []
    monkeypatch.setattr(lifecycle, "migrate_embedded", lambda settings: found.append(settings.database_url))
    return found


def purging(services: Services, store: Any, *, interval: float = 0.01) -> Services:
    """Return the parts of a service that purges a store."""
    options = IdempotencySettings.model_construct(**{**dict(services.settings.idempotency), "purge_interval": interval})
    settings = services.settings.model_copy(update={"idempotency": options})
    return replace(services, settings=settings, idempotency_store=store)


def test_life(services: Services, migrated: list[str], log: Log) -> None:
    """A service says when it begins and when it is over, and its schema is made before."""
    with running(services):
        assert [line["event"] for line in log.events] == ["service.started"]
    assert [line["event"] for line in log.events] == ["service.started", "service.stopped"]
    assert migrated == [services.settings.database_url]


def test_start_that_fails(services: Services, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    """A service that cannot start says why once, reports it, and closes what was opened."""
    reported: list[str] = []
    closed: list[bool] = []

    def fail(_settings: object) -> None:
        msg = "no table"
        raise RuntimeError(msg)

    monkeypatch.setattr(lifecycle, "migrate_embedded", fail)
    monkeypatch.setattr(ErrorReporting, "report", lambda _self, error, *_, **__: reported.append(str(error)))
    monkeypatch.setattr(Services, "close", lambda _self: closed.append(True))
    with pytest.raises(RuntimeError, match="no table"), running(services):
        pytest.fail("it runs")
    assert [line["event"] for line in log.events if "exception" in line] == ["service.failed"]
    assert log.events[-1]["event"] == "service.stopped"
    assert (reported, closed) == (["no table"], [True])


def test_purge(services: Services, migrated: list[str], log: Log) -> None:
    """Records that are over are deleted while the service runs, counted, and no longer when it is over."""
    store = Store(3)
    with running(purging(services, store)):
        assert store.is_empty.wait(PATIENCE)
    assert log.named("idempotency.purged")[0]["records"] == 3
    assert b"idempotency_records_purged_total 3" in services.metrics.render()
    assert [thread.name for thread in threading.enumerate() if thread.name == "purge"] == []


@pytest.mark.parametrize(("interval", "transactional"), [(0.0, True), (0.01, False)])
def test_nothing_to_purge(services: Services, migrated: list[str], interval: float, transactional: bool) -> None:
    """Whoever wants it done elsewhere, or has a store that forgets by itself, has no thread for it."""
    store = SimpleNamespace(transactional=transactional)
    with running(purging(services, store, interval=interval)):
        assert [thread.name for thread in threading.enumerate() if thread.name == "purge"] == []


def test_purge_that_fails(log: Log) -> None:
    """A failure is logged when it begins, not at every attempt, and again when it comes back."""
    failure = IdempotencyStoreError("down")
    store, stopped, purged = Store(failure, failure, 2, failure), threading.Event(), []

    def note(records: int) -> None:
        purged.append(records)
        if store.is_empty.is_set():
            stopped.set()

    purge_regularly_sync(store, interval=0.001, on_purged=note, stopped=stopped)  # type: ignore[arg-type] # enough
    assert len(log.named("idempotency.purge_failed")) == 2
    assert purged == [2, 0]


def test_purge_in_steps() -> None:
    """Many records are deleted step by step, as many steps as one time may take."""
    assert purge_expired_sync(Store(5, 5, 2), batch=5) == 12  # type: ignore[arg-type] # enough of a store
    assert purge_expired_sync(Store(5, 5, 2), batch=5, batches=2) == 10  # type: ignore[arg-type]


def test_embedded_database(services: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The embedded database is brought to the current schema, in a folder that need not be there."""
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(lifecycle, "call_command", lambda *command, **_: asked.append(command))
    url = f"sqlite:///{tmp_path}/new/folder/app.db"
    migrate_embedded(services.settings.model_copy(update={"database_url": url}))
    assert asked == [("migrate",)]
    assert (tmp_path / "new" / "folder").is_dir()
    migrate_embedded(services.settings.model_copy(update={"database_url": "postgresql://user@host/orders"}))
    assert asked == [("migrate",)]


def test_one_at_a_time(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of workers that start together one migrates after the other."""
    inside = threading.Semaphore()
    together: list[bool] = []

    def migrate(*_: object, **__: object) -> None:
        together.append(not inside.acquire(blocking=False))
        threading.Event().wait(0.05)
        inside.release()

    monkeypatch.setattr(lifecycle, "call_command", migrate)
    threads = [threading.Thread(target=migrate_embedded, args=(services.settings,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert together == [False] * 3


def test_libraries_and_crashes_are_heard(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans of libraries lead to the service's tracing, and what ends the process is reported, from the start on."""
    attached: list[str] = []
    monkeypatch.setattr(type(services.tracing), "install", lambda _: attached.append("tracing"))
    monkeypatch.setattr(ErrorReporting, "watch_process", lambda _: attached.append("reporting"))
    monkeypatch.setattr(lifecycle, "migrate_embedded", lambda _: None)
    with running(services):
        assert attached == ["tracing", "reporting"]
