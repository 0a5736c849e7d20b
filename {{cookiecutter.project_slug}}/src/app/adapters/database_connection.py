"""How SQLAlchemy connects to a database, within its time limits (`core.database_limits`)."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url

from ..core.database_limits import libpq_arguments, sqlite_timeout
from ..core.database_url import read_database_url
from ..settings import ConfigurationError, Settings
from ..settings_groups import DatabaseSettings

if TYPE_CHECKING:
    from psycopg import AsyncConnection

READ_ONLY = "app_read_only"
# With an event loop; without one SQLAlchemy takes another for SQLite.
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}


def database_address(settings: Settings) -> URL:
    """Return the address of the service's database, with an asynchronous driver.

    Args:
        settings: Which database.

    """
    url = settings.database_url
    return make_url(url).set(drivername=DRIVERS[read_database_url(url).backend])


def connect_arguments(url: URL, settings: DatabaseSettings, *, is_async: bool) -> dict[str, Any]:
    """Return what a driver is told besides the URL; what the URL says itself wins.

    Args:
        url: Where the database is.
        settings: The time limits.
        is_async: Whether the driver is asynchronous.

    """
    if url.get_backend_name() == "sqlite":
        return {"timeout": sqlite_timeout(settings)}
    own = url.query.get("options", "")
    arguments = libpq_arguments(settings, said=url.query, options=[own] if isinstance(own, str) else own)
    if is_async and "connect_timeout" not in url.query:
        arguments["async_creator_fn"] = _bounded(settings.connect_timeout)
    return arguments


def _bounded(seconds: float) -> Any:
    """Return what connects in less time than the driver has a setting for."""

    async def connect(*arguments: Any, **options: Any) -> "AsyncConnection[Any]":
        # Not at the top: SQLite needs none of it.
        import psycopg

        try:
            async with asyncio.timeout(seconds):
                return await psycopg.AsyncConnection.connect(*arguments, **options)
        except TimeoutError:
            msg = f"no connection within {seconds} s (DATABASE__CONNECT_TIMEOUT)"
            raise psycopg.errors.ConnectionTimeout(msg) from None

    return connect


def make_folder(url: URL) -> None:
    """Make the folder of a SQLite file.

    Args:
        url: Where the database is.

    Raises:
        ConfigurationError: It can not be made.

    """
    if not url.database or url.database == ":memory:":
        return
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        msg = f"DATABASE_URL: received a file {url.database!r} ({reason}); allowed: one in a folder that can be made"
        raise ConfigurationError(msg) from error


def configure_sqlite(engine: Engine, send: Callable[[Connection, str], Any] = Connection.exec_driver_sql) -> None:
    """Let readers work beside one writer, and make writers queue instead of failing half-way.

    Args:
        engine: An engine of a SQLite file.
        send: Sends what begins a transaction.

    """

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        # The mode is the file's and stays: who finds it locked by another that starts has it with the next connection.
        with suppress(sqlite3.OperationalError):
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads and then writes would fail at once if another one wrote in between.
        read_only = connection.get_execution_options().get(READ_ONLY)
        send(connection, "BEGIN" if read_only else "BEGIN IMMEDIATE")
