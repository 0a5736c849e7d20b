"""The relay sends what is in the outbox at least once and in the order of its keys, however many of them there are."""

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.engine import URL

from app.adapters.database import Database
from app.adapters.outbox import add_to_outbox_async, metadata, outbox
from app.bootstrap import Services, bootstrap
from app.core.context import request_context
from app.core.errors import BrokerError
from app.core.messages import Message
from app.daemon.configuration import DaemonGroup, DaemonSettings
from app.daemon.outbox import OutboxRelay
from app.settings_groups import DatabaseSettings

from ..conftest import Log
from ..databases import ENGINES, own_database
from ..processes import PATIENCE, variables

QUICK = {"outbox_interval": 0.01, "restart_backoff": 0.01, "restart_backoff_max": 0.02, "visibility_timeout": 1.0}


@pytest.fixture(params=ENGINES)
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[URL]:
    """Return a database of each kind with an empty outbox."""
    with own_database(request.param, tmp_path) as url:
        await make_tables(url)
        yield url


@pytest.fixture
async def postgresql(tmp_path: Path) -> AsyncIterator[URL]:
    """Return a PostgreSQL with an empty outbox."""
    with own_database("postgresql", tmp_path) as url:
        await make_tables(url)
        yield url


async def make_tables(url: URL) -> None:
    """Make the tables."""
    database = Database(url)
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await database.aclose()


@asynccontextmanager
async def opened(url: URL, **limits: Any) -> AsyncIterator[Services]:
    """Open a daemon's services on a database."""
    settings = DaemonSettings(
        environment="test", service_name="orders", daemon=DaemonGroup(**QUICK), database=DatabaseSettings(**limits)
    )
    services = bootstrap(settings, database=Database(url, settings.database))
    try:
        yield services
    finally:
        await services.aclose()


@pytest.fixture
async def services(url: URL) -> AsyncIterator[Services]:
    """Return a daemon's services."""
    async with opened(url) as services:
        yield services


class Broker:
    """What takes messages, and notes them.

    Args:
        wait: Awaited before each message.

    """

    def __init__(self, wait: Callable[[], Any] | None = None) -> None:
        self.messages: list[Message] = []
        self.attempts = 0
        self.error: Exception | None = None
        self._wait = wait

    @property
    def numbers(self) -> list[int]:
        """What was sent."""
        return [message.data["number"] for message in self.messages]

    async def send(self, messages: Sequence[Message]) -> None:
        """Take messages."""
        self.attempts += 1
        if self.error is not None:
            raise self.error
        for message in messages:
            if self._wait is not None:
                await self._wait()
            self.messages.append(message)


class Gate(Broker):
    """A broker that keeps who sends waiting until it is opened."""

    def __init__(self) -> None:
        super().__init__(self._pass)
        self.reached, self.open = asyncio.Event(), asyncio.Event()

    async def _pass(self) -> None:
        self.reached.set()
        await self.open.wait()


def relay(services: Services, broker: Broker, **options: Any) -> OutboxRelay:
    """Return a relay."""
    settings = services.settings
    assert isinstance(settings, DaemonSettings)
    return OutboxRelay(services=services, publisher=broker, settings=settings, **options)


@asynccontextmanager
async def relaying(services: Services, *brokers: Broker, **options: Any) -> AsyncIterator[None]:
    """Run a relay for each broker."""
    tasks = [asyncio.create_task(relay(services, broker, **options).run()) for broker in brokers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*tasks, return_exceptions=True)
        )


async def write(services: Services, *numbers: int, key: str | None = None, queue: str | None = None) -> None:
    """Commit messages, all at once."""
    async with services.database.session() as session:
        for number in numbers:
            await add_to_outbox_async(session, "order.placed", {"number": number}, key=key, queue=queue)
        await session.commit()


async def left(services: Services) -> list[Any]:
    """Return what is in the outbox."""
    async with services.database.session(read_only=True) as session:
        return list((await session.execute(select(outbox).order_by(outbox.c.id))).all())


async def until(condition: Callable[[], Any]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 -- a relay brings it about
            await asyncio.sleep(0.005)


async def until_empty(services: Services) -> None:
    """Wait until nothing is in the outbox."""
    async with asyncio.timeout(PATIENCE):
        while await left(services):  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0.01)


def series(services: Services) -> set[str]:
    """Return the lines of the exposition."""
    return set(services.metrics.render().decode().splitlines())


async def test_sent_and_deleted(services: Services) -> None:
    """What was committed is sent in its order, with the ids of who wrote it, and is gone then; and what comes later."""
    broker = Broker()
    async with relaying(services, broker):
        with request_context(request_id="r-1"):
            await write(services, 1, 2, 3)
        await until(lambda: len(broker.messages) == 3)
        await write(services, 4)
        await until_empty(services)
        await until(lambda: 'outbox_relayed_total{outcome="sent"} 4.0' in series(services))
    assert broker.numbers == [1, 2, 3, 4]
    assert broker.messages[0].headers["x-request-id"] == "r-1"


