"""A thousand tasks while workers are killed all the time: each has its effect, once."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from ..brokers import BROKERS, private_broker
from ..running import fulfilled, until
from .workers import running_worker, sender

TASKS = 1000
# At least; a fast machine has done it all after a few seconds.
KILLS = 2
PATIENCE = 150.0


def _under_fire(kind: str, folder: Path) -> tuple[dict[str, int], int]:
    """Return how often each order was fulfilled, and how many workers were killed meanwhile."""
    with private_broker(kind, folder / "broker") as broker:
        # One that works on a task when it dies leaves its claim behind.
        own = {"BROKER_URL": broker.url, "IDEMPOTENCY__LEASE": "3", "WORKER__VISIBILITY_TIMEOUT": "4"}
        with running_worker(folder, ready=False, module="mortal", WORKER__MAX_DELIVERIES="19", **own) as worker:
            until((folder / "ready").exists, "the first worker", tell=worker.tail)
            with sender(folder, **own) as app, app.producer_or_acquire() as producer:
                for number in range(TASKS):
                    app.send_task("orders.fulfil", args=[f"o-{number}"], producer=producer)
            until(lambda: len(fulfilled(folder)) == TASKS, "all tasks", PATIENCE, tell=worker.tail)
            (folder / "enough").touch()
            return fulfilled(folder), len((folder / "kills").read_bytes())


@pytest.fixture(scope="module")
def fires(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[tuple[dict[str, int], int]]]]:
    """Return what became of the tasks on each broker; both burn at once."""
    with ThreadPoolExecutor() as pool:
        yield {kind: pool.submit(_under_fire, kind, tmp_path_factory.mktemp(kind)) for kind in BROKERS}


@pytest.mark.parametrize("kind", BROKERS)
def test_a_thousand_tasks_have_a_thousand_effects_while_workers_are_killed(
    kind: str, fires: dict[str, Future[tuple[dict[str, int], int]]]
) -> None:
    """None is lost, and none happens twice."""
    effects, kills = fires[kind].result()

    assert effects == {f"o-{number}": 1 for number in range(TASKS)}
    assert kills >= KILLS
