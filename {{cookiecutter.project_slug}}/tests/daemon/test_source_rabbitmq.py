"""RabbitMQ as a source of messages: what it lends, gives back, keeps for later and buries."""

import asyncio
import gc
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import pytest

from app.adapters.message_transports import rabbitmq
from app.adapters.message_transports.rabbitmq import RabbitTransport
from app.core.errors import BrokerError
from app.core.message_source import Delivery, Letter
from app.daemon.configuration import DaemonGroup, DaemonSettings
from app.daemon.sources.rabbitmq import RabbitSource
from app.settings import ConfigurationError

from ..brokers import RabbitNode, private_rabbitmq
from ..servers import deaf_server, free_port, silent_server

URL = "amqp://guest:guest@127.0.0.1:5672//"
PATIENCE = 60.0


@pytest.fixture(scope="module")
def url() -> str:
    """Return the machine's RabbitMQ; skips by name where there is none."""

    async def ask() -> None:
        await (await aio_pika.connect(URL, timeout=5)).close()

    try:
        asyncio.run(ask())
    except (OSError, TimeoutError):
        pytest.skip(f"RabbitMQ does not answer at {URL}")
    return URL


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    """Return a RabbitMQ that may be killed."""
    with private_rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as node:
        yield node


def settings_for(url: str, queue: str, **daemon: Any) -> DaemonSettings:
    """Return the settings of a daemon.

    Args:
        url: Its broker.
        queue: Its queue.
        daemon: Further settings of `DAEMON`.

    """
    group = DaemonGroup(queue=queue, **{"backoff_max": 0.5, **daemon})
    return DaemonSettings(broker_url=url, daemon=group)


class Queue:
    """A queue of the test's own, with those who receive from it.

    Args:
        url: Where it is.
        stack: Closes them.

    """

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.url = url
        self.name = f"test-{uuid4().hex}"
        self._stack = stack

    async def source(self, **daemon: Any) -> RabbitSource:
        """Return a receiver, opened.

        Args:
            daemon: Its settings.

        """
        source = RabbitSource(settings_for(self.url, self.name, **daemon))
        self._stack.push_async_callback(source.aclose)
        await source.open()
        return source

    async def send(self, *bodies: str, **headers: Any) -> None:
        """Send messages.

        Args:
            bodies: Their bodies.
            headers: The headers of each.

        """
        transport = RabbitTransport(self.url, self.name, PATIENCE)
        try:
            await transport.send([(body.encode(), headers) for body in bodies])
        finally:
            await transport.aclose()

    async def delete(self) -> None:
        """Leave nothing behind."""
        connection = await aio_pika.connect(self.url, timeout=PATIENCE)
        channel = await connection.channel()
        delayed = (rabbitmq.delayed_queue(self.name, delay) for delay in rabbitmq.DELAYS)
        for name in (self.name, f"{self.name}.dead", *delayed):
            await channel.queue_delete(name)
        await connection.close()


@asynccontextmanager
async def own_queue(url: str) -> AsyncIterator[Queue]:
    """Lend a queue, and delete it whatever happens."""
    async with AsyncExitStack() as stack:
        queue = Queue(url, stack)
        stack.push_async_callback(queue.delete)
        yield queue


@pytest.fixture
async def queue(url: str) -> AsyncIterator[Queue]:
    """Return a queue of the test's own."""
    async with own_queue(url) as queue:
        yield queue


async def taken(source: RabbitSource, number: int) -> list[Delivery]:
    """Return as many messages as were asked for, once they have come."""
    found: list[Delivery] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < number:
            found += await source.receive(number - len(found))
    return found


