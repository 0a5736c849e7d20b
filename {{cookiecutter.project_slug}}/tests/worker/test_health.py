"""Readiness of a worker: its consumer, the broker, the database and Redis, and the end that has begun."""

import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.adapters.health_sync import SyncHealth
from app.core.health import Status
from app.migrations import migrate
from app.settings_groups import HealthSettings
from app.worker import processes
from app.worker.bootstrap import using_services
from app.worker.health import Consuming, worker_health

from .observing import Observed

NOW = HealthSettings(timeout=1.0, cache=0.0)


@pytest.fixture
def observed(tmp_path: Path) -> Iterator[Observed]:
    """Return an application with a database."""
    observed = Observed(tmp_path, health=NOW)
    migrate(observed.services.database.url)
    yield observed
    observed.close()


@pytest.fixture
def consuming() -> Consuming:
    """Return a consumer that is connected."""
    consuming = Consuming()
    consuming.consumer = SimpleNamespace(connection=SimpleNamespace(connected=True))
    return consuming


def failed(health: SyncHealth) -> set[str]:
    """Return which checks fail."""
    return {check.name for check in health.report().checks if check.status is not Status.OK}


def test_everything_is_well(observed: Observed, consuming: Consuming) -> None:
    """A worker that is connected, with its broker and its database, may receive tasks."""
    report = worker_health(observed.services, observed.app, consuming).report()
    assert report.ready, report
    assert {check.name for check in report.checks} == {"worker", "broker", "database"}


def test_not_connected(observed: Observed, consuming: Consuming) -> None:
    """One that has not begun, or lost its connection, may not."""
    health = worker_health(observed.services, observed.app, consuming)
    consuming.consumer.connection.connected = False
    assert failed(health) == {"worker"}
    consuming.consumer.connection = None
    assert failed(health) == {"worker"}
    consuming.consumer = None
    assert failed(health) == {"worker"}


def test_folder_of_the_broker_is_gone(observed: Observed, consuming: Consuming, tmp_path: Path) -> None:
    """A broker of files that was moved away is one that is down."""
    (tmp_path / "broker").rename(tmp_path / "elsewhere")
    assert failed(worker_health(observed.services, observed.app, consuming)) == {"broker"}


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_broker_is_down(tmp_path: Path, consuming: Consuming, scheme: str) -> None:
    """A broker that refuses connections makes the worker not ready."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"{scheme}://127.0.0.1:{nobody.getsockname()[1]}/"
        observed = Observed(tmp_path, health=NOW, broker_url=url)
        observed.app.conf.update(broker_url=url)
        health = worker_health(observed.services, observed.app, consuming)
        assert "broker" in failed(health)
        observed.close()


def test_database_is_gone(observed: Observed, consuming: Consuming, tmp_path: Path) -> None:
    """A database whose file is gone does not count as there because a connection is still open."""
    health = worker_health(observed.services, observed.app, consuming)
    assert not failed(health)
    (tmp_path / "test.db").unlink()
    assert failed(health) == {"database"}


def test_redis_is_asked_where_it_is_used(tmp_path: Path, consuming: Consuming) -> None:
    """Redis is a check where idempotency records are kept in it."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        observed = Observed(
            tmp_path,
            health=NOW,
            redis_url=f"redis://127.0.0.1:{nobody.getsockname()[1]}/0",
            idempotency={"store": "redis", "timeout": 0.2},
        )
        assert "redis" in failed(worker_health(observed.services, observed.app, consuming))
        observed.close()


def test_end_has_begun(observed: Observed, consuming: Consuming, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the signal on a worker says that it is shutting down, while its tasks still run."""
    health = worker_health(observed.services, observed.app, consuming)
    monkeypatch.setattr(processes._Parent, "health", health)
    with using_services(observed.services):
        assert health.report().ready
        processes.shutting_down(sig="SIGTERM", how="Warm")
    assert health.report().status is Status.SHUTTING_DOWN
