"""Ten thousand messages while daemons are killed all the time: each has its effect, once."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from ..brokers import BROKERS, Broker, private_broker
from ..running import fulfilled, until
from .daemons import placed, publish, running_daemon

SOURCES = ("sqlite", *BROKERS)
MESSAGES = 10_000
LIFE_SECONDS = 2.0
# At least; a fast machine has done it all after a few seconds.
KILLS = 2
PATIENCE = 400.0


def _broker(kind: str, folder: Path) -> AbstractContextManager[Broker | None]:
    return nullcontext() if kind == "sqlite" else private_broker(kind, folder / "broker")


def _under_fire(kind: str, folder: Path) -> tuple[dict[str, int], int]:
    """Return how often each order was fulfilled, and how many daemons were killed meanwhile."""
    with _broker(kind, folder) as broker:
        own = {"BROKER_URL": broker.url} if broker else {}
        own |= {"DAEMON__VISIBILITY_TIMEOUT": "1", "DAEMON__MAX_DELIVERIES": "100", "LOG__LEVEL": "WARNING"}
        (folder / "var").mkdir()
        publish(folder, [placed(f"o-{number}") for number in range(MESSAGES)], **own)
        with running_daemon(folder, str(LIFE_SECONDS), ready=False, module="mortal", **own) as daemon:
            until((folder / "var" / "app.db").exists, "the first daemon", tell=daemon.tail)
            until(lambda: _done(folder) == MESSAGES, "all messages", PATIENCE, tell=daemon.tail)
            (folder / "enough").touch()
            return fulfilled(folder), len((folder / "kills").read_bytes())


def _done(folder: Path) -> int:
    try:
        return len(fulfilled(folder))
    except sqlite3.OperationalError:
        # The first daemon has not made the table yet.
        return 0


@pytest.fixture(scope="module")
def fires(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[tuple[dict[str, int], int]]]]:
    """Return what became of the messages on each broker; all burn at once."""
    with ThreadPoolExecutor() as pool:
        yield {kind: pool.submit(_under_fire, kind, tmp_path_factory.mktemp(kind)) for kind in SOURCES}


@pytest.mark.parametrize("kind", SOURCES)
def test_ten_thousand_messages_have_ten_thousand_effects_while_daemons_are_killed(
    kind: str, fires: dict[str, Future[tuple[dict[str, int], int]]]
) -> None:
    """None is lost, and none happens twice."""
    effects, kills = fires[kind].result()

    assert effects == {f"o-{number}": 1 for number in range(MESSAGES)}
    assert kills >= KILLS
