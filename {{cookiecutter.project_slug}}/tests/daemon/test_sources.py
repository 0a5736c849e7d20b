"""What a source of messages promises, on every broker."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.core.errors import BrokerError
from app.core.message_source import Delivery, MessageSource

from ..brokers import private_broker
from ..servers import free_port
from .places import KINDS, Place, bodies, own_place, received, until

MANY = 2000
SERVERS = [kind for kind in KINDS if kind != "sqlite"]


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Return a queue on each broker."""
    with own_place(request.param, tmp_path) as place:
        yield place


async def _left(source: MessageSource) -> list[bytes]:
    """Return what a receiver gets that wants no more."""
    return bodies(await source.receive(10))


async def test_messages_arrive_as_they_were_sent_oldest_first(place: Place) -> None:
    """What was sent before anybody received is there, in its order, as a first attempt."""
    sent = [b'{"id": "1"}', "№2".encode(), b"\x00\xff", b""]
    await place.send(*sent, traceparent="00-ab", number=7)
    async with place.receiving() as source:
        found = await received(source, len(sent), limit=2)
    assert bodies(found) == sent
    assert [(one.attempt, one.deliveries) for one in found] == [(1, 1)] * len(sent)
    assert [dict(one.headers) for one in found] == [{"traceparent": "00-ab", "number": 7}] * len(sent)


async def test_no_more_are_received_than_asked_for(place: Place) -> None:
    """The limit of a call holds."""
    await place.send(*(b"%d" % number for number in range(10)))
    async with place.receiving() as source:
        counts = [len(await source.receive(3)) for _ in range(3)]
    assert all(0 < count <= 3 for count in counts)


async def test_without_messages_nothing_is_received(place: Place) -> None:
    """Who waits in vain gets nothing, instead of waiting on."""
    async with place.receiving() as source:
        async with asyncio.timeout(30):
            assert list(await source.receive(10)) == []


async def test_a_message_that_comes_wakes_who_waits(place: Place) -> None:
    """Messages sent while somebody waits are received."""
    async with place.receiving() as source:
        waiting = asyncio.create_task(received(source, 1))
        await asyncio.sleep(0.1)
        await place.send(b"late")
        assert bodies(await waiting) == [b"late"]


async def test_what_is_acknowledged_never_comes_again(place: Place) -> None:
    """Neither to this receiver nor to the next one."""
    await place.send(b"a", b"b")
    async with place.receiving() as source:
        for delivery in await received(source, 2):
            await source.acknowledge(delivery)
    await asyncio.sleep(1.2)
    async with place.receiving() as source:
        assert await _left(source) == []
        assert await source.backlog() == 0


async def test_another_attempt_comes_when_it_is_due(place: Place) -> None:
    """Not before, with its headers, as the next attempt that nothing was delivered of yet."""
    await place.send(b"a", key="k")
    async with place.receiving() as source:
        [delivery] = await received(source, 1)
        begun = time.monotonic()
        await source.try_again(delivery, 0.5)
        [again] = await received(source, 1)
        assert time.monotonic() - begun >= 0.4
        assert (again.body, dict(again.headers), again.attempt, again.deliveries) == (b"a", {"key": "k"}, 2, 1)
        await source.try_again(again, 0.0)
        [third] = await received(source, 1)
        assert (third.attempt, third.deliveries) == (3, 1)


async def test_what_is_put_off_outlives_the_receiver(place: Place) -> None:
    """Another one gets it, as the next attempt."""
    await place.send(b"a")
    async with place.receiving() as source:
        [delivery] = await received(source, 1)
        await source.try_again(delivery, 0.2)
    async with place.receiving() as source:
        [again] = await received(source, 1)
    assert (again.body, again.attempt) == (b"a", 2)


async def test_what_is_given_back_is_another_ones_at_once(place: Place) -> None:
    """As the same attempt; a lease that would have gone on is no hindrance."""
    await place.send(b"a", b"b")
    async with place.receiving(visibility_timeout=600) as first:
        taken = await received(first, 2)
        await first.try_again(taken[1], 0.0)
        [second] = await received(first, 1)
        await first.give_back(second)
        await first.give_back(taken[0])
    async with place.receiving(visibility_timeout=600) as other:
        found = {one.body: one for one in await received(other, 2)}
        assert {body: one.attempt for body, one in found.items()} == {b"a": 1, b"b": 2}
        for one in found.values():
            await other.acknowledge(one)
        assert await _left(other) == []