async def becomes(condition: Callable[[], Awaitable[Any]]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110 -- nobody says when
            await asyncio.sleep(0.05)


async def dead(source: RabbitSource) -> list[Letter]:
    """Return the dead letters."""
    return [letter async for letter in source.letters()]


def bodies(found: Sequence[Delivery | Letter]) -> list[str]:
    """Return what was sent."""
    return [one.body.decode() for one in found]


async def test_received_and_done(queue: Queue) -> None:
    """Messages come in their order with their headers, no more than asked for, and never again once acknowledged."""
    source = await queue.source()
    await queue.send(*"abc", tenant="t-1")
    first = await taken(source, 2)
    rest = await taken(source, 1)
    assert bodies(first + rest) == ["a", "b", "c"]
    assert [(one.headers, one.attempt, one.deliveries) for one in first] == [({"tenant": "t-1"}, 1, 1)] * 2
    for delivery in first + rest:
        await source.acknowledge(delivery)
    await source.aclose()
    assert await (await queue.source()).receive(1) == ()


async def test_bounded(queue: Queue) -> None:
    """No more is lent than is asked for, up to a bound, and more when some are done; the others wait for anybody."""
    source = await queue.source(concurrency=1)
    await queue.send(*(str(number) for number in range(12)))
    held = await taken(source, 2)
    await becomes(lambda: _waiting(source, 10))
    held += await taken(source, 8)
    assert await source.receive(5) == ()
    assert await source.backlog() == 2
    await source.acknowledge(held[0])
    assert bodies(await taken(source, 1)) == ["10"]


async def test_little_is_lent_that_nobody_asked_for(queue: Queue) -> None:
    """No more than are handled at once: what a daemon that crashes had not begun counts as delivered, too."""
    source, other = await queue.source(concurrency=3), await queue.source()
    await queue.send(*"abcdefgh")
    for _ in range(3):
        (delivery,) = await taken(source, 1)
        await source.acknowledge(delivery)
    assert len(await taken(other, 2)) == 2


async def _waiting(source: RabbitSource, number: int) -> bool:
    return await source.backlog() == number


async def test_open_takes_nothing(queue: Queue) -> None:
    """Who only opens, as a command does, holds no message back."""
    await queue.send("a")
    await queue.source()
    assert bodies(await taken(await queue.source(), 1)) == ["a"]


async def test_cancelled_receiver_keeps_none(queue: Queue) -> None:
    """What comes after a receiver was cancelled is the next one's."""
    source = await queue.source()
    waiting = asyncio.ensure_future(source.receive(1))
    await becomes(lambda: asyncio.sleep(0, source._arrived is not None))
    waiting.cancel()
    await queue.send("a")
    assert bodies(await taken(source, 1)) == ["a"]


async def test_lost_receiver(queue: Queue) -> None:
    """The messages of one who is gone are another's at once, and say that they were delivered before."""
    lost, other = await queue.source(), await queue.source()
    await queue.send("a")
    await taken(lost, 1)
    await lost.aclose()
    (delivery,) = await taken(other, 1)
    assert (delivery.body, delivery.attempt, delivery.deliveries) == (b"a", 1, 2)


async def test_given_back(queue: Queue) -> None:
    """A message that is given back comes again, as the same attempt."""
    source = await queue.source()
    await queue.send("a")
    (delivery,) = await taken(source, 1)
    await source.give_back(delivery)
    (again,) = await taken(source, 1)
    assert (again.body, again.attempt) == (b"a", 1)


async def test_given_back_and_gone(queue: Queue) -> None:
    """What is given back, or came and was received by nobody, is another's at once, and counts one delivery."""
    source, other = await queue.source(concurrency=3), await queue.source()
    await queue.send("a", "b", "c")
    (delivery,) = await taken(source, 1)
    await becomes(lambda: _waiting(source, 0))
    await source.give_back(delivery)
    found = await taken(other, 3)
    assert sorted(bodies(found)) == ["a", "b", "c"]
    assert [one.deliveries for one in found] == [2, 2, 2]


async def test_given_back_in_order(queue: Queue) -> None:
    """Where order counts, what is given back comes with what was not, when the source is closed; once it says so."""
    source, other = await queue.source(ordered=True), await queue.source(ordered=True)
    await queue.send(*"abcd")
    found = await taken(source, 3)
    await source.acknowledge(found[1])
    await source.give_back(found[2])
    await source.give_back(found[0])
    assert await other.receive(5) == ()
    await source.aclose()
    again = await taken(other, 3)
    assert [(one.body, one.deliveries) for one in again] == [(b"a", 2), (b"c", 2), (b"d", 2)]
    with pytest.raises(BrokerError):
        await source.give_back(found[0])


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.3])
async def test_tried_again(queue: Queue, delay: float) -> None:
    """A message that is put off comes back as the next attempt, with its headers, and not before."""
    source = await queue.source()
    await queue.send("a", tenant="t-1")
    (delivery,) = await taken(source, 1)
    began = asyncio.get_running_loop().time()
    await source.try_again(delivery, delay)
    (again,) = await taken(source, 1)
    assert asyncio.get_running_loop().time() - began >= delay
    assert (again.body, again.headers, again.attempt, again.deliveries) == (b"a", {"tenant": "t-1"}, 2, 1)
    await source.try_again(again, delay)
    assert (await taken(source, 1))[0].attempt == 3


