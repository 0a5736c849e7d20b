"""What is special about messages in a SQLite file."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import BrokerError
from app.daemon.sources import sqlite as module
from app.daemon.sources.sqlite import SqliteSource
from app.settings import ConfigurationError

from .places import Place, bodies, own_place, received


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Return a queue in a file."""
    with own_place("sqlite", tmp_path) as place:
        yield place


def _path(place: Place) -> Path:
    return Path(place.url.removeprefix("sqlite:///"))


@pytest.mark.parametrize("what", ["folder", "below a file", "no database"])
async def test_a_file_that_cannot_be_is_a_wrong_setting(place: Place, what: str) -> None:
    """The error names the file, why, and what is allowed."""
    path = _path(place)
    path.parent.mkdir(parents=True)
    if what == "folder":
        path.mkdir()
    elif what == "below a file":
        path.write_text("")
        place = Place("sqlite", f"{place.url}/queue.db")
    else:
        path.write_bytes(b"something else" * 1000)
    source = place.source()
    with pytest.raises(ConfigurationError, match=r"BROKER_URL: received .*messages\.db.*\(.+\); allowed: a queue file"):
        await source.open()
    await source.aclose()
    with pytest.raises(BrokerError, match="BROKER_URL: received"):
        await place.send(b"a")


async def test_a_file_that_is_read_only_is_a_wrong_setting(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not write may not receive either."""
    await place.send(b"a")
    connect: Any = sqlite3.connect

    def without_writing(path: Path, **options: Any) -> sqlite3.Connection:
        # Not by its mode, which holds nobody up who is root.
        opened: sqlite3.Connection = connect(f"file:{path}?mode=ro", uri=True, **options)
        return opened

    monkeypatch.setattr(sqlite3, "connect", without_writing)
    source = place.source()
    with pytest.raises(ConfigurationError, match=r"BROKER_URL: received .*readonly"):
        await source.open()
    await source.aclose()


async def test_a_file_that_is_locked_is_an_error_that_passes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so after a while, and works when the other process is done."""
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.1)
    await place.send(b"a")
    async with place.receiving() as source:
        with closing(sqlite3.connect(_path(place), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(BrokerError, match="database is locked"):
                await source.receive(1)
            with pytest.raises(BrokerError, match="database is locked"):
                await source.open()
            other.execute("ROLLBACK")
        await source.open()
        assert bodies(await received(source, 1)) == [b"a"]


async def test_a_file_that_was_deleted_is_an_error_and_is_made_anew(place: Place) -> None:
    """What is sent later arrives, and an acknowledgement from before does not touch it."""
    await place.send(b"a")
    async with place.receiving() as source:
        [before] = await received(source, 1)
        for path in _path(place).parent.iterdir():
            path.unlink()
        with pytest.raises(BrokerError, match="moved or deleted"):
            await source.receive(1)
        await source.open()
        await place.send(b"b")
        [after] = await received(source, 1)
        assert after.receipt[0] == before.receipt[0]
        await source.acknowledge(before)
        await source.try_again(before, 60.0)
        await source.give_back(after)
        assert bodies(await received(source, 1)) == [b"b"]


async def test_queues_of_one_file_are_apart(place: Place) -> None:
    """A source receives, counts and lists what is of its own queue."""
    other = Place("sqlite", place.url)
    await place.send(b"a")
    await other.send(b"b", b"c")
    async with place.receiving() as source, other.receiving() as another:
        assert (await source.backlog(), await another.backlog()) == (1, 2)
        [delivery] = await received(source, 1)
        await source.bury(delivery, {"reason": "failed"})
        assert [letter async for letter in another.letters()] == []
        assert bodies(await received(another, 2)) == [b"b", b"c"]


async def test_many_letters_are_listed_page_by_page(place: Place) -> None:
    """More than one page of them, oldest first."""
    await place.send(*(b"%d" % number for number in range(250)))
    async with place.receiving() as source:
        deliveries = await received(source, 250, limit=250)
        await asyncio.gather(*(source.bury(one, {"reason": "failed"}) for one in deliveries))
        assert [int(letter.body) async for letter in source.letters()] == list(range(250))


async def test_what_waits_at_once_is_one_transaction(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred acknowledgements that are asked for together need few transactions."""
    await place.send(*(b"%d" % number for number in range(100)))
    async with place.receiving() as source:
        assert isinstance(source, SqliteSource)
        deliveries = await received(source, 100)
        sizes: list[int] = []
        begin = source._file._transaction

        def counted(asked: Sequence[Any]) -> list[Any]:
            sizes.append(len(asked))
            return begin(asked)

        monkeypatch.setattr(source._file, "_transaction", counted)
        with closing(sqlite3.connect(_path(place), isolation_level=None)) as other:
            # What is asked for while another process writes has to wait.
            other.execute("BEGIN IMMEDIATE")
            acknowledging = [asyncio.create_task(source.acknowledge(one)) for one in deliveries]
            await asyncio.sleep(0.1)
            other.execute("ROLLBACK")
        await asyncio.gather(*acknowledging)
        assert sum(sizes) == 100
        assert len(sizes) < 10


async def test_no_lease_of_a_message_is_changed_by_who_lost_it(place: Place) -> None:
    """Who comes too late neither hides, nor buries, nor gives back what another one has."""
    await place.send(b"a")
    async with place.receiving() as slow, place.receiving(visibility_timeout=600) as quick:
        [lost] = await received(slow, 1)
        [taken] = await received(quick, 1)
        assert taken.deliveries == 2
        await slow.keep([lost])
        await slow.try_again(lost, 0.0)
        await slow.give_back(lost)
        await slow.bury(lost, {"reason": "failed"})
        await slow.acknowledge(lost)
        assert list(await slow.receive(1)) == []
        assert [letter async for letter in slow.letters()] == []
        await quick.give_back(taken)
        [again] = await received(slow, 1)
        assert (again.attempt, again.deliveries) == (1, 2)


async def test_what_is_claimed_for_a_cancelled_receiver_is_given_back(place: Place) -> None:
    """A claim that is under way cannot be stopped: another one has the message then, and nothing was counted."""
    await place.send(b"a")
    async with place.receiving(visibility_timeout=600) as first, place.receiving(visibility_timeout=600) as second:
        with closing(sqlite3.connect(_path(place), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.create_task(first.receive(1))
            # Until its thread waits for the lock.
            await asyncio.sleep(0.1)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            other.execute("ROLLBACK")
        # After what its thread was doing.
        await first.ping()
        [delivery] = await received(second, 1)
        assert (delivery.body, delivery.deliveries) == (b"a", 1)


async def test_messages_are_claimed_by_an_index(place: Place) -> None:
    """However many messages there are, a claim looks at no more than it takes."""
    await place.send(b"a")
    asked = "SELECT number FROM messages WHERE queue = 'q' AND visible_at = 0 ORDER BY number LIMIT 5"
    with closing(sqlite3.connect(_path(place))) as connection:
        plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {asked}"))
    assert "messages_visible (queue=? AND visible_at=?)" in plan
    assert "TEMP B-TREE" not in plan


async def test_nothing_runs_on_after_the_end(place: Place) -> None:
    """A source that was closed has no thread left, and refuses."""
    async with place.receiving() as source:
        await source.ping()
    for thread in threading.enumerate():
        if thread.name.startswith("queue-file"):
            await asyncio.to_thread(thread.join, 30)
            assert not thread.is_alive()
    with pytest.raises(BrokerError, match="closed before"):
        await source.ping()
