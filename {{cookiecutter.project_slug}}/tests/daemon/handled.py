"""A consumer in the test's own process: its parts, its messages, and what is seen of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import text
from sqlalchemy.engine import make_url

from app.adapters.database import Database
from app.adapters.idempotency import metadata as records
from app.adapters.tracing import Tracing
from app.bootstrap import Services, bootstrap
from app.core.messages import Message, new_message
from app.daemon.configuration import DaemonGroup, DaemonSettings
from app.daemon.consumer import Consumer
from app.daemon.handlers import Handlers
from app.orders.tables import metadata as orders

from .in_memory import InMemorySource

PATIENCE = 20.0


async def until(condition: Callable[[], Any], what: str = "it") -> Any:
    """Return what a condition is at last."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not come within {PATIENCE:g} s"
        await asyncio.sleep(0.005)
    return found


def settings_in(folder: Path, daemon: dict[str, Any] | None = None, **overrides: Any) -> DaemonSettings:
    """Return the settings of a daemon whose retries come at once.

    Args:
        folder: Where its database is.
        daemon: What is otherwise in its own group.
        overrides: What is otherwise.

    """
    group = DaemonGroup(**{"backoff": 0.01, "backoff_max": 0.02, "max_attempts": 3, **(daemon or {})})
    own: dict[str, Any] = {
        "environment": "test",
        "service_name": "orders",
        "database_url": f"sqlite:///{folder}/test.db",
        "broker_url": f"sqlite:///{folder}/queue.db",
        "daemon": group,
    }
    return DaemonSettings(**{**own, **overrides})


def placed(number: int = 1, **options: Any) -> Message:
    """Return a message of the type that tests handle.

    Args:
        number: Its data.
        options: Its id, key, deadline or headers.

    """
    return new_message("test.done", {"number": number}, **options)


class Daemon:
    """A consumer and its surroundings.

    Args:
        settings: Of the daemon.
        source: Where messages come from.
        handlers: Who handles them.
        services: What it works with.
        spans: Where its spans are.

    """

    def __init__(
        self,
        settings: DaemonSettings,
        source: InMemorySource,
        handlers: Handlers,
        services: Services,
        spans: InMemorySpanExporter,
    ) -> None:
        self.settings = settings
        self.source = source
        self.services = services
        self.spans = spans
        self.consumer = Consumer(source=source, services=services, settings=settings, handlers=handlers)

    async def settled(self) -> None:
        """Wait until every message is done or dead."""
        await until(lambda: self.source.left == 0 and self.consumer.in_hand == 0, "the end of all messages")

    @property
    def processed(self) -> list[ReadableSpan]:
        """The spans of messages, without those of statements."""
        return [span for span in self.spans.get_finished_spans() if span.name.startswith("process ")]

    def number(self, series: str) -> float:
        """Return a number of the exposition; 0 when it is not there."""
        lines = self.services.metrics.render().decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{series} ")), 0.0)

    async def effects(self) -> list[int]:
        """Return the numbers that `note` was called with and that lasted."""
        async with self.services.database.session(read_only=True) as session:
            return list((await session.execute(text("SELECT number FROM effects ORDER BY number"))).scalars())


async def note(work: Any, message: Message) -> None:
    """Have an effect."""
    number = message.data["number"]
    await work.session.execute(text("INSERT INTO effects (number) VALUES (:number)"), {"number": number})


async def create_tables(database: Database) -> None:
    """Create what handlers and records need."""
    async with database.engine.begin() as connection:
        await connection.run_sync(records.create_all)
        await connection.run_sync(orders.create_all)
        await connection.execute(text("CREATE TABLE effects (number INTEGER)"))


@asynccontextmanager
async def prepared(
    settings: DaemonSettings, handlers: Handlers, *, source: InMemorySource | None = None, url: str | None = None
) -> AsyncIterator[Daemon]:
    """Lend a daemon that does not run yet.

    Args:
        settings: Of the daemon.
        handlers: Who handles its messages.
        source: Where they come from.
        url: Of its database, with an asynchronous driver, instead of that of the settings.

    """
    spans = InMemorySpanExporter()
    tracing = Tracing(settings, processor=SimpleSpanProcessor(spans))
    database = Database(make_url(url), settings.database) if url else None
    services = bootstrap(settings, tracing=tracing, database=database)
    try:
        await create_tables(services.database)
        yield Daemon(settings, source or InMemorySource(), handlers, services, spans)
    finally:
        await services.aclose()


@asynccontextmanager
async def running(settings: DaemonSettings, handlers: Handlers, **options: Any) -> AsyncIterator[Daemon]:
    """Lend a daemon that runs, and drain it in the end.

    Args:
        settings: Of the daemon.
        handlers: Who handles its messages.
        options: As for `prepared`.

    """
    async with prepared(settings, handlers, **options) as daemon:
        task = asyncio.create_task(daemon.consumer.run())
        try:
            yield daemon
        finally:
            # What a failed test left running must not hold up its end.
            try:
                async with asyncio.timeout(PATIENCE):
                    await daemon.consumer.drain()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
