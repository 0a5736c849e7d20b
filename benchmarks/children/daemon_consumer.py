"""A daemon: the emitted one, or a bare loop over the same client, which has what a loop cannot do without."""

import asyncio
import json
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from app.adapters.database_connection import configure_sqlite, database_address
from app.adapters.message_transports.redis import BODY
from app.adapters.redis import create_redis
from app.adapters.unit_of_work import UnitOfWork
from app.core.messages import Message
from app.daemon.configuration import DaemonSettings
from app.daemon.handlers import handles
from app.daemon.server import loop_factory
from app.daemon.sources.redis import COMMAND_SECONDS
from app.migrations import migrate
from app.orders.fulfilment import fulfilments
from app.settings import load_settings_of
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from . import answer, arguments

ORDER = "benchmark.order"
NOTHING = "benchmark.nothing"


async def note(session: AsyncSession, data: Any) -> None:
    """Do what both do for an order: one statement.

    Args:
        session: The transaction.
        data: What the message says.
    """
    order = {"id": uuid4(), "order_id": data["order_id"], "fulfilled_at": datetime.now(UTC)}
    await session.execute(insert(fulfilments).values(order))


@handles(ORDER)
async def fulfil_order(work: UnitOfWork, message: Message) -> None:
    """Fulfil an order.

    Args:
        work: The transaction.
        message: What says which.
    """
    await note(work.session, message.data)


@handles(NOTHING)
async def do_nothing(message: Message) -> None:
    """Do nothing.

    Args:
        message: Is not looked at.
    """


def wired(settings: DaemonSettings) -> None:
    """Work as the emitted project's entry point does; spans are recorded, and dropped where they would be sent.

    Args:
        settings: Of the daemon.
    """
    from app.bootstrap import bootstrap
    from app.daemon import server
    from app.daemon.consumer import Consumer

    from ..apps.emitted import dropping_tracing

    changed: Any = server
    changed.bootstrap = lambda own: bootstrap(own, tracing=dropping_tracing(own))
    consumer: Any = Consumer
    run = consumer.run

    async def telling(self: Consumer) -> None:
        answer({"ready": True})
        await run(self)

    consumer.run = telling
    server.run(settings)


class Bare:
    """A loop as one writes it with care, on SQLAlchemy's own engine with a connection for each message at once.

    Args:
        settings: Of the daemon.
    """

    def __init__(self, settings: DaemonSettings) -> None:
        self._daemon = settings.daemon
        self._client: Any = create_redis(settings.broker_url, timeout=COMMAND_SECONDS)
        address = database_address(settings)
        is_sqlite = address.get_backend_name() == "sqlite"
        self._engine = create_async_engine(address, pool_size=settings.daemon.concurrency)
        # SQLite has one writer: to wait for one's turn here costs far less than to ask for the file again and again.
        self._turn: AbstractAsyncContextManager[Any] = asyncio.Lock() if is_sqlite else nullcontext()
        if is_sqlite:
            configure_sqlite(self._engine.sync_engine)

    async def run(self) -> None:
        """Receive, read, do and acknowledge, for ever: as many at once as the daemon does."""
        queue, group = self._daemon.queue, self._daemon.consumer_group
        await self._client.xgroup_create(queue, group, id="0", mkstream=True)
        answer({"ready": True})
        while True:
            received = await self._client.xreadgroup(
                group, "bare", {queue: ">"}, count=self._daemon.concurrency, block=1000
            )
            for _, entries in received:
                await asyncio.gather(*(self._handle(fields[BODY.encode()]) for _, fields in entries))
                ids = [number for number, _ in entries]
                async with self._client.pipeline() as pipeline:
                    await pipeline.xack(queue, group, *ids).xdel(queue, *ids).execute()

    async def _handle(self, body: bytes) -> None:
        found = json.loads(body)
        if found["type"] == ORDER:
            async with self._turn, AsyncSession(self._engine) as session, session.begin():
                await note(session, found["data"])


def main(kind: str) -> None:
    """Work until the parent ends it, and tell the parent when it begins.

    Args:
        kind: `wired` or `bare`.
    """
    settings = load_settings_of(DaemonSettings)
    if kind == "wired":
        wired(settings)
        return
    migrate(database_address(settings))
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(Bare(settings).run())


if __name__ == "__main__":
    main(**arguments())
