"""Whatever dies in the middle of a message: it is handled in the end, and its effect has happened once.

Each broker has one story, told by two daemons that share the work, and each test looks at a part of it.
"""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import pytest

from ..brokers import BROKERS, Broker, private_broker
from ..running import fulfilled, until
from .daemons import RunningDaemon, placed, publish, running_daemon
from .launch import STEPS

SOURCES = ("sqlite", *BROKERS)
# Messages that are in the hands of a daemon which dies with another one.
BYSTANDERS = 40
SECONDS = 3.0


class Ended(NamedTuple):
    """How a story ended.

    Attributes:
        effects: How often each order was fulfilled.
        died: At which steps a daemon died.
        output: What the daemons wrote.

    """

    effects: dict[str, int]
    died: set[str]
    output: str


def _broker(kind: str, folder: Path) -> AbstractContextManager[Broker | None]:
    return nullcontext() if kind == "sqlite" else private_broker(kind, folder / "broker")


def _tell(kind: str, folder: Path) -> Ended:
    """Let daemons die at each step, and restart their broker, and return how it ended."""
    with _broker(kind, folder) as broker:
        own = {"BROKER_URL": broker.url} if broker else {}
        own |= {"DAEMON__VISIBILITY_TIMEOUT": "2", "DAEMON__MAX_DELIVERIES": "20", "DAEMON__CONCURRENCY": "5"}
        with _pair(folder, **own) as (one, other):
            messages = [placed(f"bystander-{number}") for number in range(BYSTANDERS)]
            messages += [placed(f"o-{step}", "tests.fulfil", die_at=step) for step in STEPS]
            publish(folder, messages, **one.variables)
            expected = {message.id for message in messages}
            _wait(folder, expected, one)
            if broker:
                slow = placed("slow", "tests.fulfil", seconds=SECONDS)
                one.publish(slow)
                until((folder / "began-slow").exists, "the slow message", tell=one.tail)
                broker.kill()
                broker.start()
                after = [placed(f"after-{number}") for number in range(5)]
                one.publish(*after)
                expected |= {slow.id, *(message.id for message in after)}
                _wait(folder, expected, one)
            _see_all_die(folder, expected, one)
            (folder / "enough").touch()
            return Ended(fulfilled(folder), _died(folder), one.output + other.output)


def _died(folder: Path) -> set[str]:
    return {path.name.split("-")[1] for path in folder.glob("died-*")}


def _see_all_die(folder: Path, expected: set[str], daemon: RunningDaemon) -> None:
    """Wait for a death at each step, which may come after all effects.

    A message whose daemon died for another one just after the broker knew of it never gets to its own step: another
    message is sent then.
    """
    for turn in range(5):
        end = time.monotonic() + SECONDS
        until(lambda: _died(folder) >= set(STEPS) or time.monotonic() >= end, "deaths", 2 * SECONDS)  # noqa: B023
        again = [placed(f"o-{step}-{turn}", "tests.fulfil", die_at=step) for step in set(STEPS) - _died(folder)]
        if not again:
            return
        daemon.publish(*again)
        expected |= {message.id for message in again}
        _wait(folder, expected, daemon)


class _pair:  # noqa: N801 -- used as a function
    """Two daemons that share a folder and a queue."""

    def __init__(self, folder: Path, **own: str) -> None:
        self._daemons = [running_daemon(folder, ready=False, module="mortal", **own) for _ in range(2)]

    def __enter__(self) -> tuple[RunningDaemon, RunningDaemon]:
        one, other = (daemon.__enter__() for daemon in self._daemons)
        for daemon in (one, other):
            daemon.wait_for("daemon.ready")
        return one, other

    def __exit__(self, *_given: object) -> None:
        for daemon in self._daemons:
            daemon.__exit__(None, None, None)


def _wait(folder: Path, expected: set[str], daemon: RunningDaemon) -> None:
    until(lambda: expected <= set(fulfilled(folder)), "all effects", 120.0, tell=daemon.tail)


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Ended]]]:
    """Return what happens on each broker; all stories are told at once."""
    with ThreadPoolExecutor() as pool:
        yield {kind: pool.submit(_tell, kind, tmp_path_factory.mktemp(kind)) for kind in SOURCES}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_message_is_handled_once_at_whichever_step_its_daemon_is_killed(
    kind: str, stories: dict[str, Future[Ended]]
) -> None:
    """Received, begun, effect done, committed or acknowledged: nothing is lost, and nothing happens twice."""
    ended = stories[kind].result()

    assert ended.died == set(STEPS)
    assert {order: count for order, count in ended.effects.items() if count != 1} == {}
    assert "message.buried" not in ended.output


@pytest.mark.parametrize("kind", BROKERS)
def test_a_message_whose_broker_is_restarted_is_handled_once_and_the_daemons_go_on(
    kind: str, stories: dict[str, Future[Ended]]
) -> None:
    """Its handler goes on meanwhile; delivered again, it is found done."""
    ended = stories[kind].result()

    assert ended.effects["slow"] == 1
    assert ended.effects["after-4"] == 1
    assert "broker.restored" in ended.output