async def test_more_than_a_batch(services: Services) -> None:
    """A long outbox is sent in parts, in its order."""
    await write(services, *range(25), key="k")
    broker = Broker()
    async with relaying(services, broker, batch=10):
        await until_empty(services)
    assert (broker.numbers, broker.attempts) == (list(range(25)), 3)


async def test_writers_do_not_wait_for_the_broker(services: Services) -> None:
    """While a message is on its way others are committed."""
    broker = Gate()
    await write(services, 1)
    async with relaying(services, broker):
        await broker.reached.wait()
        await write(services, 2)
        assert broker.numbers == []
        broker.open.set()
        await until_empty(services)
    assert broker.numbers == [1, 2]


async def test_key_in_hand(services: Services) -> None:
    """What another relay has of a key is waited for; other keys, and messages without one, are not."""
    slow, other = Gate(), Broker()
    await write(services, 1, 2, key="k")
    async with relaying(services, slow):
        await slow.reached.wait()
        await write(services, 3, key="k")
        await write(services, 4, key="l")
        await write(services, 5)
        async with relaying(services, other):
            await until(lambda: len(other.messages) == 2)
            assert len(await left(services)) == 3
            slow.open.set()
            await until_empty(services)
    assert (slow.numbers[:2], other.numbers[:2]) == ([1, 2], [4, 5])
    assert sorted(slow.numbers + other.numbers) == [1, 2, 3, 4, 5]


async def test_message_that_is_committed_late(postgresql: URL) -> None:
    """A message that is before one in hand, but was committed after it, lets nothing overtake that one."""
    holder, other = Gate(), Broker()
    async with opened(postgresql) as services, services.database.session() as late:
        await add_to_outbox_async(late, "order.placed", {"number": 1}, key="k")
        await write(services, 2, key="k")
        async with relaying(services, holder):
            await holder.reached.wait()
            await late.commit()
            await write(services, 3, key="k")
            async with relaying(services, other):
                await until(lambda: other.messages)
                await write(services, 9)
                await until(lambda: len(other.messages) == 2)
                assert 3 not in other.numbers
                holder.open.set()
                await until_empty(services)
    assert (holder.numbers[0], other.numbers[0]) == (2, 1)
    assert sorted(holder.numbers + other.numbers) == [1, 2, 3, 9]


async def test_several_relays(url: URL) -> None:
    """Three relays share the messages of five writers that go on writing: each key in order, nothing twice or lost."""
    keys, each = 5, 60
    sent: list[tuple[str, int]] = []
    together = asyncio.Barrier(3)

    class Shared(Broker):
        async def send(self, messages: Sequence[Message]) -> None:
            if not self.attempts:
                self.attempts = 1
                await together.wait()
            for message in messages:
                await asyncio.sleep(random.uniform(0, 0.002))
                sent.append((str(message.key), message.data["number"]))

    async def write_all(services: Services, key: str) -> None:
        number = 0
        while number < each:
            step = min(random.randint(1, 4), each - number)
            await write(services, *range(number, number + step), key=key)
            number += step
            await asyncio.sleep(0)

    brokers = [Shared() for _ in range(3)]
    async with (
        opened(url) as first,
        opened(url) as second,
        opened(url) as third,
        relaying(first, brokers[0], batch=2),
        relaying(second, brokers[1], batch=2),
        relaying(third, brokers[2], batch=2),
        asyncio.TaskGroup() as writers,
    ):
        for key in range(keys):
            writers.create_task(write_all(first, f"k-{key}"))
        await until(lambda: len(sent) >= keys * each)
        await until_empty(first)
    assert all(broker.attempts for broker in brokers)
    for key in range(keys):
        assert [number for of, number in sent if of == f"k-{key}"] == list(range(each))


DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from sqlalchemy.engine import make_url
from app.adapters.database import Database
from app.bootstrap import bootstrap
from app.daemon.configuration import DaemonGroup, DaemonSettings
from app.daemon.outbox import OutboxRelay

class Dying:
    async def send(self, messages):
        Path(sys.argv[2]).write_text("\\n".join(message.id for message in messages))
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    settings = DaemonSettings(daemon=DaemonGroup(visibility_timeout=1))
    services = bootstrap(settings, database=Database(make_url(sys.argv[1])))
    await OutboxRelay(services=services, publisher=Dying(), settings=settings, timeout=0.5).run()

