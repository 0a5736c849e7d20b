"""How a worker ends: on a signal, on two, when it cannot start, and `beat` likewise."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ..running import PATIENCE, is_alive, until
from ..servers import free_port
from .workers import RunningWorker, running_worker

POOLS = ("fork", "spawn", "threads", "solo")
# Nobody waits for that long.
ENDLESS = 600.0


def _work_and_stop(pool: str, folder: Path) -> tuple[int, list[dict[str, Any]]]:
    """Return the code that a worker of a pool ends with after a task, and what it logged."""
    with running_worker(folder, WORKER__POOL=pool, WORKER__CONCURRENCY="1") as worker:
        worker.send("tests.note", "done")
        until((folder / "done").exists, "the task", tell=worker.tail)
        # The last one runs when the signal comes.
        worker.send("tests.note", "last", 1.0)
        until((folder / "last").exists, "the last task", tell=worker.tail)
        return worker.terminate(), worker.events


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Any]]]:
    """Return what became of a worker with each kind of pool; they run at once."""
    with ThreadPoolExecutor(2) as threads:
        yield {pool: threads.submit(_work_and_stop, pool, tmp_path_factory.mktemp(pool)) for pool in POOLS}


@pytest.mark.parametrize("pool", POOLS)
def test_each_pool_works_and_ends_what_it_has_begun(pool: str, pools: dict[str, Future[Any]]) -> None:
    """A signal lets what runs end, and leaves nothing in the log that is no event."""
    code, events = pools[pool].result()

    assert code == 0
    assert [line["event"] for line in events].count("task.succeeded") == 2
    assert not [line for line in events if line["event"] == "(raw)" or line["level"] == "error"]


@pytest.mark.parametrize("pool", ["fork", "threads"])
def test_a_task_that_goes_on_is_given_back_in_time(pool: str, tmp_path: Path) -> None:
    """It is in the broker again when the worker has ended."""
    with running_worker(tmp_path, WORKER__POOL=pool, SHUTDOWN_TIMEOUT="2") as worker:
        worker.send("tests.note", "endless", ENDLESS)
        until((tmp_path / "endless").exists, "the task", tell=worker.tail)
        children = worker.children
        begun = time.monotonic()
        assert worker.terminate() == 0
        assert time.monotonic() - begun < PATIENCE
        assert not any(is_alive(child) for child in children)
        assert worker.wait_for("worker.gives_back")["running"] == 1
    messages = tmp_path / "var" / "broker" / "messages"
    assert len(list(messages.glob("*.tasks.msg"))) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once(number: signal.Signals, tmp_path: Path) -> None:
    """And all of its processes."""
    with running_worker(tmp_path, SHUTDOWN_TIMEOUT="600") as worker:
        worker.send("tests.note", "endless", ENDLESS)
        until((tmp_path / "endless").exists, "the task", tell=worker.tail)
        children = worker.children
        worker.popen.send_signal(number)
        worker.wait_for("worker.stopping")
        # The same signal again, from a parent that hands it on, is no second one; another one always is.
        other = signal.SIGTERM if number == signal.SIGINT else signal.SIGINT
        assert worker.terminate(other) == 128 + other
        until(lambda: not any(is_alive(child) for child in children), "the end of the pool")


def test_a_signal_to_all_of_its_processes_lets_its_task_end(tmp_path: Path) -> None:
    """As a service manager or a terminal sends it."""
    with running_worker(tmp_path) as worker:
        worker.send("tests.note", "task", 2.0)
        until((tmp_path / "task").exists, "the task", tell=worker.tail)
        os.killpg(worker.popen.pid, signal.SIGTERM)
        assert worker.popen.wait(PATIENCE) == 0
        assert worker.wait_for("task.succeeded")["task_name"] == "tests.note"


def test_a_signal_while_it_starts_ends_it(tmp_path: Path) -> None:
    """Health is answered by then, and what was begun is closed."""
    with running_worker(tmp_path, ready=False, module="told_early") as worker:
        assert worker.popen.wait(PATIENCE) == 0
        assert worker.wait_for("worker.shutdown")


def test_its_processes_do_not_outlive_it(tmp_path: Path) -> None:
    """They would work on beside whoever gets their task next."""
    with running_worker(tmp_path) as worker:
        worker.send("tests.note", "endless", ENDLESS)
        until((tmp_path / "endless").exists, "the task", tell=worker.tail)
        children = worker.children
        worker.popen.kill()
        worker.popen.wait()
        until(lambda: not any(is_alive(child) for child in children), "the end of the pool")


def test_a_broker_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    """And a signal is heard meanwhile."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    with running_worker(tmp_path, ready=False, BROKER_URL=url) as worker:
        until(lambda: "Trying again" in worker.output, "another try", tell=worker.tail)
        assert worker.terminate() == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKER__POOL", "many"),
        ("BROKER_URL", "filesystem:///proc/nowhere"),
        ("DATABASE_URL", "sqlite:////proc/nowhere/app.db"),
    ],
)
def test_a_setting_that_is_wrong_ends_it_with_a_message(tmp_path: Path, name: str, value: str) -> None:
    """One message, and no traceback."""
    worker = RunningWorker(tmp_path, **{name: value})
    assert worker.popen.wait(PATIENCE) == 1
    assert worker.output.count(name) == 1
    assert "Traceback" not in worker.output


def test_an_argument_that_is_none_ends_it_with_a_message(tmp_path: Path) -> None:
    """It says which there are."""
    worker = RunningWorker(tmp_path, "beats")
    assert worker.popen.wait(PATIENCE) == 2
    assert "usage: python -m app.worker" in worker.output


def test_beat_sends_by_the_schedule_and_stops(tmp_path: Path) -> None:
    """A process of its own, that keeps in a file what was sent when."""
    with running_worker(tmp_path, "beat", ready=False, IDEMPOTENCY__PURGE_INTERVAL="1") as beat:
        messages = tmp_path / "var" / "broker" / "messages"
        until(lambda: list(messages.glob("*.msg")), "what is due", tell=beat.tail)
        assert beat.terminate() == 0
        assert not [line for line in beat.events if line["event"] == "(raw)" or line["level"] == "error"]
        assert list((tmp_path / "var").glob("beat*"))
