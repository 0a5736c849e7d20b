"""A task that is idempotent has its effect once, however often it is delivered, on each store."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, signals

from app.adapters.database_connection import database_address
from app.adapters.idempotent import idempotent
from app.migrations import migrate
from app.worker.configuration import WorkerGroup, WorkerIdempotencySettings, WorkerSettings

from ..redis_server import own_redis
from .in_process import DEADLINE, application, settings_in, use_memory, wait_for, working


@pytest.fixture(scope="module", params=["sql", "redis", "memory"])
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerSettings]:
    """Return the settings of a worker with threads, with each store."""
    folder = tmp_path_factory.mktemp("worker")
    group = WorkerGroup(pool="threads", max_attempts=2, backoff=0.01, backoff_max=0.02)
    chosen = WorkerIdempotencySettings(store=request.param)
    if request.param == "redis":
        with own_redis() as redis:
            yield settings_in(folder, worker=group, idempotency=chosen, redis_url=redis.url, service_name=redis.service)
        return
    yield settings_in(folder, worker=group, idempotency=chosen)


@dataclass
class Charges:
    """A task that is worked on by two threads, and what came of it."""

    task: Any
    gate: threading.Event = field(default_factory=threading.Event)
    at_once: list[int] = field(default_factory=lambda: [0, 0])
    effects: list[str] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    waited: list[str] = field(default_factory=list)

    def work(self, customer: str) -> str:
        """Have the effect, once the gate is open."""
        self.at_once[0] += 1
        self.at_once[1] = max(self.at_once)
        assert self.gate.wait(DEADLINE)
        self.effects.append(customer)
        self.at_once[0] -= 1
        return uuid4().hex


@pytest.fixture(scope="module")
def charges(settings: WorkerSettings) -> Iterator[Charges]:
    """Return the task, and two who work on it."""
    migrate(database_address(settings))
    with application(settings) as app:
        use_memory(app)
        made = Charges(None)
        made.task = _register(app, made)

        def succeeded(sender: Any, result: Any, **_signal: Any) -> None:
            made.results[sender.request.id] = result

        def retried(request: Any, **_signal: Any) -> None:
            made.waited.append(request.id)

        signals.task_success.connect(succeeded)
        signals.task_retry.connect(retried)
        with working(app, pool="threads", concurrency=2):
            yield made
        made.gate.set()


def _register(app: Celery, made: Charges) -> Any:
    @app.task(name="charge", shared=False)
    @idempotent(key="customer", name=f"charge-{uuid4().hex}")
    def charge(customer: str) -> str:
        return made.work(customer)

    return charge


def test_duplicates_get_the_same_result(charges: Charges) -> None:
    """Sent three times under different ids, it happens once, and each gets what the first one got."""
    charges.gate.set()
    ids = ["d-0", "d-1", "d-2"]
    for task_id in ids:
        charges.task.apply_async(["eve"], task_id=task_id)
        wait_for(partial(charges.results.get, task_id), "the result")
    assert charges.effects.count("eve") == 1
    assert len({charges.results[task_id] for task_id in ids}) == 1


def test_duplicates_wait(charges: Charges) -> None:
    """While one is worked on, its duplicate is not, and waits."""
    charges.gate.clear()
    charges.task.apply_async(["bob"], task_id="w-0")
    wait_for(lambda: charges.at_once[0] == 1, "the first one's start")
    charges.task.apply_async(["bob"], task_id="w-1")
    wait_for(lambda: charges.waited.count("w-1") >= 2, "its duplicate to look twice")
    assert charges.at_once == [1, 1]
    charges.gate.set()
    results = [wait_for(partial(charges.results.get, task_id), "the result") for task_id in ("w-0", "w-1")]
    assert charges.effects.count("bob") == 1
    assert results[0] == results[1]
    assert set(charges.waited) == {"w-1"}
