"""Django's backend for SQLite, with readers beside one writer, and a write lock that is held only while it is needed.

Writers begin with the lock (`BEGIN IMMEDIATE`), for a transaction that reads and then writes would fail at once if
another one wrote in between. Django begins where a block does; here the transaction begins with the block's first
statement, so that what a block does before it, or a block without one, keeps nobody waiting.
"""

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.db.backends.sqlite3.base import DatabaseWrapper as SqliteWrapper

from ...core.connection_pool import PoolState
from ..statements import MeasuredWrapper


class DatabaseWrapper(MeasuredWrapper, SqliteWrapper):
    """A connection to a SQLite file."""

    _begin_is_due = False

    def get_new_connection(self, conn_params: dict[str, Any]) -> sqlite3.Connection:
        """Open the file; its folder is made."""
        try:
            connection: sqlite3.Connection = super().get_new_connection(conn_params)
        except sqlite3.OperationalError:
            Path(self.settings_dict["NAME"]).parent.mkdir(parents=True, exist_ok=True)
            connection = super().get_new_connection(conn_params)
        # The mode is the file's and stays: who finds it locked by another that starts has it with the next connection.
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def init_connection_state(self) -> None:
        """Begin nothing that another connection was to begin."""
        super().init_connection_state()
        self._begin_is_due = False

    def _start_transaction_under_autocommit(self) -> None:
        self._begin_is_due = True

    def _set_autocommit(self, autocommit: bool) -> None:
        self._begin_is_due = False
        super()._set_autocommit(autocommit)  # type: ignore[misc] # Django's own, which its stubs do not name

    def validate_no_broken_transaction(self) -> None:
        """Begin the transaction that is due; Django asks this before each statement."""
        super().validate_no_broken_transaction()
        if not self._begin_is_due:
            return
        self._begin_is_due = False
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc] # as above
        except BaseException:
            # What comes next must not take effect outside of the transaction.
            self._begin_is_due = True
            raise

    @property
    def is_begun(self) -> bool:
        """Whether the database knows of the transaction."""
        return super().is_begun and not self._begin_is_due

    def pool_state(self) -> PoolState:
        """Return what pooled connections do: a file has none."""
        return PoolState()
