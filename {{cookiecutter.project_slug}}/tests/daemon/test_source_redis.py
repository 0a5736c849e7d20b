"""What is special about messages on a stream of Redis."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import BrokerError
from app.core.message_source import MessageSource
from app.daemon.sources import redis as module
from app.daemon.sources.redis import RedisSource

from ..redis_server import own_redis
from ..servers import private_redis, silent_server
from .places import Place, bodies, own_place, received, until


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Return a queue on a stream."""
    with own_place("redis", tmp_path) as place:
        yield place


def _consumers(place: Place) -> list[bytes]:
    with own_redis() as redis, redis.client() as client:
        return [one["name"] for one in client.xinfo_consumers(place.queue, "daemons")]


async def test_a_stream_that_vanished_is_an_error_and_is_made_anew(tmp_path: Path) -> None:
    """After FLUSHALL the source says so; opened again, it receives what is sent then."""
    with private_redis(tmp_path) as server:
        place = Place("redis", server.url)
        async with place.receiving() as source:
            assert isinstance(source, RedisSource)
            await source._client.flushall()
            with pytest.raises(BrokerError, match="NOGROUP"):
                await source.receive(1)
            await source.open()
            await place.send(b"a")
            assert bodies(await received(source, 1)) == [b"a"]


async def test_a_key_that_is_no_stream_is_an_error(place: Place) -> None:
    """It is named by the code that Redis has for it."""
    with own_redis() as redis, redis.client() as client:
        client.set(place.queue, "something else")
    source = place.source()
    with pytest.raises(BrokerError, match="WRONGTYPE"):
        await source.open()
    await source.aclose()
    with pytest.raises(BrokerError, match="WRONGTYPE"):
        await place.send(b"a")


async def test_a_redis_that_says_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it for longer than a command may take."""
    monkeypatch.setattr(module, "COMMAND_SECONDS", 0.2)
    with silent_server() as port:
        source = Place("redis", f"redis://127.0.0.1:{port}/0").source()
        async with asyncio.timeout(30):
            with pytest.raises(BrokerError, match="TimeoutError"):
                await source.open()
            await source.aclose()


async def test_what_another_one_has_by_now_is_not_touched(place: Place) -> None:
    """Who comes too late neither takes back, nor puts off, nor buries, nor gives back what another one has."""
    await place.send(b"a")
    async with place.receiving() as slow, place.receiving(visibility_timeout=600) as patient:
        [lost] = await received(slow, 1)
        async with place.receiving() as quick:
            [taken] = await received(quick, 1)
            assert taken.deliveries == 2
            await slow.keep([lost])
            await slow.try_again(lost, 0.0)
            await slow.give_back(lost)
            await slow.bury(lost, {"reason": "failed"})
            assert list(await patient.receive(1)) == []
            assert [letter async for letter in slow.letters()] == []
            await quick.give_back(taken)
            [again] = await received(patient, 1)
            assert (again.attempt, again.deliveries) == (1, 2)
            await patient.acknowledge(again)


async def test_what_is_not_urgent_is_acknowledged_together(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one command, soon after; what is urgent is not held up, and takes along what was collected."""
    monkeypatch.setattr(module, "_COLLECTING", 0.5)
    await place.send(b"a", b"b", b"c")
    async with place.receiving() as source:
        assert isinstance(source, RedisSource)
        sent, plain = list[int](), source._acknowledging._do

        async def do(receipts: Sequence[bytes]) -> None:
            sent.append(len(receipts))
            await plain(receipts)

        monkeypatch.setattr(source._acknowledging, "_do", do)
        first, second, third = await received(source, 3)
        earlier = asyncio.create_task(source.acknowledge(first))
        await asyncio.sleep(0.05)
        await asyncio.gather(earlier, source.acknowledge(second))
        third.is_urgent = True
        async with asyncio.timeout(0.4):
            await source.acknowledge(third)
        assert sent == [2, 1]
        assert await source.backlog() == 0


