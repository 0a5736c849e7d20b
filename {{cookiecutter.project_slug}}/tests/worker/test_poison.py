"""Tasks that end the process that works on them do not do so for ever, and are not lost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text

from app.worker.dead_letters.shelves import opened_shelf

from ..running import until
from .test_dead_letters import URLS, is_there
from .workers import RunningWorker, running_worker, sender


@pytest.fixture(scope="module", params=["files", "redis", "rabbitmq"])
def variables(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the settings of a worker with a queue of its own, on each broker."""
    own = {"WORKER__QUEUE": f"test-{uuid4().hex}", "WORKER__MAX_DELIVERIES": "2", "WORKER__VISIBILITY_TIMEOUT": "2"}
    if request.param in URLS:
        url = URLS[request.param]
        if not is_there(url):
            pytest.skip(f"{request.param} does not answer at {url}")
        return {**own, "BROKER_URL": url}
    return {**own, "BROKER_URL": f"filesystem://{tmp_path_factory.mktemp('broker')}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str]) -> Iterator[Path]:
    """Return where the worker runs, and leave nothing on the broker."""
    folder = tmp_path_factory.mktemp("worker")
    yield folder
    queue = variables["WORKER__QUEUE"]
    with sender(folder, **variables) as app, app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        for name in (queue, f"{queue}.dead"):
            channel.queue_delete(name)
        if connection.transport.driver_type == "redis":
            with channel.conn_or_acquire() as client:
                client.delete(*client.keys(f"*{queue}*"))
        elif connection.transport.driver_type == "amqp":
            channel.exchange_delete(queue)


@pytest.fixture(scope="module")
def worker(folder: Path, variables: dict[str, str]) -> Iterator[RunningWorker]:
    """Return a worker with a pool of processes."""
    options: dict[str, Any] = {"module": "deadly", **variables}
    with running_worker(folder, **options) as worker:
        yield worker


def reasons(folder: Path, variables: dict[str, str]) -> dict[str, str]:
    """Return why each of the dead letters is one."""
    with sender(folder, **variables) as app, opened_shelf(app) as shelf:
        return {letter.id: letter.why["reason"] for letter in shelf.letters()}


def reason(folder: Path, variables: dict[str, str], task_id: str) -> str:
    """Return why a task was given up, once it was."""
    found: str = until(lambda: reasons(folder, variables).get(task_id), f"the letter of {task_id}")
    return found


def test_worker_dies_each_time(folder: Path, variables: dict[str, str]) -> None:
    """So it is with a task that takes the whole worker along: the third worker gives it up, and lives."""
    options: dict[str, Any] = {"module": "deadly", "WORKER__CONCURRENCY": "1", **variables}
    with sender(folder, **variables) as app:
        task_id = str(app.send_task("tests.die", kwargs={"everybody": True}).id)
    for _ in range(2):
        with running_worker(folder, ready=False, **options) as mortal:
            until(lambda mortal=mortal: mortal.popen.poll() is not None, "its end")  # type: ignore[misc]
    with running_worker(folder, **options) as survivor:
        assert reason(folder, variables, task_id) == "worker lost"
        assert survivor.popen.poll() is None


def test_process_dies_each_time(worker: RunningWorker, folder: Path, variables: dict[str, str]) -> None:
    """A task whose process dies each time is tried as often as it is delivered at most, and then given up."""
    task_id = worker.send("tests.die")
    assert reason(folder, variables, task_id) == "worker lost"
    begun = [line for line in worker.events if line.get("task_id") == task_id and line["event"] == "task.lost"]
    assert len(begun) == 2


def test_time_limit(worker: RunningWorker, folder: Path, variables: dict[str, str]) -> None:
    """A task that is killed because of its time limit is not tried again, and not forgotten."""
    task_id = worker.send("tests.hang")
    assert reason(folder, variables, task_id) == "time limit"


def test_lease_is_renewed_in_a_forked_process(worker: RunningWorker, folder: Path) -> None:
    """A task that takes several times its lease keeps it: its duplicate waits, and gets the same result."""
    for _ in range(2):
        worker.send("tests.take_long", "o-1", 4.0)
    done = until(lambda: [line for line in worker.events if _ended(line)][1:], "the end of both")
    assert done
    engine = create_engine(f"sqlite:///{folder}/var/app.db")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM fulfilments")).scalar_one() == 1
    engine.dispose()
    waited = [line for line in worker.events if line["event"] == "task.retried"]
    assert {(line["task_name"], line["attempt"]) for line in waited} == {("tests.take_long", 1)}


def _ended(line: dict[str, Any]) -> bool:
    return (line["event"], line.get("task_name")) == ("task.succeeded", "tests.take_long")
