"""The database: one engine per process, one transaction per unit of work, and what is measured of both."""

import re
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, create_engine, event, text
from sqlalchemy.engine import URL, Engine, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from ..core.connection_pool import PoolState, PoolWatch
from ..core.query_warnings import SlowQueries
from ..core.query_watch import DatabaseMetrics
from ..settings_groups import DatabaseSettings
from .database_connection import READ_ONLY, configure_sqlite, connect_arguments, make_folder
from .database_deadline import bound_statements
from .database_pool import pool_state, pool_watch, watched_pool
from .database_queries import watch_statements
from .database_sqlite import begin_with_next, connect_in_steps
from .database_tracing import trace_statements

# A migration takes the time that it takes, and waits for another that runs.
WITHOUT_LIMITS = DatabaseSettings(statement_timeout=0, lock_timeout=0, idle_transaction_timeout=0)
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


class Database:
    """The engines and what they open.

    Args:
        url: Where the database is, with an asynchronous driver.
        settings: The pool, the time limits, and what counts as slow.
        metrics: What counts statements and connections.

    """

    def __init__(
        self, url: URL, settings: DatabaseSettings | None = None, *, metrics: DatabaseMetrics | None = None
    ) -> None:
        self.url = url
        self._settings = settings or DatabaseSettings()
        self._metrics = metrics
        self._slow = SlowQueries(self._settings.slow_query)
        self._pool = pool_watch(metrics)
        self._sync_pool = pool_watch(metrics)
        self._sync_engine: Engine | None = None
        self._lock = threading.Lock()
        self.engine = _engine(url, self._settings, self._slow, self._pool, metrics)

    def session(self, *, read_only: bool = False) -> AsyncSession:
        """Return a new session; it connects at its first statement.

        Args:
            read_only: Whether it only reads; on SQLite it then waits for no writer.

        """
        engine = self.engine.execution_options(**{READ_ONLY: True}) if read_only else self.engine
        return AsyncSession(engine, expire_on_commit=False)

    @property
    def sync_engine(self) -> Engine:
        """The engine for code that runs no event loop: made when it is first asked for, with a pool of its own."""
        with self._lock:
            if self._sync_engine is None:
                self._sync_engine = sync_engine(
                    self.url, self._settings, slow=self._slow, pool=self._sync_pool, metrics=self._metrics
                )
            return self._sync_engine

    def pool_state(self) -> PoolState:
        """Return what the connections do; asks the pools, not the database."""
        state = pool_state(self._pool, self.engine.pool)
        if self._sync_engine is None:
            return state
        return state + pool_state(self._sync_pool, self._sync_engine.pool)

    async def ping(self) -> None:
        """Run the smallest statement; raises when the database does not answer, or its file is gone."""
        async with self.engine.execution_options(**{READ_ONLY: True}).connect() as connection:
            await connection.execute(text("SELECT 1"))
        # An open connection to SQLite goes on reading a file that was moved away or deleted.
        if self.url.get_backend_name() == "sqlite" and not _is_there(self.url):
            msg = f"the database file {self.url.database} is gone"
            raise FileNotFoundError(msg)

    def start_anew(self) -> None:
        """Leave all connections to the process that this one was forked from."""
        self._lock = threading.Lock()
        self.engine.sync_engine.dispose(close=False)
        if self._sync_engine is not None:
            self._sync_engine.dispose(close=False)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.engine.dispose()
        if self._sync_engine is not None:
            self._sync_engine.dispose()


def sync_engine(
    url: URL,
    settings: DatabaseSettings = WITHOUT_LIMITS,
    *,
    slow: SlowQueries | None = None,
    pool: PoolWatch | None = None,
    metrics: DatabaseMetrics | None = None,
) -> Engine:
    """Return an engine like the service's own, for code that runs no event loop.

    Args:
        url: Where the database is; the driver may be an asynchronous one.
        settings: The pool and the time limits; without them statements take the time that they take.
        slow: What warns of slow statements.
        pool: What watches its pool.
        metrics: What counts its statements.

    """
    kind = watched_pool(pool or pool_watch(metrics), is_async=False)
    address = url.set(drivername="sqlite") if url.get_backend_name() == "sqlite" else url
    engine = create_engine(address, poolclass=kind, **_options(url, settings, is_async=False))
    if engine.dialect.name == "sqlite":
        configure_sqlite(engine)
    _prepare(engine, slow or SlowQueries(settings.slow_query), metrics)
    return engine


def _engine(
    url: URL, settings: DatabaseSettings, slow: SlowQueries, pool: PoolWatch, metrics: DatabaseMetrics | None
) -> AsyncEngine:
    kind = watched_pool(pool, is_async=True)
    engine = create_async_engine(url, poolclass=kind, **_options(url, settings, is_async=True))
    if url.get_backend_name() == "sqlite":
        connect_in_steps(engine.sync_engine)
        configure_sqlite(engine.sync_engine, begin_with_next)
    _prepare(engine.sync_engine, slow, metrics)
    return engine


def _options(url: URL, settings: DatabaseSettings, *, is_async: bool) -> dict[str, Any]:
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite:
        make_folder(url)
    return {
        # Parameters may be personal data: without this they stand in the text of every database error.
        "hide_parameters": True,
        "pool_size": settings.pool_size,
        "max_overflow": settings.pool_overflow,
        "pool_timeout": settings.pool_timeout,
        "pool_pre_ping": not is_sqlite,
        "connect_args": connect_arguments(url, settings, is_async=is_async),
    }


def _prepare(engine: Engine, slow: SlowQueries, metrics: DatabaseMetrics | None) -> None:
    """Attach what happens around each statement."""
    if engine.dialect.name != "sqlite":
        bound_statements(engine)
    _hide_values(engine)
    watch_statements(engine, slow, metrics)
    trace_statements(engine)


def _is_there(url: URL) -> bool:
    return url.database in (None, "", ":memory:") or Path(str(url.database)).exists()


def _hide_values(engine: Engine) -> None:
    """Cut off what PostgreSQL adds to an error: the row that was refused, with its values."""

    @event.listens_for(engine, "handle_error")
    def hide(context: ExceptionContext) -> None:
        for error in (context.original_exception, context.sqlalchemy_exception):
            if error is not None:
                error.args = tuple(_DETAIL.sub("", part) if isinstance(part, str) else part for part in error.args)
