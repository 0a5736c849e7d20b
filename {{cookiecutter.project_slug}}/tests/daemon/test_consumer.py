"""How messages are taken and given back: bounded, in order per key, through outages, to the end."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import InfrastructureError
from app.core.message_source import Delivery
from app.core.messages import Message
from app.core.retry import RetryPolicy
from app.daemon import consumer as consumer_module
from app.daemon.consumer import IN_HAND
from app.daemon.handlers import Handlers

from ..conftest import Log
from .handled import note, placed, prepared, running, settings_in, until
from .in_memory import InMemorySource


class Gate:
    """A handler that notes its calls and waits until it may end.

    Args:
        open: Whether it need not wait.

    """

    def __init__(self, *, open: bool = False) -> None:  # noqa: A002 -- what a gate is
        self.handlers = Handlers()
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.interrupted: list[int] = []
        self.active = self.most = 0
        self._may_end = asyncio.Event()
        if open:
            self.open()

        @self.handlers.handles("test.done")
        async def wait(work: Any, message: Message) -> None:
            number = message.data["number"]
            self.begun.append(number)
            self.active += 1
            self.most = max(self.most, self.active)
            try:
                await self._may_end.wait()
                await asyncio.sleep(0)
                await note(work, message)
                self.ended.append(number)
            except asyncio.CancelledError:
                self.interrupted.append(number)
                raise
            finally:
                self.active -= 1

    def open(self) -> None:
        """Let all go on."""
        self._may_end.set()


def memory(tmp_path: Path, **daemon: Any) -> Any:
    """Return settings whose records are in memory, so that handlers wait for no file's lock."""
    return settings_in(tmp_path, daemon, idempotency={"store": "memory"})


async def test_bounded(tmp_path: Path) -> None:
    """No more are handled at once than may be, and no more are received than there are free slots or soon will be."""
    gate = Gate()
    async with running(memory(tmp_path, concurrency=3), gate.handlers) as daemon:
        for number in range(10):
            daemon.source.put(placed(number))
        await until(lambda: len(gate.begun) == 3)
        await asyncio.sleep(0.05)
        assert (gate.begun, daemon.consumer.in_hand, daemon.source.limits) == ([0, 1, 2], 3, [3])
        gate.open()
        await daemon.settled()
        assert gate.most == 3
        assert all(1 <= limit <= 6 for limit in daemon.source.limits)
        assert await daemon.effects() == list(range(10))


def quick(begun: list[int]) -> Handlers:
    """Return a handler that ends at once."""
    handlers = Handlers()

    @handlers.handles("test.done")
    async def end(message: Message) -> None:
        begun.append(message.data["number"])

    return handlers


@pytest.mark.parametrize(("sends", "most"), [(False, 10), (True, 5)])
async def test_quick_messages_are_received_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sends: bool, most: int
) -> None:
    """As many as there are slots before there is one for them, unless the broker sends them by itself."""
    source, begun, held = InMemorySource(), list[int](), list[int]()
    source.sends = sends
    async with running(memory(tmp_path, concurrency=5), quick(begun), source=source) as daemon:
        accept = daemon.consumer._accept

        def accepted(delivery: Delivery) -> None:
            accept(delivery)
            held.append(daemon.consumer.in_hand)

        monkeypatch.setattr(daemon.consumer, "_accept", accepted)
        for number in range(100):
            source.put(placed(number))
        await daemon.settled()
    assert (sorted(begun), max(held)) == (list(range(100)), most)


