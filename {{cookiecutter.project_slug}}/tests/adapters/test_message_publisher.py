"""Publishing messages: the ids of the sender on every one, a span of its own, and a broker that is not there."""

import asyncio
import json
import os
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from app.adapters.message_publisher import MessagePublisher
from app.adapters.message_transports import rabbitmq
from app.adapters.tracing import Tracing
from app.core.context import request_context
from app.core.errors import BrokerError
from app.core.messages import MAX_BYTES, MessageUnreadableError, new_message
from app.settings import ConfigurationError, Settings

from ..proxy import Proxy, proxy_to
from ..servers import deaf_server, free_port, silent_server

IDS = {"request_id": "r-1", "correlation_id": "c-1", "user_id": "u-1"}
RABBITMQ = ("127.0.0.1", 5672)
PATIENCE = 60.0


class Counted(list[tuple[str, str]]):
    """The messages that were counted: the type and the outcome of each."""

    def published(self, kind: str, outcome: str) -> None:
        """Count a message."""
        self.append((kind, outcome))


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Return settings with a broker in a file."""
    return settings.model_copy(update={"broker_url": f"sqlite:///{tmp_path}/queue.db"})


@pytest.fixture
def counted() -> Counted:
    """Return what counts."""
    return Counted()


@pytest.fixture
def publisher(settings: Settings, counted: Counted) -> Iterator[MessagePublisher]:
    """Return what publishes, without an event loop."""
    publisher = MessagePublisher(settings, metrics=counted, timeout=PATIENCE)
    yield publisher
    publisher.close()


@pytest.fixture
async def messages(settings: Settings, counted: Counted) -> AsyncIterator[MessagePublisher]:
    """Return what publishes, on an event loop."""
    publisher = MessagePublisher(settings, metrics=counted, timeout=PATIENCE)
    yield publisher
    await publisher.aclose()


@pytest.fixture
def spans() -> InMemorySpanExporter:
    """Return what takes the spans."""
    return InMemorySpanExporter()


@pytest.fixture
def tracing(settings: Settings, spans: InMemorySpanExporter) -> Tracing:
    """Return tracing that records."""
    return Tracing(settings, processor=SimpleSpanProcessor(spans))


def lying(folder: Path) -> list[dict[str, Any]]:
    """Return the messages that lie in the file, in their order."""
    with closing(sqlite3.connect(folder / "queue.db")) as connection:
        return [json.loads(body) for (body,) in connection.execute("SELECT body FROM messages ORDER BY number")]


def producers(spans: InMemorySpanExporter) -> list[Any]:
    """Return the spans of kind producer."""
    return [span for span in spans.get_finished_spans() if span.kind is SpanKind.PRODUCER]


async def test_message(
    messages: MessagePublisher, counted: Counted, tracing: Tracing, spans: InMemorySpanExporter, tmp_path: Path
) -> None:
    """A message has the ids of the request that publishes it, and a span of kind producer above it."""
    before = time.time()
    with tracing.span("request") as request, request_context(**IDS):
        name = await messages.publish("order.placed", {"order_id": "o-1"}, key="o-1", deadline=5e9)
    (message,) = lying(tmp_path)
    (producer,) = producers(spans)
    assert {field: message[field] for field in ("id", "type", "data", "key", "deadline")} == {
        "id": name,
        "type": "order.placed",
        "data": {"order_id": "o-1"},
        "key": "o-1",
        "deadline": 5e9,
    }
    assert {name: message[f"x-{name.replace('_', '-')}"] for name in IDS} == IDS
    trace_id = f"{request.get_span_context().trace_id:032x}"
    assert message["traceparent"] == f"00-{trace_id}-{producer.context.span_id:016x}-03"
    assert before <= message["x-sent-at"] <= time.time()
    assert (producer.name, producer.parent.span_id) == ("publish order.placed", request.get_span_context().span_id)
    attributes = {name.removeprefix("messaging."): value for name, value in producer.attributes.items()}
    assert attributes == {
        "system": "sqlite",
        "operation.name": "publish",
        "operation.type": "send",
        "destination.name": "orders",
        "message.id": name,
        "message.type": "order.placed",
    }
    assert counted == [("order.placed", "sent")]


async def test_without_a_request(messages: MessagePublisher, spans: InMemorySpanExporter, tmp_path: Path) -> None:
    """Without a request it has no ids of one, and no span."""
    assert await messages.publish("order.placed", {}, id="m-1") == "m-1"
    (message,) = lying(tmp_path)
    assert set(message) == {"id", "type", "data", "x-sent-at"}
    assert not producers(spans)


def test_without_an_event_loop(
    publisher: MessagePublisher, tracing: Tracing, spans: InMemorySpanExporter, counted: Counted, tmp_path: Path
) -> None:
    """Code without an event loop, in any thread, sends its own ids, and its own position."""

    def send(number: int) -> None:
        with tracing.span("request"), request_context(request_id=f"r-{number}"):
            publisher.publish_sync("order.placed", {"n": number})

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = lying(tmp_path)
    assert {(one["data"]["n"], one["x-request-id"]) for one in found} == {(n, f"r-{n}") for n in range(8)}
    assert {one["traceparent"] for one in found} == {
        f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-03" for span in producers(spans)
    }
    assert counted == [("order.placed", "sent")] * 8


def test_stopped_and_used_again(publisher: MessagePublisher, tmp_path: Path) -> None:
    """It ends its thread when it is closed, and starts another when it is used again."""
    before = threading.active_count()
    publisher.publish_sync("a", {})
    assert any(thread.name == "message publisher" and thread.daemon for thread in threading.enumerate())
    publisher.close()
    publisher.close()
    assert not any(thread.name == "message publisher" for thread in threading.enumerate())
    publisher.publish_sync("b", {})
    publisher.close()
    assert [one["type"] for one in lying(tmp_path)] == ["a", "b"]
    assert threading.active_count() >= before


def test_importing_and_making_starts_nothing(settings: Settings) -> None:
    """Neither a thread nor a connection is there before the first message."""
    before = threading.active_count()
    MessagePublisher(settings.model_copy(update={"broker_url": "amqp://nobody.invalid/"}))
    assert threading.active_count() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked(publisher: MessagePublisher, tmp_path: Path) -> None:
    """A process that is forked publishes by itself, whatever its parent was doing; so does its parent afterwards."""
    publisher.publish_sync("before", {})
    with publisher._thread._lock, publisher._lock:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                publisher.publish_sync("child", {})
                code = 0
            finally:
                os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    publisher.publish_sync("after", {})
    assert [one["type"] for one in lying(tmp_path)] == ["before", "child", "after"]


def test_many_event_loops(settings: Settings, tmp_path: Path) -> None:
    """Each event loop has connections of its own, and those of loops that have ended are forgotten."""
    publisher = MessagePublisher(settings, timeout=PATIENCE)
    for number in range(3):
        asyncio.run(_publish_once(publisher, number))
    assert [one["data"]["n"] for one in lying(tmp_path)] == [0, 1, 2]
    assert not publisher._transports


async def _publish_once(publisher: MessagePublisher, number: int) -> None:
    await publisher.publish("a", {"n": number})
    assert len(publisher._transports) == 1
    await publisher.aclose()


async def test_sent_as_they_are(messages: MessagePublisher, counted: Counted, tmp_path: Path) -> None:
    """What is handed on, as from an outbox, keeps its order, and gets nobody else's ids."""
    with request_context(**IDS):
        await messages.send([new_message("a", {"n": n}, id=f"m-{n}", headers={"x-user-id": "u-2"}) for n in range(9)])
    found = lying(tmp_path)
    assert [one["id"] for one in found] == [f"m-{n}" for n in range(9)]
    assert {name for one in found for name in one} == {"id", "type", "data", "x-user-id"}
    assert counted == [("a", "sent")] * 9
    await messages.send([])
    assert len(lying(tmp_path)) == 9