async def test_many_tries(queue: Queue) -> None:
    """No number of attempts makes RabbitMQ take its return for a circle that it ends."""
    source = await queue.source()
    await queue.send("a")
    (delivery,) = await taken(source, 1)
    for number in range(2, 10):
        await source.try_again(delivery, 0.1)
        (delivery,) = await taken(source, 1)
        assert (delivery.attempt, set(delivery.headers)) == (number, set())


async def test_backlog(queue: Queue) -> None:
    """What waits for another attempt waits as well; a pause longer than all that are usual gets a queue of its own."""
    source = await queue.source(backoff_max=1.0)
    await queue.send("a", "b")
    first, _ = await taken(source, 2)
    await source.try_again(first, 30)

    async def one() -> bool:
        return await source.backlog() == 1

    await becomes(one)


@pytest.mark.parametrize(
    ("seconds", "milliseconds"),
    [(0.001, 100), (0.1, 100), (0.1001, 500), (299, 300_000), (301, 3_600_000), (1e9, 3_600_000)],
)
def test_delays(seconds: float, milliseconds: int) -> None:
    """A message waits for no less than it shall, up to an hour."""
    assert rabbitmq.delay_of(seconds) == milliseconds


async def test_buried(queue: Queue) -> None:
    """A dead letter has its reason, lies there for whoever looks, and is in the queue no more."""
    source = await queue.source()
    await queue.send("a", "b", tenant="t-1")
    for delivery in await taken(source, 2):
        await source.bury(delivery, {"reason": "permanent", "attempts": 3})
    for looker in (await queue.source(), await queue.source()):
        found = await dead(looker)
        assert bodies(found) == ["a", "b"]
        assert (found[0].why, found[0].headers) == ({"reason": "permanent", "attempts": 3}, {"tenant": "t-1"})
        assert bodies(await dead(looker)) == ["a", "b"]
        await looker.aclose()
        await becomes(lambda: _is_back(queue, 2))
    assert await source.backlog() == 0


async def _is_back(queue: Queue, number: int) -> bool:
    connection = await aio_pika.connect(queue.url)
    found = await (await connection.channel()).get_queue(f"{queue.name}.dead")
    await connection.close()
    return found.declaration_result.message_count == number


async def test_letters_end(queue: Queue) -> None:
    """What is buried anew while somebody looks is not shown once more."""
    source = await queue.source()
    await queue.send("a", "b")
    for delivery in await taken(source, 2):
        await source.bury(delivery, {"reason": "permanent"})
    shown: list[str] = []
    async for letter in source.letters():
        shown.append(letter.body.decode())
        await source.replay(letter)
        (again,) = await taken(source, 1)
        await source.bury(again, {"reason": "permanent"})
        assert len(shown) < 9
    assert shown == ["a", "b"]


