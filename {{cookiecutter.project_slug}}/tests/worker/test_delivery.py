"""Whatever dies in the middle of a task: the task is done in the end, and its effect has happened once.

A worker's start takes far longer than what is tried on it, so each broker has one story, and each test looks at a part
of it. All that is waited for is bounded.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ..brokers import BROKERS, Broker, private_broker
from ..running import fulfilled, until
from .workers import RunningWorker, running_worker

# What is begun again is done within this time after somebody is there to do it.
REDELIVERY_SECONDS = 15.0
TASK_SECONDS = 3.0


class Part(NamedTuple):
    """What became of a task that something died under.

    Attributes:
        seconds: How long after a worker was there again it was begun again, or 0.
        code: With which code the worker ended that was told to stop, if one was.

    """

    seconds: float = 0.0
    code: int | None = None


class Story:
    """What happens to tasks, one after the other, on one broker.

    Args:
        kind: Which broker.
        folder: Where it all happens.

    """

    def __init__(self, kind: str, folder: Path) -> None:
        self._folder = folder
        self._kind = kind
        self.parts: dict[str, Part] = {}

    def tell(self) -> tuple[dict[str, Part], dict[str, int]]:
        """Let it happen, and return its parts, and how often each order was fulfilled."""
        with private_broker(self._kind, self._folder / "broker") as broker:
            with self._worker(broker) as worker:
                self._child_is_killed(worker)
                self._broker_is_restarted(worker, broker)
                self._worker_stops_in_time(worker)
            with self._worker(broker, shutdown=1.0) as worker:
                self._begin(worker, "no-time")
                code = worker.terminate()
            with self._worker(broker) as worker:
                self.parts["no-time"] = Part(self._again(worker, "no-time"), code)
                self._begin(worker, "everything")
                worker.kill()
            with self._worker(broker) as worker:
                self.parts["everything"] = Part(self._again(worker, "everything"))
        return self.parts, fulfilled(self._folder)

    def _worker(self, broker: Broker, shutdown: float = 60.0) -> AbstractContextManager[RunningWorker]:
        return running_worker(
            self._folder, BROKER_URL=broker.url, SHUTDOWN_TIMEOUT=str(shutdown), WORKER__CONCURRENCY="1"
        )

    def _child_is_killed(self, worker: RunningWorker) -> None:
        self._begin(worker, "child")
        worker.kill_children()
        self._done(worker, "child")
        self.parts["child"] = Part()

    def _broker_is_restarted(self, worker: RunningWorker, broker: Broker) -> None:
        self._begin(worker, "broker")
        broker.kill()
        broker.start()
        self._done(worker, "broker")
        # It takes what is sent from now on.
        worker.send("tests.note", "after-the-broker")
        until((self._folder / "after-the-broker").exists, "a task after the broker's restart", tell=worker.tail)
        self.parts["broker"] = Part()

    def _worker_stops_in_time(self, worker: RunningWorker) -> None:
        self._begin(worker, "time")
        code = worker.terminate()
        assert "time" in fulfilled(self._folder), worker.tail()
        self.parts["time"] = Part(code=code)

    def _begin(self, worker: RunningWorker, part: str) -> None:
        """Have a task in the middle of what it does; what it is to do again is over at once."""
        worker.send("tests.fulfil_slowly", part, TASK_SECONDS)
        until((self._folder / f"began-{part}").exists, f"the task {part}", tell=worker.tail)

    def _done(self, worker: RunningWorker, part: str) -> None:
        until(lambda: part in fulfilled(self._folder), f"the effect of {part}", tell=worker.tail)

    def _again(self, worker: RunningWorker, part: str) -> float:
        """Return how many seconds after the worker was ready it began with a task again."""
        self._done(worker, part)
        ready = _when(worker.wait_for("worker.ready"))
        return max(0.0, _when(worker.wait_for("task.started", task_name="tests.fulfil_slowly")) - ready)


def _when(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Any]]]:
    """Return what happens on each broker; both stories are told at once."""
    with ThreadPoolExecutor() as pool:
        yield {kind: pool.submit(Story(kind, tmp_path_factory.mktemp(kind)).tell) for kind in BROKERS}


@pytest.fixture(params=BROKERS)
def story(request: pytest.FixtureRequest, stories: dict[str, Future[Any]]) -> Callable[[str], Part]:
    """Return what tells how a part ended: the task was done, once."""
    parts, effects = stories[request.param].result()

    def of(name: str) -> Part:
        assert effects[name] == 1
        part: Part = parts[name]
        return part

    return of


def test_a_task_whose_pool_process_is_killed_is_done_once(story: Callable[[str], Part]) -> None:
    """The worker finds it dead, and gives the task back."""
    story("child")


def test_a_task_whose_broker_is_restarted_is_done_once_and_the_worker_goes_on(story: Callable[[str], Part]) -> None:
    """The task goes on meanwhile; delivered again, it is found done."""
    story("broker")


def test_a_worker_that_stops_ends_its_task_when_there_is_time(story: Callable[[str], Part]) -> None:
    """It ends by itself, with 0."""
    assert story("time").code == 0


def test_a_worker_that_stops_gives_its_task_back_when_there_is_not(story: Callable[[str], Part]) -> None:
    """The next worker begins it again."""
    part = story("no-time")

    assert part.code == 0
    assert part.seconds <= REDELIVERY_SECONDS


def test_a_task_whose_worker_is_killed_is_begun_again_soon_and_done_once(story: Callable[[str], Part]) -> None:
    """Nobody gives it back: the broker, or who works next, finds out."""
    assert story("everything").seconds <= REDELIVERY_SECONDS