@pytest.mark.parametrize(
    ("type_", "data", "error"),
    [
        ("a", {"n": object()}, TypeError),
        ("a", {"n": float("inf")}, ValueError),
        ("a", {"s": "x" * MAX_BYTES}, MessageUnreadableError),
        ("a b", {}, MessageUnreadableError),
    ],
)
async def test_no_message(
    messages: MessagePublisher, tmp_path: Path, type_: str, data: dict[str, Any], error: type[Exception]
) -> None:
    """What the caller did wrong is told as that, and nothing is sent."""
    with pytest.raises(error):
        await messages.publish(type_, data)
    assert not (tmp_path / "queue.db").exists() or not lying(tmp_path)


PEERS: dict[str, Callable[[], Any]] = {
    "nobody": lambda: nullcontext(free_port()),
    "silent": silent_server,
    "deaf": deaf_server,
}


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("scheme", ["redis", "amqp"])
async def test_broker_is_away(
    settings: Settings, counted: Counted, tracing: Tracing, spans: InMemorySpanExporter, scheme: str, peer: str
) -> None:
    """A broker that is not there, or says nothing, is an error that may be tried again, counted, and on the span."""
    with PEERS[peer]() as port:
        away = settings.model_copy(update={"broker_url": f"{scheme}://me:se-cret@127.0.0.1:{port}/0"})
        messages = MessagePublisher(away, metrics=counted, timeout=0.3)
        with tracing.span("request"), pytest.raises(BrokerError) as raised:
            await messages.publish("order.placed", {"s": "private"})
        with pytest.raises(BrokerError):
            await asyncio.to_thread(messages.publish_sync, "order.placed", {})
        await messages.aclose()
    assert raised.value.retryable
    assert "se-cret" not in f"{raised.value!r} {raised.value.__cause__!r}"
    assert counted == [("order.placed", "failed")] * 2
    assert [span.status.status_code for span in producers(spans)] == [StatusCode.ERROR]