async def test_deliveries_are_counted_through_a_give_back(place: Place) -> None:
    """Given back and lost again, a message knows of every time that it was handed out and not given back."""
    await place.send(b"a")
    for expected in (1, 2):
        async with place.receiving() as source:
            [delivery] = await received(source, 1)
            assert delivery.deliveries == expected
            await source.give_back(delivery)
            [delivery] = await received(source, 1)
            assert delivery.deliveries == expected
    async with place.receiving() as source:
        [delivery] = await received(source, 1)
        assert (delivery.attempt, delivery.deliveries) == (1, 3)


async def test_many_that_were_left_behind_come_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one receive takes of them, without a pause between two."""
    monkeypatch.setattr(module, "_LONGEST_LOOK", 600.0)
    await place.send(*(b"%d" % number for number in range(50)))
    async with place.receiving(visibility_timeout=600) as first:
        await received(first, 50)
    async with place.receiving(visibility_timeout=600) as second:
        found = await received(second, 50, limit=10)
    assert sorted(int(one.body) for one in found) == list(range(50))


async def test_consumers_that_are_gone_are_removed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with nothing in hand; one that has something stays until that is another one's."""
    monkeypatch.setattr(module, "_GONE_SECONDS", 0.0)
    monkeypatch.setattr(module, "_GONE_AFTER", 0)
    await place.send(b"a")
    async with place.killed_receiver(1, visibility_timeout=600):
        pass
    [dead] = _consumers(place)
    async with place.receiving(visibility_timeout=600) as source:
        assert list(await source.receive(1)) == []
    # Closed, and with nothing in hand.
    assert _consumers(place) == [dead]
    async with place.receiving() as source:
        await received(source, 1)
        await source.open()
        [own] = _consumers(place)
        assert own != dead


async def test_a_put_off_message_wakes_another_receiver(place: Place) -> None:
    """Whoever waits gets it, not only who put it off."""
    await place.send(b"a")
    async with place.receiving() as first, place.receiving() as second:
        [delivery] = await received(first, 1)
        waiting = asyncio.create_task(received(second, 1))
        await first.try_again(delivery, 0.2)
        assert (await waiting)[0].attempt == 2


async def test_an_entry_of_a_foreign_sender_is_a_delivery_too(place: Place) -> None:
    """Without headers, and without a body: whoever handles messages says what is wrong with it."""
    with own_redis() as redis, redis.client() as client:
        client.xadd(place.queue, {"body": "a"})
        client.xadd(place.queue, {"other": "b", "headers": "no JSON"})
    async with place.receiving() as source:
        found = await received(source, 2)
        assert [(one.body, dict(one.headers)) for one in found] == [(b"a", {}), (b"", {})]
        for one in found:
            await source.bury(one, {"reason": "unreadable"})
        assert [letter.body async for letter in source.letters()] == [b"a", b""]


async def test_what_a_cancelled_receiver_would_have_got_is_another_ones(place: Place) -> None:
    """A message that arrives just after the cancellation is not the cancelled one's."""
    async with place.receiving(visibility_timeout=600) as first, place.receiving(visibility_timeout=600) as second:
        waiting = asyncio.create_task(first.receive(1))
        await until(lambda: _blocked(first), "the first one waits")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await place.send(b"a")
        [delivery] = await received(second, 1)
        assert (delivery.body, delivery.deliveries) == (b"a", 1)


async def test_what_redis_handed_out_to_a_cancelled_receiver_is_given_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled between Redis's answer and its own, a receiver loses no message for the visibility timeout."""
    answered = asyncio.Event()
    async with place.receiving(visibility_timeout=600) as first, place.receiving(visibility_timeout=600) as second:
        assert isinstance(first, RedisSource)
        read = first._client.xreadgroup

        async def read_slowly(*arguments: Any, **options: Any) -> Any:
            found = await read(*arguments, **options)
            answered.set()
            await asyncio.sleep(0.1)
            return found

        monkeypatch.setattr(first._client, "xreadgroup", read_slowly)
        await place.send(b"a")
        waiting = asyncio.create_task(first.receive(1))
        await answered.wait()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        [delivery] = await received(second, 1)
        assert (delivery.body, delivery.deliveries) == (b"a", 1)


async def _blocked(source: MessageSource) -> bool:
    assert isinstance(source, RedisSource)
    return bool(source._tasks)