asyncio.run(main())
"""


async def test_killed_between_sending_and_deleting(services: Services, url: URL, tmp_path: Path) -> None:
    """What a relay had sent when it was killed is sent again by another, with the same ids, in the same order."""
    await write(services, 1, 2, 3, key="k")
    ids = [row.message_id for row in await left(services)]
    noted = tmp_path / "sent"
    command = [sys.executable, "-c", DYING, url.render_as_string(hide_password=False), str(noted)]
    ended = await asyncio.to_thread(subprocess.run, command, env=variables(), timeout=PATIENCE, check=False)
    assert (ended.returncode, noted.read_text().splitlines()) == (-signal.SIGKILL, ids)
    broker = Broker()
    async with relaying(services, broker):
        await until_empty(services)
    assert [message.id for message in broker.messages] == ids


async def test_stopped_while_it_sends(services: Services) -> None:
    """What a relay had in hand when it was stopped is free at once, and sent by the next one."""
    slow, other = Gate(), Broker()
    await write(services, 1, 2, key="k")
    async with relaying(services, slow):
        await slow.reached.wait()
    assert [row.claimed_until for row in await left(services)] == [None, None]
    async with relaying(services, other):
        await until_empty(services)
    assert (slow.numbers, other.numbers) == ([], [1, 2])


@pytest.mark.parametrize("error", [BrokerError("it is away"), RuntimeError("a fault")])
async def test_broker_that_is_away(services: Services, error: Exception, log: Log) -> None:
    """While messages cannot be sent they stay; it is said once, and once when they can be, and each attempt counts."""
    broker = Broker()
    broker.error = error
    await write(services, 1, 2, key="k")
    async with relaying(services, broker):
        await until(lambda: broker.attempts >= 4)
        assert len(await left(services)) == 2
        assert "outbox_pending 2.0" in series(services)
        broker.error = None
        await until_empty(services)
        await write(services, 3)
        await until_empty(services)
    assert broker.numbers == [1, 2, 3]
    assert [line["level"] for line in log.named("outbox.failed")] == ["warning"]
    (restored,) = log.named("outbox.restored")
    assert restored["attempts"] >= 4
    assert 'outbox_relayed_total{outcome="failed"} %d.0' % restored["attempts"] in series(services)  # noqa: UP031


async def test_database_that_fails(services: Services, log: Log) -> None:
    """A database without an outbox ends no relay: it goes on when the table is there, and tells of what fails next."""
    broker = Broker()
    async with services.database.engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
    async with relaying(services, broker):
        await until(lambda: log.named("outbox.failed"))
        async with services.database.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        await until(lambda: log.named("outbox.restored"))
        broker.error = BrokerError("it is away")
        await write(services, 1)
        await until(lambda: broker.attempts >= 3)
        broker.error = None
        await until(lambda: len(log.named("outbox.restored")) == 2)
    assert broker.numbers == [1]
    assert (len(log.named("outbox.failed")), len(log.named("outbox.restored"))) == (2, 2)


async def test_damaged_message(services: Services, log: Log) -> None:
    """A message that cannot be read is set aside with the reason and keeps no other; put right, it is sent."""
    await write(services, 1, 2, 3, key="k")
    first, *_ = await left(services)
    async with services.database.engine.begin() as connection:
        await connection.execute(update(outbox).where(outbox.c.id == first.id).values(body="nonsense"))
    broker = Broker()
    async with relaying(services, broker):
        await until(lambda: len(broker.messages) == 2)
        await until(lambda: 'outbox_relayed_total{outcome="unreadable"} 1.0' in series(services))
        (row,) = await left(services)
        assert (row.id, row.fault) == (first.id, "received text that is no JSON; allowed: a JSON object")
        assert [(line["level"], line["row"]) for line in log.named("outbox.unreadable")] == [("error", first.id)]
        async with services.database.engine.begin() as connection:
            await connection.execute(update(outbox).values(body=first.body, fault=None, claimed_until=None))
        await until_empty(services)
    assert broker.numbers == [2, 3, 1]


async def test_other_queues(services: Services) -> None:
    """A message goes to the queue that its writer named; one for a queue that nobody serves here stays."""
    own, bills = Broker(), Broker()
    await write(services, 1)
    await write(services, 2, queue="bills")
    await write(services, 3, queue="elsewhere")
    await write(services, 4, queue="orders")
    async with relaying(services, own, others={"bills": bills}):
        async with asyncio.timeout(PATIENCE):
            while len(await left(services)) > 1:  # noqa: ASYNC110 -- a relay brings it about
                await asyncio.sleep(0.01)
    assert (own.numbers, bills.numbers) == ([1, 4], [2])
    assert [row.queue for row in await left(services)] == ["elsewhere"]


async def test_limit_on_idle_transactions(postgresql: URL, log: Log) -> None:
    """A broker that is slow does not let the server end the relay's transaction: fewer are sent together."""

    async def slowly() -> None:
        await asyncio.sleep(0.3)

    broker = Broker(slowly)
    async with opened(postgresql, idle_transaction_timeout=1) as services:
        await write(services, 1, 2, 3)
        async with relaying(services, broker):
            await until_empty(services)
    assert set(broker.numbers) == {1, 2, 3}
    (failed,) = log.named("outbox.failed")
    assert failed["exception"][0]["type"] == "TimeoutError"