async def test_bounded(settings: Settings, counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a client waits for, the caller does not wait with it."""

    class Hanging:
        async def send(self, messages: object) -> None:
            await asyncio.sleep(PATIENCE)

        async def aclose(self) -> None:
            pass

    monkeypatch.setattr("app.adapters.message_publisher.message_transport", lambda *_: Hanging())
    messages = MessagePublisher(settings, metrics=counted, timeout=0.05)
    with pytest.raises(BrokerError, match="in time"):
        await messages.publish("a", {})
    with pytest.raises(BrokerError, match="in time"):
        await asyncio.to_thread(messages.publish_sync, "a", {})
    await messages.aclose()
    assert counted == [("a", "failed")] * 2


class Rabbit:
    """A queue of RabbitMQ, and a way to it that may be cut.

    Args:
        proxy: The way.

    """

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.queue = f"test-{uuid4().hex}"
        self.url = f"amqp://guest:guest@127.0.0.1:{proxy.port}//"

    async def taken(self) -> list[str]:
        """Return the types of the messages that lie there, and take them."""
        found: list[str] = []
        async with await aio_pika.connect("amqp://guest:guest@127.0.0.1:5672//") as connection:
            queue = await (await connection.channel()).get_queue(self.queue)
            while (message := await queue.get(no_ack=True, fail=False)) is not None:
                found.append(json.loads(message.body)["type"])
        return found

    async def delete(self) -> None:
        """Leave nothing behind."""
        async with await aio_pika.connect("amqp://guest:guest@127.0.0.1:5672//") as connection:
            channel = await connection.channel()
            for name in (self.queue, f"{self.queue}.dead"):
                await channel.queue_delete(name)


@contextmanager
def _proxy() -> Iterator[Proxy]:
    try:
        socket.create_connection(RABBITMQ, timeout=3).close()
    except OSError:
        pytest.skip(f"RabbitMQ does not answer at {RABBITMQ}")
    with proxy_to(*RABBITMQ) as proxy:
        yield proxy


@pytest.fixture
async def rabbit() -> AsyncIterator[Rabbit]:
    """Return a queue of the test's own."""
    with _proxy() as proxy:
        rabbit = Rabbit(proxy)
        try:
            yield rabbit
        finally:
            await rabbit.delete()


@pytest.fixture
async def over_rabbitmq(settings: Settings, rabbit: Rabbit, counted: Counted) -> AsyncIterator[MessagePublisher]:
    """Return what publishes over RabbitMQ."""
    used = settings.model_copy(update={"broker_url": rabbit.url})
    publisher = MessagePublisher(used, queue=rabbit.queue, metrics=counted, timeout=PATIENCE)
    yield publisher
    await publisher.aclose()


async def test_rabbitmq(over_rabbitmq: MessagePublisher, rabbit: Rabbit) -> None:
    """The first message makes the queue; many at once use one connection."""
    await asyncio.gather(*(over_rabbitmq.publish(f"t{number}", {}) for number in range(50)))
    await over_rabbitmq.send([new_message(f"s{number}", {}) for number in range(300)])
    found = await rabbit.taken()
    assert sorted(found[:50]) == sorted(f"t{number}" for number in range(50))
    assert found[50:] == [f"s{number}" for number in range(300)]
    assert len(rabbit.proxy._clients) == 1


async def test_connection_broke(over_rabbitmq: MessagePublisher, rabbit: Rabbit, counted: Counted) -> None:
    """A connection that broke since is no error: the message is sent at once over a new one."""
    await over_rabbitmq.publish("a", {})
    rabbit.proxy.cut()
    await over_rabbitmq.publish("b", {})
    await asyncio.to_thread(over_rabbitmq.publish_sync, "c", {})
    rabbit.proxy.cut()
    await asyncio.to_thread(over_rabbitmq.publish_sync, "d", {})
    assert set(await rabbit.taken()) == {"a", "b", "c", "d"}
    assert [outcome for _, outcome in counted] == ["sent"] * 4


async def test_broker_stalls(settings: Settings, rabbit: Rabbit) -> None:
    """A broker that stops answering is an error in time; when it answers again the same publisher works."""
    used = settings.model_copy(update={"broker_url": rabbit.url})
    messages = MessagePublisher(used, queue=rabbit.queue, timeout=1.0)
    await _until_sent(messages, "a")
    rabbit.proxy.hang()
    for _ in range(2):
        with pytest.raises(BrokerError):
            await messages.publish("b", {})
    # A connection whose peer is gone without a word would stay as it is: the next message is to have another.
    (transport,) = messages._transports.values()
    assert isinstance(transport, rabbitmq.RabbitTransport)
    assert transport._opened is None
    rabbit.proxy.go_on()
    await _until_sent(messages, "c")
    await messages.aclose()
    found = await rabbit.taken()
    assert found[0] == "a"
    assert "c" in found


async def _until_sent(messages: MessagePublisher, kind: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await messages.publish(kind, {})
            except BrokerError:
                continue
            return


async def test_caller_gives_up(over_rabbitmq: MessagePublisher, rabbit: Rabbit) -> None:
    """A caller that is cancelled is cancelled, and takes no connection from the others."""
    await over_rabbitmq.publish("a", {})
    rabbit.proxy.hang()
    given_up = asyncio.ensure_future(over_rabbitmq.publish("b", {}))
    going_on = asyncio.ensure_future(over_rabbitmq.publish("c", {}))
    await asyncio.sleep(0.05)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    rabbit.proxy.go_on()
    await going_on
    assert "c" in await rabbit.taken()
    assert len(rabbit.proxy._clients) == 1


async def test_queue_of_another_kind(over_rabbitmq: MessagePublisher, rabbit: Rabbit) -> None:
    """A queue that a daemon made in its own way is used as it is."""
    async with await aio_pika.connect("amqp://guest:guest@127.0.0.1:5672//") as connection:
        await rabbitmq.declare(connection, rabbit.queue, ordered=True)
    await over_rabbitmq.publish("a", {})
    async with await aio_pika.connect("amqp://guest:guest@127.0.0.1:5672//") as connection:
        queue = await (await connection.channel()).get_queue(rabbit.queue)
        assert queue.declaration_result.message_count == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [(None, "received nothing"), ("filesystem://var/broker", "received 'filesystem://var/broker', which is for tasks")],
)
def test_no_broker_for_messages(settings: Settings, url: str | None, said: str) -> None:
    """Without a broker for messages nothing can be published, and the message names the setting and what it may be."""
    with pytest.raises(ConfigurationError, match=rf"^BROKER_URL: {said}.*; allowed: .*sqlite:///<file>"):
        MessagePublisher(settings.model_copy(update={"broker_url": url}))


def test_client_is_not_installed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the client the message says what to add; other brokers do not need it."""
    monkeypatch.setitem(sys.modules, "aio_pika", None)
    with pytest.raises(ConfigurationError, match="uv add 'aio-pika"):
        MessagePublisher(settings.model_copy(update={"broker_url": "amqp://localhost/"}))
    MessagePublisher(settings)