async def test_a_message_that_the_broker_is_told_of_has_no_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are handled meanwhile, but not the next one of its key."""
    source, begun, told = InMemorySource(), list[int](), asyncio.Event()
    plain = source.acknowledge

    async def acknowledge(delivery: Delivery) -> None:
        await told.wait()
        await plain(delivery)

    monkeypatch.setattr(source, "acknowledge", acknowledge)
    async with running(memory(tmp_path, concurrency=1), quick(begun), source=source) as daemon:
        for number, key in enumerate(["a", "a", "b"]):
            source.put(placed(number, key=key))
        await until(lambda: 2 in begun)
        assert (begun, daemon.consumer.in_hand) == ([0, 2], 3)
        told.set()
        await daemon.settled()
        assert (begun, daemon.consumer._waiting) == ([0, 2, 1], 0)


@pytest.mark.parametrize(("keys", "urgent"), [("aa", [True, True]), ("ab", [False, True]), ("a", [True])])
async def test_what_is_urgent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: str, urgent: list[bool]) -> None:
    """The broker is told at once where another message waits for it, and where there is no other."""
    source, seen = InMemorySource(), list[bool]()
    plain = source.acknowledge

    async def acknowledge(delivery: Delivery) -> None:
        seen.append(delivery.is_urgent)
        await asyncio.sleep(0.01)
        await plain(delivery)

    monkeypatch.setattr(source, "acknowledge", acknowledge)
    for number, key in enumerate(keys):
        source.put(placed(number, key=key))
    async with running(memory(tmp_path, concurrency=2), quick([]), source=source) as daemon:
        await daemon.settled()
    assert seen == urgent


async def test_order_per_key(tmp_path: Path) -> None:
    """Messages of one key come one after the other, in their order; others run beside them."""
    handlers, seen, active = Handlers(), [], {"a": 0, "b": 0, "c": 0}
    most = 0

    @handlers.handles("test.done")
    async def see(message: Message) -> None:
        nonlocal most
        key = str(message.key)
        active[key] += 1
        assert active[key] == 1
        most = max(most, sum(active.values()))
        await asyncio.sleep(0.002)
        seen.append((key, message.data["number"]))
        active[key] -= 1

    async with running(memory(tmp_path, concurrency=5), handlers) as daemon:
        for number in range(30):
            daemon.source.put(placed(number, key="abc"[number % 3]))
        await daemon.settled()
        assert daemon.consumer._followers == {}
        assert (daemon.consumer._waiting, daemon.consumer._tasks) == (0, {})
    assert daemon.source.dead == []
    for key in "abc":
        of_key = [number for one, number in seen if one == key]
        assert of_key == sorted(of_key)
        assert len(of_key) == 10
    assert most > 1


async def test_followers_hold_up_nobody_else(tmp_path: Path) -> None:
    """Messages that wait for one of their key take no slots, and how many may wait is bounded."""
    gate = Gate()
    async with running(memory(tmp_path, concurrency=2), gate.handlers) as daemon:
        for number in range(50):
            daemon.source.put(placed(number, key="hot"))
        await until(lambda: daemon.consumer.in_hand == 2 * IN_HAND)
        assert gate.begun == [0]
        await asyncio.sleep(0.05)
        assert daemon.consumer.in_hand == 2 * IN_HAND
        gate.open()
        await daemon.settled()
        assert gate.ended == list(range(50))


async def test_other_key_beside_a_hot_one(tmp_path: Path) -> None:
    """While one key's messages wait in line another key's message is handled."""
    gate = Gate()
    async with running(memory(tmp_path, concurrency=2), gate.handlers) as daemon:
        for number in range(5):
            daemon.source.put(placed(number, key="hot"))
        daemon.source.put(placed(9, key="cold"))
        await until(lambda: gate.begun == [0, 9])
        gate.open()
        await daemon.settled()


@pytest.mark.parametrize("ordered", [True, False])
async def test_failing_message_of_a_key(tmp_path: Path, ordered: bool) -> None:
    """Where order is asked for, a key's followers wait for the retries of the first, and nobody else does."""
    handlers, seen = Handlers(), []

    @handlers.handles("test.done", max_attempts=4)
    async def see(message: Message) -> None:
        number = message.data["number"]
        seen.append(number)
        if number == 1:
            raise InfrastructureError(retry_after=0.05)

    async with running(memory(tmp_path, concurrency=1, ordered=ordered), handlers) as daemon:
        for number, key in ((1, "a"), (2, "a"), (3, "b"), (4, None)):
            daemon.source.put(placed(number, key=key))
        await daemon.settled()
        assert sorted(seen) == [1, 1, 1, 1, 2, 3, 4]
        (letter,) = daemon.source.dead
        assert (letter.why["reason"], letter.why["attempts"]) == ("exhausted", 4)
        assert len(daemon.source.delays) == (0 if ordered else 3)
    first, last = seen.index(2), len(seen) - 1 - seen[::-1].index(1)
    assert (first > last) is ordered
    assert seen.index(3) < last
    assert seen.index(4) < last


