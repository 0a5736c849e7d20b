"""Redis as a broker: at no moment is a message in the memory of a worker alone, and who lives keeps what it has."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from kombu import Connection, Consumer, Exchange, Queue

from app.worker.redis_broker import Channel

from ..redis_server import OwnRedis, own_redis
from ..running import until

VISIBILITY_SECONDS = 0.6


class Worker:
    """A worker, as far as the broker knows it.

    Args:
        redis: Where it takes messages from.
        names: Of the queues.
        prefetch: How many messages it takes at once.

    """

    def __init__(self, redis: OwnRedis, names: tuple[str, ...], prefetch: int) -> None:
        self.connection = Connection(
            redis.url,
            transport="app.worker.redis_broker:Transport",
            transport_options={
                "visibility_timeout": VISIBILITY_SECONDS,
                "unacked_restore_throttle": 1,
                "unacked_key": f"{redis.service}.unacked",
                "unacked_index_key": f"{redis.service}.unacked_index",
            },
        )
        self.channel: Any = self.connection.channel()
        owned = [f"{redis.service}.{name}" for name in names]
        self.queues = [Queue(name, Exchange(name), routing_key=name) for name in owned]
        self.taken: list[Any] = []
        consumer = Consumer(self.channel, self.queues, on_message=self.taken.append, prefetch_count=prefetch)
        consumer.consume()

    def send(self, content: str, queue: int = 0) -> None:
        """Send something to one of its queues."""
        name = self.queues[queue].name
        self.connection.Producer().publish({"content": content}, exchange=name, routing_key=name, serializer="json")

    def takes(self, seconds: float = 0.2) -> list[str]:
        """Return what it has taken, after it has looked for more."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                self.connection.drain_events(timeout=0.1)
            except TimeoutError:
                continue
        return [message.payload["content"] for message in self.taken]

    def die(self) -> None:
        """Do nothing more, as one that was killed."""
        self.channel._left.set()
        self.channel._keeper.join()


@pytest.fixture
def redis() -> Iterator[OwnRedis]:
    """Return a Redis under a name of the test's own."""
    with own_redis() as redis:
        yield redis
        # Kombu's own keys begin otherwise.
        with redis.client() as client:
            client.delete(*client.scan_iter(match=f"_kombu.*{redis.service}*"))


@pytest.fixture
def start(redis: OwnRedis) -> Iterator[Callable[..., Worker]]:
    """Return what starts a worker."""
    with ExitStack() as stack:

        def started(*names: str, prefetch: int = 1) -> Worker:
            worker = Worker(redis, names or ("one",), prefetch)
            stack.callback(worker.connection.close)
            return worker

        yield started


def test_what_was_taken_and_not_noted_comes_back(
    start: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch, redis: OwnRedis
) -> None:
    """A worker that is killed between the two loses nothing."""
    killed = start()
    with monkeypatch.context() as patched:
        patched.setattr(Channel, "_note", lambda *_: False)
        killed.send("a")
        until(lambda: killed.takes() == [] and not redis.client().llen(killed.queues[0].name), "the message's leaving")
        killed.die()
    other = start()
    assert until(other.takes, "the message") == ["a"]


def test_what_a_worker_holds_it_keeps_while_it_lives(start: Callable[..., Worker]) -> None:
    """Its loop may stand still, as while a task runs in it."""
    holds = start()
    holds.send("a")
    until(holds.takes, "the message")
    other = start()
    assert other.takes(VISIBILITY_SECONDS * 4) == []
    holds.die()
    assert until(other.takes, "the message of the dead") == ["a"]
    assert other.taken[0].delivery_info["redelivered"]


def test_a_message_is_gone_when_it_is_acknowledged(start: Callable[..., Worker], redis: OwnRedis) -> None:
    """Nothing of it stays behind."""
    worker = start()
    worker.send("a")
    until(worker.takes, "the message")
    worker.taken[0].ack()
    worker.die()
    other = start()
    assert other.takes(VISIBILITY_SECONDS * 2) == []
    assert [key for key in redis.stored() if b"takers" not in key] == []


def test_what_is_rejected_comes_back(start: Callable[..., Worker]) -> None:
    """At once."""
    worker = start()
    worker.send("a")
    until(worker.takes, "the message")
    worker.taken.pop().requeue()
    assert until(worker.takes, "the message again") == ["a"]


def test_several_queues(start: Callable[..., Worker]) -> None:
    """None of them waits for another."""
    worker = start("one", "two", prefetch=0)
    for number in range(10):
        worker.send(f"{number}", queue=number % 2)
    until(lambda: len(worker.takes()) == 10, "ten messages")
    assert sorted(worker.takes()) == [str(number) for number in range(10)]
    worker.send("last", queue=1)
    assert until(lambda: "last" in worker.takes(), "what comes later")


def test_messages_come_in_order(start: Callable[..., Worker]) -> None:
    """The first that was sent comes first."""
    worker = start(prefetch=0)
    for number in range(10):
        worker.send(f"{number}")
    until(lambda: len(worker.takes()) == 10, "ten messages")
    assert worker.takes() == [str(number) for number in range(10)]
