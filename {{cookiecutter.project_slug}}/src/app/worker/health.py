"""What a worker looks at to say whether it may receive tasks: its consumer, the broker, the database and Redis."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import Celery
from sqlalchemy import text

from ..adapters.database_connection import READ_ONLY
from ..adapters.health_sync import SyncHealth
from ..adapters.idempotency_stores import sync_redis_for
from ..bootstrap import Services
from ..core.broker_url import read_broker_url
from ..core.health import SyncCheck

Probe = Callable[[], None]


class NotConsumingError(Exception):
    """The worker takes no tasks: it has not begun yet, or has lost the broker."""


class Consuming:
    """Whether the worker is connected to its queue.

    Attributes:
        consumer: Celery's, from when it is ready on.

    """

    consumer: Any = None

    def probe(self) -> None:
        """Raise unless tasks come in.

        Raises:
            NotConsumingError: They do not.

        """
        connection = getattr(self.consumer, "connection", None)
        if connection is None or not connection.connected:
            msg = "the worker is not connected to its queue" if self.consumer is not None else "not begun yet"
            raise NotConsumingError(msg)


def worker_health(services: Services, app: Celery, consuming: Consuming) -> SyncHealth:
    """Return the checks of a worker.

    Args:
        services: Its parts.
        app: Its Celery application.
        consuming: What knows whether tasks come in.

    """
    settings, metrics = services.settings, services.metrics
    health = SyncHealth(timeout=settings.health.timeout, cache=settings.health.cache, on_result=metrics.health_checked)
    health.register(SyncCheck("worker", consuming.probe))
    health.register(SyncCheck("broker", _broker(services, app)))
    health.register(SyncCheck("database", _database(services)))
    redis = sync_redis_for(settings)
    if redis is not None:
        health.register(SyncCheck("redis", lambda: _ask(redis)))
    return health


def _broker(services: Services, app: Celery) -> Probe:
    timeout = services.settings.health.timeout
    broker = read_broker_url(services.settings.broker_url or "filesystem://var/broker")
    folder = Path(broker.path).absolute()

    def ask_folder() -> None:
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            msg = f"the folder {folder} is gone, or cannot be written to"
            raise FileNotFoundError(msg)

    def connect() -> None:
        # A connection of its own: the worker's belongs to another thread.
        with app.connection_for_write(connect_timeout=timeout) as connection:
            connection.connect()

    return ask_folder if broker.kind == "filesystem" else connect


def _database(services: Services) -> Probe:
    database = services.database

    def ask() -> None:
        with database.sync_engine.execution_options(**{READ_ONLY: True}).connect() as connection:
            connection.execute(text("SELECT 1"))
        # An open connection to SQLite goes on reading a file that was moved away or deleted.
        if database.url.get_backend_name() == "sqlite" and not Path(str(database.url.database)).exists():
            msg = f"the database file {database.url.database} is gone"
            raise FileNotFoundError(msg)

    return ask


def _ask(redis: Any) -> None:
    redis.ping()
