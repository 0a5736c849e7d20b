"""SQLite for an event loop, at one change of threads per statement.

A connection of aiosqlite has a thread, and whatever is asked of it costs a way there and back. SQLAlchemy asks for a
cursor, its statement, the rows and the cursor's end one after the other: here that is one step. So is the beginning of
a transaction, which is sent with the first statement, as PostgreSQL's driver sends it.

The thread and its end, also that of a statement which is cancelled, are aiosqlite's and SQLAlchemy's own.
"""

import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from sqlalchemy import event
from sqlalchemy.connectors.asyncio import AsyncAdapt_dbapi_cursor
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.util.concurrency import await_


class _Nothing:
    """What is known of a statement before there is one."""

    description = lastrowid = None
    rowcount, arraysize = -1, 1


class SqliteCursor(AsyncAdapt_dbapi_cursor):
    """Runs a statement and takes all that it returns, in one step.

    Args:
        connection: Where it runs.

    """

    __slots__ = ("_own",)
    # It is closed when it is here.
    _awaitable_cursor_close: ClassVar[bool] = False  # type: ignore[misc] # SQLAlchemy's own do the same
    _nothing: ClassVar[Any] = _Nothing()

    def __init__(self, connection: "SqliteConnection") -> None:
        self._adapt_connection = self._own = connection
        self._connection = connection.driver_connection
        self._cursor = self._nothing
        self._rows = deque()

    @property
    def description(self) -> Any:
        """What the columns are, when the statement has any."""
        return self._cursor.description

    def close(self) -> None:
        """Forget the rows."""
        self._rows.clear()

    def execute(self, operation: Any, parameters: Any = None) -> None:
        """Run a statement.

        Args:
            operation: Its text.
            parameters: Its parameters.

        """
        self._run(sqlite3.Cursor.execute, operation, () if parameters is None else parameters)

    def executemany(self, operation: Any, seq_of_parameters: Any) -> None:
        """Run a statement once per set of parameters.

        Args:
            operation: Its text.
            seq_of_parameters: The sets.

        """
        self._run(sqlite3.Cursor.executemany, operation, seq_of_parameters)

    def _run(self, how: Callable[..., Any], operation: Any, parameters: Any) -> None:
        to, own = self._connection, self._own
        try:
            # A connection that was closed raises here.
            step = to._execute(_run, to._conn, own.beginning, how, operation, parameters)  # noqa: SLF001
            self._cursor, self._rows = await_(step)
        except Exception as error:  # noqa: BLE001 -- SQLAlchemy knows what it means
            own._handle_exception(error)  # noqa: SLF001


class SqliteConnection(AsyncAdapt_aiosqlite_connection):
    """A connection whose statements are one step each.

    Attributes:
        beginning: What begins the transaction at its next statement, where none has begun it; None when there is none.

    """

    __slots__ = ("beginning",)
    _cursor_cls = SqliteCursor  # type: ignore[assignment] # nothing asks for the other one's own
    beginning: str | None

    def __init__(self, dbapi: Any, connection: Any) -> None:
        super().__init__(dbapi, connection)
        self.beginning = None

    def cursor(self, server_side: bool = False) -> AsyncAdapt_dbapi_cursor:
        """Return a cursor.

        Args:
            server_side: Whether rows stay on the thread until they are asked for.

        """
        if server_side and self.beginning is not None:
            SqliteCursor(self).execute("SELECT 1")
        return super().cursor(server_side)

    def commit(self) -> None:
        """Commit, when something was begun."""
        self.beginning = None
        if self._is_begun:
            super().commit()

    def rollback(self) -> None:
        """Undo what was begun; SQLAlchemy asks for it after a commit, too, when there is nothing."""
        self.beginning = None
        if self._is_begun:
            super().rollback()

    @property
    def _is_begun(self) -> bool:
        driver = self._connection
        return driver._connection is not None and driver.in_transaction  # noqa: SLF001 -- as SQLAlchemy's own asks


def _run(
    connection: sqlite3.Connection, beginning: str | None, how: Callable[..., Any], operation: Any, parameters: Any
) -> tuple[sqlite3.Cursor, deque[Any]]:
    """Do all of a statement, on the connection's thread."""
    cursor = connection.cursor()
    try:
        # A statement that failed may have begun it before.
        if beginning is not None and not connection.in_transaction:
            cursor.execute(beginning)
        how(cursor, operation, parameters)
        return cursor, deque(cursor.fetchall() if cursor.description else ())
    finally:
        cursor.close()


def connect_in_steps(engine: Engine) -> None:
    """Have the connections of an engine run each statement in one step.

    Args:
        engine: The `sync_engine` of an asynchronous one for SQLite that has no connection yet.

    """

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Dialect, _record: Any, arguments: Any, options: Any) -> SqliteConnection:
        plain: Any = dialect.connect(*arguments, **options)
        return SqliteConnection(plain.dbapi, plain.driver_connection)


def begin_with_next(connection: Connection, statement: str) -> None:
    """Begin a transaction together with its first statement.

    Args:
        connection: One of an engine of `connect_in_steps`.
        statement: What begins it.

    """
    own: Any = connection.connection.dbapi_connection
    own.beginning = statement