async def test_kept(tmp_path: Path) -> None:
    """What is in hand is kept from other daemons for as long as it takes, followers included."""
    gate = Gate()
    source = InMemorySource(visibility_timeout=1.0)
    async with running(memory(tmp_path, visibility_timeout=1.0), gate.handlers, source=source) as daemon:
        source.put(placed(1, key="a"))
        source.put(placed(2, key="a"))
        await until(lambda: source.calls.count("keep") >= 5)
        gate.open()
        await daemon.settled()
        assert gate.begun == [1, 2]
        assert len(source.acknowledged) == 2


async def test_outage(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is away is said once, handlers go on, and what could not be acknowledged comes as a duplicate."""
    monkeypatch.setattr(consumer_module, "_BROKER", RetryPolicy(backoff=0.01, backoff_max=0.05))
    gate = Gate()
    source = InMemorySource(visibility_timeout=1.0)
    async with running(settings_in(tmp_path), gate.handlers, source=source) as daemon:
        source.put(placed(1))
        await until(lambda: gate.begun == [1])
        source.break_down()
        await until(lambda: log.named("broker.lost"))
        opened = source.calls.count("open")
        gate.open()
        await until(lambda: log.named("message.not_acknowledged"))
        await until(lambda: source.calls.count("open") >= opened + 3)
        source.put(placed(2))
        source.away = False
        await daemon.settled()
        assert await daemon.effects() == [1, 2]
    assert len(log.named("broker.lost")) == len(log.named("broker.restored")) == 1
    assert len(log.named("message.duplicate")) == 1
    assert log.named("broker.lost")[0]["code"] == "BROKER_ERROR"


async def test_broker_that_is_away_at_first(tmp_path: Path, log: Log) -> None:
    """A broker that is not there yet is waited for."""
    source = InMemorySource()
    source.break_down()
    async with running(settings_in(tmp_path), Gate(open=True).handlers, source=source) as daemon:
        source.put(placed(1))
        await until(lambda: source.calls.count("open") >= 2)
        source.away = False
        await daemon.settled()
    assert len(log.named("broker.lost")) == 1


async def test_outage_while_all_slots_are_taken(tmp_path: Path, log: Log) -> None:
    """An outage is seen, and its end, although nothing is received meanwhile."""
    gate = Gate()
    source = InMemorySource(visibility_timeout=60.0)
    async with running(
        settings_in(tmp_path, {"concurrency": 1, "visibility_timeout": 1}), gate.handlers, source=source
    ):
        source.put(placed(1))
        await until(lambda: gate.begun == [1])
        await asyncio.sleep(0.02)
        source.break_down()
        await until(lambda: log.named("broker.lost"))
        source.away = False
        await until(lambda: log.named("broker.restored"))
        gate.open()


async def test_drain(tmp_path: Path) -> None:
    """A drain takes no more, gives back what was not begun, the last first, and waits for the others."""
    gate = Gate()
    async with prepared(memory(tmp_path, concurrency=2), gate.handlers) as daemon:
        run = asyncio.create_task(daemon.consumer.run())
        for number in (1, 2, 3):
            daemon.source.put(placed(number, id=f"m-{number}", key="a"))
        await until(lambda: daemon.consumer.in_hand == 3)
        drained = asyncio.create_task(daemon.consumer.drain())
        await until(lambda: len(daemon.source.given_back) == 2)
        assert [b'"m-3"' in body for body in daemon.source.given_back] == [True, False]
        daemon.source.put(placed(4))
        await asyncio.sleep(0.05)
        assert not drained.done()
        gate.open()
        await drained
        await run
        assert (gate.ended, daemon.source.left, daemon.consumer.in_hand) == ([1], 3, 0)
        assert len(daemon.source.acknowledged) == 1


async def test_drain_gives_back_what_waits_for_its_next_attempt(tmp_path: Path) -> None:
    """What waits here for another attempt is given back, not waited for."""
    handlers = Handlers()

    @handlers.handles("test.done")
    async def fails(message: Message) -> None:
        raise InfrastructureError(retry_after=600)

    async with prepared(memory(tmp_path, ordered=True), handlers) as daemon:
        run = asyncio.create_task(daemon.consumer.run())
        daemon.source.put(placed(1, key="a"))
        await until(lambda: daemon.consumer._waiting == 1)
        await daemon.consumer.drain()
        await run
        assert (len(daemon.source.given_back), daemon.source.left, daemon.consumer.in_hand) == (1, 1, 0)


async def test_drain_that_takes_too_long(tmp_path: Path, log: Log) -> None:
    """At the deadline handlers are cancelled, what they did is undone, and their messages are given back."""
    gate = Gate()
    async with prepared(settings_in(tmp_path), gate.handlers) as daemon:
        run = asyncio.create_task(daemon.consumer.run())
        daemon.source.put(placed(1))
        await until(lambda: gate.begun == [1])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await daemon.consumer.drain()
        await run
        assert (gate.interrupted, len(daemon.source.given_back), daemon.source.left) == ([1], 1, 1)
        assert await daemon.effects() == []
        assert len(log.named("message.interrupted")) == 1
        assert daemon.number('message_active{type="test.done"}') == 0


async def test_handler_that_does_not_heed_its_end(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that goes on when it is cancelled keeps its message: nobody else may begin with it meanwhile."""
    monkeypatch.setattr(consumer_module, "UNDO_SECONDS", 0.05)
    handlers, entered, may_end = Handlers(), asyncio.Event(), asyncio.Event()

    @handlers.handles("test.done")
    async def stubborn(message: Message) -> None:
        entered.set()
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue

    async with prepared(memory(tmp_path), handlers) as daemon:
        run = asyncio.create_task(daemon.consumer.run())
        daemon.source.put(placed(1))
        await entered.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await daemon.consumer.drain()
        assert daemon.source.given_back == []
        assert len(log.named("message.not_interrupted")) == 1
        may_end.set()
        await until(lambda: daemon.consumer.in_hand == 0)
        await run


async def test_drain_of_what_never_ran(tmp_path: Path) -> None:
    """A consumer that was not started, or is drained twice, ends."""
    async with prepared(settings_in(tmp_path), Gate().handlers) as daemon:
        await daemon.consumer.drain()
        await daemon.consumer.drain()
        await daemon.consumer.run()


async def test_backlog(tmp_path: Path) -> None:
    """How many messages wait is a series, once it is known."""
    async with prepared(settings_in(tmp_path), Gate().handlers) as daemon:
        assert b"message_backlog" not in daemon.services.metrics.render()
        await daemon.source.open()
        daemon.source.put(placed(1))
        daemon.source.put(placed(2))
        await daemon.consumer.measure_backlog()
        assert daemon.number("message_backlog") == 2


async def test_mistake_in_the_handling_itself(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the handling itself is said, and stops nobody: the message is not acknowledged, and comes again."""
    source = InMemorySource(visibility_timeout=0.2)
    async with running(settings_in(tmp_path), Gate(open=True).handlers, source=source) as daemon:
        attempt = daemon.consumer._handling.attempt
        failures = [ZeroDivisionError("a mistake")]

        async def fails(received: Any, done: Any) -> Any:
            if failures:
                raise failures.pop()
            return await attempt(received, done)

        monkeypatch.setattr(daemon.consumer._handling, "attempt", fails)
        source.put(placed(1))
        await daemon.settled()
        assert await daemon.effects() == [1]
    assert len(log.named("message.not_handled")) == 1
