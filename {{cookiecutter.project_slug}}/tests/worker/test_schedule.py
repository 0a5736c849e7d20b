"""What is sent now and then."""

from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from app.settings import ConfigurationError
from app.worker.bootstrap import load_worker_settings
from app.worker.configuration import WorkerIdempotencySettings, WorkerSettings
from app.worker.schedule import schedule

from .workers import running_worker


def test_each_entry_is_a_task(app: Celery, worker_settings: WorkerSettings) -> None:
    """Whatever is due is known to the worker, and takes the arguments that it is sent with."""
    app.loader.import_default_modules()
    for entry in schedule(worker_settings).values():
        task: Any = app.tasks[entry["task"]]
        task.__header__(*entry.get("args", ()), **entry.get("kwargs", {}))
    assert app.conf.beat_schedule == schedule(worker_settings)


def test_what_was_not_sent_in_time_is_not_sent_twice(worker_settings: WorkerSettings) -> None:
    """While no worker is there entries do not pile up: each is over when the next one comes."""
    for entry in schedule(worker_settings).values():
        assert entry["options"]["expires"] <= entry["schedule"]


def test_purge_may_be_off(worker_settings: WorkerSettings) -> None:
    """Without an interval nothing is purged; with one, that often."""
    often = worker_settings.model_copy(update={"idempotency": WorkerIdempotencySettings(purge_interval=7)})
    never = worker_settings.model_copy(update={"idempotency": WorkerIdempotencySettings(purge_interval=0)})
    assert schedule(often)["purge_idempotency"]["schedule"] == 7
    assert "purge_idempotency" not in schedule(never)


def test_lease_is_short_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that was delivered again waits for the lease of the process that died."""
    monkeypatch.setenv("IDEMPOTENCY__TTL", "60")
    assert load_worker_settings().idempotency.lease == 10
    monkeypatch.setenv("IDEMPOTENCY__LEASE", "30")
    assert load_worker_settings().idempotency.lease == 30


@pytest.mark.parametrize("pool", ["fork", "spawn"])
def test_memory_is_of_one_process(monkeypatch: pytest.MonkeyPatch, pool: str) -> None:
    """Processes of a pool would not know of each other's keys."""
    monkeypatch.setenv("IDEMPOTENCY__STORE", "memory")
    monkeypatch.setenv("WORKER__POOL", pool)
    with pytest.raises(ConfigurationError, match=f"WORKER__POOL={pool}: sql, redis"):
        load_worker_settings()
    monkeypatch.setenv("WORKER__POOL", "threads")
    assert load_worker_settings().idempotency.store == "memory"


def test_embedded_worker_sends_what_is_due(tmp_path: Path) -> None:
    """On the broker of files the worker runs the schedule too, and works on what it sends."""
    with running_worker(tmp_path, IDEMPOTENCY__PURGE_INTERVAL="0.5") as worker:
        worker.wait_for("task.succeeded", task_name="maintenance.purge_idempotency")