async def test_what_is_buried_is_a_dead_letter_until_it_is_dropped(place: Place) -> None:
    """With its headers and the reason, oldest first, and nowhere else."""
    await place.send(b"a", b"b", key="k")
    async with place.receiving() as source:
        for number, delivery in enumerate(await received(source, 2)):
            await source.bury(delivery, {"reason": "failed", "number": number})
        assert await _left(source) == []
    async with place.receiving() as source:
        found = [letter async for letter in source.letters()]
        assert [(one.body, dict(one.headers)) for one in found] == [(b"a", {"key": "k"}), (b"b", {"key": "k"})]
        assert [one.why["reason"] for one in found] == ["failed", "failed"]
        assert [one.why["number"] for one in found] == [0, 1]
        await source.drop(found[0])
    async with place.receiving() as source:
        assert [letter.body async for letter in source.letters()] == [b"b"]


async def test_a_replayed_letter_is_a_first_attempt(place: Place) -> None:
    """Whatever became of it before, it comes as if it had just been sent, and is no dead letter any more."""
    await place.send(b"a", key="k")
    async with place.receiving() as source:
        [delivery] = await received(source, 1)
        await source.try_again(delivery, 0.0)
        [again] = await received(source, 1)
        await source.bury(again, {"reason": "failed"})
        [letter] = [letter async for letter in source.letters()]
        await source.replay(letter)
        [replayed] = await received(source, 1)
        assert (replayed.body, dict(replayed.headers)) == (b"a", {"key": "k"})
        assert (replayed.attempt, replayed.deliveries) == (1, 1)
        assert [letter async for letter in source.letters()] == []


async def test_the_backlog_is_what_waits(place: Place) -> None:
    """Messages that nobody has count, and those that are put off."""
    await place.send(b"a", b"b", b"c")
    async with place.receiving(concurrency=1) as source:
        await until(lambda: _is(source, 3), "3 wait")
        [delivery] = await received(source, 1, limit=1)
        await until(lambda: _is(source, 2), "2 wait, one is in hand")
        await source.try_again(delivery, 60.0)
        [second] = await received(source, 1, limit=1)
        await source.acknowledge(second)


async def _is(source: MessageSource, number: int) -> bool:
    return await source.backlog() == number


async def test_many_receivers_share_the_messages(place: Place) -> None:
    """Each message is received by one of four, once, while many tasks acknowledge at the same time."""
    await place.send(*(b"%d" % number for number in range(MANY)))
    found: list[bytes] = []

    async def work(source: MessageSource) -> None:
        while len(found) < MANY:
            deliveries = await source.receive(20)
            found.extend(bodies(deliveries))
            await asyncio.gather(*(source.acknowledge(one) for one in deliveries))

    async with (
        place.receiving(visibility_timeout=600) as one,
        place.receiving(visibility_timeout=600) as two,
        asyncio.timeout(60),
    ):
        await asyncio.gather(work(one), work(one), work(two), work(two))
        assert len(found) == MANY
        assert {int(body) for body in found} == set(range(MANY))
        assert await one.backlog() == 0


async def test_what_a_killed_process_had_comes_again(place: Place) -> None:
    """As the same attempt, delivered once more than before."""
    await place.send(b"a", b"b")
    async with place.killed_receiver(2):
        pass
    async with place.receiving() as source:
        found = await received(source, 2)
        assert sorted(bodies(found)) == [b"a", b"b"]
        assert [(one.attempt, one.deliveries) for one in found] == [(1, 2), (1, 2)]


async def test_what_is_kept_stays(place: Place) -> None:
    """Nobody else gets a message for as long as its receiver says that it works on it."""
    await place.send(b"a")
    async with place.receiving() as first, place.receiving() as second:
        [delivery] = await received(first, 1)
        for _ in range(3):
            waiting = asyncio.create_task(second.receive(10))
            for _ in range(4):
                await asyncio.sleep(0.2)
                await first.keep([delivery])
            assert bodies(await waiting) == []
        await first.acknowledge(delivery)
        assert await _left(second) == []


async def test_what_a_closed_receiver_had_is_another_ones_at_once(place: Place) -> None:
    """Long before its lease would have ended."""
    await place.send(b"a", b"b")
    async with place.receiving(visibility_timeout=600) as first:
        await received(first, 2)
    async with place.receiving(visibility_timeout=600) as second:
        assert sorted(bodies(await received(second, 2))) == [b"a", b"b"]


async def test_a_cancelled_receiver_keeps_nothing(place: Place) -> None:
    """Whenever it is cancelled: every message arrives, and each of them once."""
    async with place.receiving(visibility_timeout=600, concurrency=100) as source:
        found: list[Delivery] = []
        for number in range(40):
            waiting = asyncio.create_task(source.receive(5))
            await asyncio.sleep(0.001 * (number % 5))
            await place.send(b"%d" % number)
            await asyncio.sleep(0.001 * (number % 7))
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                found += await waiting
        found += await received(source, 40 - len(found))
        assert sorted(int(one.body) for one in found) == list(range(40))
        assert await _left(source) == []


