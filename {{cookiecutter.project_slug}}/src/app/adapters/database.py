"""The database: one engine per process, one transaction per unit of work, the duration of every statement."""

import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, create_engine, event, text
from sqlalchemy.engine import URL, Connection, Engine, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import QueuePool

from ..core.statements import statement_kind
from .database_tracing import trace_statements

OnQuery = Callable[[str, float], None]
CONNECT_SECONDS = 3
BUSY_SECONDS = 5
POOL_SECONDS = 5
# Connections that stay open, and how many more may be opened for a peak.
POOL_SIZE = 5
POOL_OVERFLOW = 10
READ_ONLY = "app_read_only"
SERVER_ERROR = 500
_DETAIL = re.compile(r"\n(?:DETAIL|CONTEXT):.*", re.DOTALL)
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def new_metadata() -> MetaData:
    """Return an empty set of tables whose constraints get the same names on every database."""
    return MetaData(naming_convention=NAMING)


@dataclass(frozen=True, slots=True)
class PoolState:
    """What the open connections do, and how many there may be."""

    in_use: int
    idle: int
    limit: int


class Database:
    """The engine and what it opens.

    Args:
        url: Where the database is, with an asynchronous driver.
        on_query: Called with each statement's kind and its duration in seconds.

    """

    def __init__(self, url: URL, *, on_query: OnQuery | None = None) -> None:
        self.url = url
        self.engine = _engine(url)
        if on_query is not None:
            _time_statements(self.engine, on_query)

    def session(self, *, read_only: bool = False) -> AsyncSession:
        """Return a new session; it connects at its first statement.

        Args:
            read_only: Whether it only reads; on SQLite it then waits for no writer.

        """
        engine = self.engine.execution_options(**{READ_ONLY: True}) if read_only else self.engine
        return AsyncSession(engine, expire_on_commit=False)

    def pool_state(self) -> PoolState:
        """Return what the connections do; asks the pool, not the database."""
        pool = self.engine.pool
        if not isinstance(pool, QueuePool):
            return PoolState(0, 0, 0)
        return PoolState(pool.checkedout(), pool.checkedin(), POOL_SIZE + POOL_OVERFLOW)

    async def ping(self) -> None:
        """Run the smallest statement; raises when the database does not answer, or its file is gone."""
        async with self.engine.execution_options(**{READ_ONLY: True}).connect() as connection:
            await connection.execute(text("SELECT 1"))
        # An open connection to SQLite goes on reading a file that was moved away or deleted.
        if self.url.get_backend_name() == "sqlite" and not _is_there(self.url):
            msg = f"the database file {self.url.database} is gone"
            raise FileNotFoundError(msg)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.engine.dispose()


class UnitOfWork:
    """One transaction that is opened when it is first needed.

    Args:
        database: Where it runs.
        read_only: Whether it only reads.

    """

    def __init__(self, database: Database, *, read_only: bool) -> None:
        self._database = database
        self._read_only = read_only
        self._session: AsyncSession | None = None

    @property
    def session(self) -> AsyncSession:
        """The session whose statements commit together."""
        if self._session is None:
            self._session = self._database.session(read_only=self._read_only)
        return self._session

    @property
    def is_open(self) -> bool:
        """Whether there is anything to end."""
        return self._session is not None

    async def commit(self) -> None:
        """Make what was done permanent."""
        if self._session is not None:
            await self._session.commit()

    async def end(self, status: int) -> None:
        """Commit or undo, as the answer says.

        Args:
            status: The HTTP status of the answer; from 500 up what was done is undone.

        """
        await (self.commit() if status < SERVER_ERROR else self.rollback())

    async def rollback(self) -> None:
        """Undo what was done."""
        if self._session is not None:
            await self._session.rollback()

    async def aclose(self) -> None:
        """Give the connection back; what was not committed is undone."""
        if self._session is not None:
            await self._session.close()


def sync_engine(url: URL) -> Engine:
    """Return an engine like the service's own, for code that runs no event loop.

    Args:
        url: Where the database is; the driver may be an asynchronous one.

    """
    is_sqlite = url.get_backend_name() == "sqlite"
    engine = create_engine(url.set(drivername="sqlite") if is_sqlite else url, **_options(url))
    if is_sqlite:
        _configure_sqlite(engine)
    _hide_values(engine)
    trace_statements(engine)
    return engine


def _engine(url: URL) -> AsyncEngine:
    engine = create_async_engine(url, **_options(url))
    if url.get_backend_name() == "sqlite":
        _configure_sqlite(engine.sync_engine)
    _hide_values(engine.sync_engine)
    trace_statements(engine.sync_engine)
    return engine


def _options(url: URL) -> dict[str, Any]:
    # Parameters may be personal data: without this they stand in the text of every database error.
    options: dict[str, Any] = {"hide_parameters": True, "pool_size": POOL_SIZE, "max_overflow": POOL_OVERFLOW}
    if url.get_backend_name() != "sqlite":
        connect = {"connect_timeout": CONNECT_SECONDS}
        return {**options, "pool_pre_ping": True, "pool_timeout": POOL_SECONDS, "connect_args": connect}
    _make_folder(url)
    return {**options, "connect_args": {"timeout": BUSY_SECONDS}}


def _is_there(url: URL) -> bool:
    return url.database in (None, "", ":memory:") or Path(str(url.database)).exists()


def _make_folder(url: URL) -> None:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)


def _configure_sqlite(engine: Engine) -> None:
    """Let readers work beside one writer, and make writers queue instead of failing half-way."""

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
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _hide_values(engine: Engine) -> None:
    """Cut off what PostgreSQL adds to an error: the row that was refused, with its values."""

    @event.listens_for(engine, "handle_error")
    def hide(context: ExceptionContext) -> None:
        for error in (context.original_exception, context.sqlalchemy_exception):
            if error is not None:
                error.args = tuple(_DETAIL.sub("", part) if isinstance(part, str) else part for part in error.args)


def _time_statements(engine: AsyncEngine, on_query: OnQuery) -> None:
    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def before(connection: Connection, *_: Any) -> None:
        connection.info["app_started"] = time.perf_counter()

    @event.listens_for(engine.sync_engine, "after_cursor_execute")
    def after(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        on_query(statement_kind(statement), time.perf_counter() - connection.info["app_started"])