async def test_no_letters_for_now(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """That RabbitMQ counts none right after a restart hides none."""
    source = await queue.source()
    await queue.send("a")
    (delivery,) = await taken(source, 1)
    await source.bury(delivery, {"reason": "permanent"})
    counted: list[int] = []

    async def count(*_: object) -> int:
        counted.append(0)
        return 0

    monkeypatch.setattr(source, "_count_dead", count)
    assert bodies(await dead(source)) == ["a"]
    assert counted == [0]


async def test_replayed_and_dropped(queue: Queue) -> None:
    """One is sent once more, as a first attempt and with its headers, another dropped, and the third stays."""
    source = await queue.source()
    await queue.send(*"abc", tenant="t-1")
    for delivery in await taken(source, 3):
        await source.try_again(delivery, 0)
    for delivery in await taken(source, 3):
        await source.bury(delivery, {"reason": "exhausted"})
    async for letter in source.letters():
        if letter.body == b"a":
            await source.replay(letter)
        if letter.body == b"b":
            await source.drop(letter)
    (again,) = await taken(source, 1)
    assert (again.body, again.attempt, again.headers) == (b"a", 1, {"tenant": "t-1"})
    await source.acknowledge(again)
    await source.aclose()
    await becomes(lambda: _is_back(queue, 1))
    assert bodies(await dead(await queue.source())) == ["c"]


async def test_delivery_limit(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no daemon is able to bury RabbitMQ buries, and it is listed with a reason."""
    monkeypatch.setattr(rabbitmq, "DELIVERY_LIMIT", 2)
    source = await queue.source()
    await queue.send("a")
    for deliveries in (1, 2, 3):
        (delivery,) = await taken(source, 1)
        assert delivery.deliveries == deliveries
        await source.give_back(delivery)
    await becomes(lambda: _is_back(queue, 1))
    (letter,) = await dead(source)
    assert (letter.body, letter.headers) == (b"a", {})
    assert {name: letter.why[name] for name in ("reason", "attempts", "queue")} == {
        "reason": "worker lost",
        "attempts": 1,
        "queue": queue.name,
    }
    assert letter.why["at"]


@pytest.mark.parametrize("value", ["many", -1, 0, 10**12, True, None])
async def test_strange_attempt(queue: Queue, value: object) -> None:
    """What a sender writes into our own headers neither breaks anything nor is taken for theirs."""
    source = await queue.source()
    await queue.send("a", **{"x-attempt": value, "x-dead-letter": "{"})
    (delivery,) = await taken(source, 1)
    assert (delivery.attempt, delivery.headers) == (1, {})


async def test_ordered(queue: Queue) -> None:
    """Where order counts one receiver at a time has messages, and another takes over."""
    first = await queue.source(ordered=True)
    second = await queue.source(ordered=True)
    assert await first.receive(1) == ()
    await queue.send("a", "b")
    assert await second.receive(5) == ()
    assert bodies(await taken(first, 2)) == ["a", "b"]
    await first.aclose()
    assert bodies(await taken(second, 2)) == ["a", "b"]


async def test_other_arguments(queue: Queue) -> None:
    """A queue that is there and of another kind is a matter of settings: the message says what to do."""
    await queue.source()
    other = RabbitSource(settings_for(queue.url, queue.name, ordered=True))
    with pytest.raises(ConfigurationError, match=rf"'{queue.name}' is there with other arguments .*DAEMON__ORDERED"):
        await other.open()
    with pytest.raises(BrokerError):
        await other.ping()


async def test_queue_deleted(queue: Queue) -> None:
    """A queue that somebody deletes is an error to its receivers, and made anew by `open`."""
    source = await queue.source()
    assert await source.receive(1) == ()
    await queue.delete()
    with pytest.raises(BrokerError):
        await taken(source, 1)
    await source.open()
    await queue.send("a")
    assert bodies(await taken(source, 1)) == ["a"]


async def test_channel_closed(queue: Queue) -> None:
    """That RabbitMQ takes the right to receive away, as after an acknowledgement too much, is told, and not silence."""
    source = await queue.source()
    await queue.send("a", "b")
    (delivery,) = await taken(source, 1)
    await source.acknowledge(delivery)
    await source.acknowledge(delivery)
    with pytest.raises(BrokerError):
        await taken(source, 9)
    await source.ping()
    await source.open()
    assert bodies(await taken(source, 1)) == ["b"]


async def test_sent_before_there_is_a_queue(queue: Queue) -> None:
    """What is sent before any daemon has run waits for the first one."""
    await queue.send("a")
    assert bodies(await taken(await queue.source(), 1)) == ["a"]


async def test_order_of_many(queue: Queue) -> None:
    """Many messages at once are in the queue in the order in which they were given."""
    source = await queue.source(concurrency=1000)
    expected = [str(number) for number in range(500)]
    await queue.send(*expected)
    found = await taken(source, 500)
    assert bodies(found) == expected


async def test_killed_broker(node: RabbitNode) -> None:
    """While the broker is away everything says so; after `open` nothing is lost, and nothing of before is accepted."""
    async with own_queue(node.url) as queue:
        source, transport = await queue.source(), RabbitTransport(node.url, queue.name, 5.0)
        await transport.send([(b"a", {}), (b"b", {}), (b"c", {})])
        held, put_off, buried = await taken(source, 3)
        await source.try_again(put_off, 0.1)
        await source.bury(buried, {"reason": "permanent"})
        waiting = asyncio.ensure_future(taken(source, 5))
        await asyncio.to_thread(node.kill)
        with pytest.raises(BrokerError):
            await waiting
        letter = Letter(b"c", {}, {}, buried.receipt)
        for call in _all_calls(source, held, letter):
            with pytest.raises(BrokerError):
                await call()
        with pytest.raises(BrokerError):
            await transport.send([(b"d", {})])
        with pytest.raises(BrokerError):
            await source.open()
        await asyncio.to_thread(node.start)
        await source.open()
        for late in (source.acknowledge(held), source.give_back(held), source.try_again(held, 1)):
            with pytest.raises(BrokerError):
                await late
        await transport.send([(b"d", {})])
        # What was moved right before the end may be in both places.
        found: set[str] = set()
        async with asyncio.timeout(PATIENCE):
            while not {"a", "b", "d"} <= found:
                found |= set(bodies(await source.receive(3)))
        assert bodies(await dead(source)) == ["c"]
        await transport.aclose()


def _all_calls(source: RabbitSource, held: Delivery, letter: Letter) -> list[Callable[[], Awaitable[Any]]]:
    return [
        lambda: source.receive(1),
        lambda: source.acknowledge(held),
        lambda: source.try_again(held, 1),
        lambda: source.give_back(held),
        lambda: source.bury(held, {}),
        lambda: source.keep([held]),
        source.ping,
        source.backlog,
        lambda: dead(source),
        lambda: source.replay(letter),
        lambda: source.drop(letter),
    ]


async def test_ping(queue: Queue) -> None:
    """A broker that answers is well; a source that is closed is not, and closes twice."""
    source = await queue.source()
    await source.ping()
    await source.keep([])
    await source.aclose()
    await source.aclose()
    with pytest.raises(BrokerError):
        await source.ping()


async def test_nothing_is_left_of_a_connection_that_was_refused() -> None:
    """A thread without an event loop may collect it, and no warning comes of it."""
    source = RabbitSource(settings_for(f"amqp://127.0.0.1:{free_port()}//", "any"))
    with suppress(BrokerError):
        await source.open()
    await asyncio.to_thread(gc.collect)


@pytest.mark.parametrize("peer", ["nobody", "silent", "deaf"])
async def test_away(peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is not there, or says nothing, is an error in time, without its password."""
    monkeypatch.setattr("app.daemon.sources.rabbitmq.ANSWER_SECONDS", 0.3)
    with _peer(peer) as port:
        source = RabbitSource(settings_for(f"amqp://me:se-cret@127.0.0.1:{port}//", "any"))
        with pytest.raises(BrokerError) as raised:
            await source.open()
        assert raised.value.retryable
        assert "se-cret" not in str(raised.value)


def _peer(kind: str) -> Any:
    return {"nobody": lambda: nullcontext(free_port()), "silent": silent_server, "deaf": deaf_server}[kind]()


async def test_refused(url: str) -> None:
    """A wrong password is said so, without it."""
    source = RabbitSource(settings_for("amqp://guest:se-cret@127.0.0.1:5672//", "any"))
    with pytest.raises(BrokerError, match="ACCESS_REFUSED") as raised:
        await source.open()
    assert "se-cret" not in str(raised.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the certificate of a server that calls itself localhost, signed by itself, and its key beside it."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    try:
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("OpenSSL: openssl is not installed")
    return folder / "certificate.pem"


@pytest.mark.parametrize(
    ("host", "is_known", "passes"), [("localhost", True, True), ("127.0.0.1", True, False), ("localhost", False, False)]
)
async def test_tls(certificate: Path, host: str, is_known: bool, passes: bool) -> None:
    """The connection is encrypted, and goes to nobody whose certificate is another's or unknown."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(4))
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        query = f"?cafile={certificate}" if is_known else ""
        source = RabbitSource(settings_for(f"amqps://me:secret@{host}:{port}/orders{query}", "any"))
        with pytest.raises(BrokerError):
            await source.open()
    assert heard == ([b"AMQP"] if passes else [])
