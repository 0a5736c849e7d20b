"""Put the daemon together, and run it in this process until a signal comes."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial

from ..adapters.logging import configure_logging
from ..bootstrap import Services, bootstrap
from ..core.errors import BrokerError
from ..core.health import Check
from ..core.message_source import MessageSource
from ..migrations import migrate_embedded
from ..serving.admin_server import AdminServer
from .application import Application
from .configuration import DaemonSettings
from .health import Readiness
from .jobs import BACKLOG_SECONDS, COUNT_SECONDS, count_fulfilments, measure_backlog, purge_idempotency
from .loop_lag import LoopLag


def run(settings: DaemonSettings) -> int:
    """Run until a signal comes, and return the process's exit code: 0 after a signal, 1 when it could not start.

    Args:
        settings: How it is set up.

    Raises:
        ConfigurationError: A setting names what is not there.

    """
    services = bootstrap(settings)
    configure_logging(settings, on_event=services.metrics.log_record)
    migrate_embedded(settings)
    services.tracing.install()
    services.reporting.watch_process()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_run(settings, services))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the event loop: uvloop's where it is installed, which is not on Windows."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _run(settings: DaemonSettings, services: Services) -> int:
    return await compose(settings, services).run()


def compose(settings: DaemonSettings, services: Services) -> Application:
    """Return the daemon: it takes messages from its queue, sends those of its outbox, and keeps itself tidy.

    Args:
        settings: How it is set up.
        services: Its parts.

    """
    # Not at the top: each broker's client is imported only where it is used.
    from ..adapters.message_metrics import MessageMetrics
    from ..adapters.message_publisher import MessagePublisher

    # Imported, their handlers are known.
    from . import orders  # noqa: F401
    from .consumer import Consumer
    from .outbox import OutboxRelay
    from .sources import message_source

    app = observed(settings, services)
    publisher = MessagePublisher(settings, queue=settings.daemon.queue, metrics=MessageMetrics(services.metrics))
    source = message_source(settings)
    services.health.register(Check("broker", source.ping))
    app.use("publisher", aclosing(publisher))
    app.use("queue", _opened(source))
    consumer = Consumer(source=source, services=services, settings=settings)
    app.supervise("consumer", consumer.run)
    app.before_stop(consumer.drain)
    app.supervise("outbox", OutboxRelay(services=services, publisher=publisher, settings=settings).run)
    app.periodically("queue.measure", partial(measure_backlog, consumer.measure_backlog), interval=BACKLOG_SECONDS)
    _add_jobs(app, settings, services)
    return app


@asynccontextmanager
async def _opened(source: MessageSource) -> AsyncIterator[None]:
    """Lend the queue; a wrong setting ends the start, and for a broker that is away the consumer waits."""
    try:
        with suppress(BrokerError):
            await source.open()
        yield
    finally:
        await source.aclose()


def observed(settings: DaemonSettings, services: Services) -> Application:
    """Return a daemon that does nothing yet but tell how it is: on `ADMIN_PORT`, and of its event loop.

    Args:
        settings: How it is set up.
        services: Its parts.

    """
    app = Application(settings, services)
    lag = LoopLag(settings.daemon.loop_lag_warning)
    app.metrics.watch_loop(lag.highest)
    # The first to be there, and the last to go: it says how far a start or a stop has come.
    app.use("admin server", _serving(settings, services, lag))
    app.supervise("loop_lag", lag.run)
    return app


@asynccontextmanager
async def _serving(settings: DaemonSettings, services: Services, lag: LoopLag) -> AsyncIterator[None]:
    """Answer on `ADMIN_PORT` within the block."""
    readiness = Readiness(services.health, asyncio.get_running_loop(), lag)
    shown = services.metrics if settings.metrics.enabled else None
    with AdminServer(settings.host, settings.admin_port, ready=readiness.ready, metrics=shown).serving():
        services.metrics.start()
        yield


def _add_jobs(app: Application, settings: DaemonSettings, services: Services) -> None:
    app.periodically("orders.count", partial(count_fulfilments, services), interval=COUNT_SECONDS)
    interval = settings.idempotency.purge_interval
    if interval and services.idempotency_store.transactional:
        # Daemons that begin together do it one after the other.
        first = interval * random.uniform(0.5, 1.5)  # noqa: S311 -- nobody gains by guessing it
        app.periodically("idempotency.purge", partial(purge_idempotency, services), interval=interval, first=first)