async def test_an_ordered_queue_is_one_receivers_at_a_time(place: Place) -> None:
    """The other one gets nothing until the first one is closed; then everything in the order it was sent in."""
    async with place.receiving(ordered=True) as second:
        await place.send(*(b"%d" % number for number in range(6)))
        async with place.receiving(ordered=True) as first:
            taken = await received(first, 3)
            holding = asyncio.create_task(_keeping(first, taken))
            for _ in range(2):
                assert await _left(second) == []
            holding.cancel()
            await first.acknowledge(taken[0])
            assert bodies(taken) == [b"0", b"1", b"2"]
        assert bodies(await received(second, 5)) == [b"1", b"2", b"3", b"4", b"5"]


async def _keeping(source: MessageSource, deliveries: list[Delivery]) -> None:
    while True:
        await source.keep(deliveries)
        await asyncio.sleep(0.2)


async def test_an_ordered_queue_is_taken_over_from_a_killed_process(place: Place) -> None:
    """The next one begins with what the dead one had in hand."""
    async with place.receiving(ordered=True) as second:
        await place.send(*(b"%d" % number for number in range(4)))
        async with place.killed_receiver(2, ordered=True):
            pass
        assert bodies(await received(second, 4)) == [b"0", b"1", b"2", b"3"]


async def test_messages_that_are_given_back_keep_their_order(place: Place) -> None:
    """On an ordered queue they come before those that were sent after them."""
    async with place.receiving(ordered=True, visibility_timeout=600) as first:
        await place.send(*(b"%d" % number for number in range(4)))
        for delivery in reversed(await received(first, 2)):
            await first.give_back(delivery)
    async with place.receiving(ordered=True, visibility_timeout=600) as second:
        assert bodies(await received(second, 4)) == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_broker_that_restarts_is_an_error_and_loses_nothing(kind: str, tmp_path: Path) -> None:
    """While it is away every call raises; opened anew, the source has what it had not acknowledged."""
    if kind == "rabbitmq":
        pytest.importorskip("app.daemon.sources.rabbitmq", exc_type=ModuleNotFoundError)
    with private_broker(kind, tmp_path / kind) as broker:
        place = Place(kind, broker.url)
        await place.send(b"a", b"b")
        async with place.receiving() as source:
            first, second = await received(source, 2)
            await source.acknowledge(first)
            broker.kill()
            await _fails(source, second)
            broker.start()
            await until(lambda: _opened(source), "the source is open again")
            await source.ping()
            await place.send(b"c")
            # That a was acknowledged a broker may have forgotten when it was killed; it may not forget anything else.
            found = set(bodies(await received(source, 2)))
            while not found >= {b"b", b"c"}:
                found.update(bodies(await received(source, 1)))


async def _fails(source: MessageSource, delivery: Delivery) -> None:
    with pytest.raises(BrokerError):
        await source.ping()
    with pytest.raises(BrokerError):
        await source.receive(1)
    with pytest.raises(BrokerError):
        await source.acknowledge(delivery)
    with pytest.raises(BrokerError):
        await source.try_again(delivery, 0.1)
    with pytest.raises(BrokerError):
        await source.bury(delivery, {"reason": "failed"})
    with pytest.raises(BrokerError):
        await source.backlog()
    with pytest.raises(BrokerError):
        await source.open()


async def _opened(source: MessageSource) -> bool:
    try:
        await source.open()
    except BrokerError:
        return False
    return True


@pytest.mark.parametrize("kind", SERVERS)
async def test_no_error_shows_the_password(kind: str) -> None:
    """The URL's credentials are in none of the texts of who cannot connect, sending or receiving."""
    if kind == "rabbitmq":
        pytest.importorskip("app.daemon.sources.rabbitmq", exc_type=ModuleNotFoundError)
    scheme = {"redis": "redis", "rabbitmq": "amqp"}[kind]
    place = Place(kind, f"{scheme}://jane:sesame@127.0.0.1:{free_port()}/0")
    assert urlsplit(place.url).password == "sesame"
    source = place.source()
    with pytest.raises(BrokerError) as receiving:
        await source.open()
    with pytest.raises(BrokerError) as sending:
        await place.send(b"a")
    await source.aclose()
    for raised in (receiving, sending):
        text = f"{raised.value} {raised.value.__cause__}"
        assert "sesame" not in text
        assert "jane" not in text
