"""A SQLite file with queues: what several callers ask for at once is one transaction, on a thread of the file's own.

The file has a journal that is written ahead (WAL), so whatever was committed outlives the process, however it ends. A
power cut is another matter: only with `synchronous=FULL` is a commit on the disk when it returns. Who sends has it, for
nobody sends a second time. Who receives has `NORMAL`: should the disk forget that a message was acknowledged, put off
or buried, it comes again, as it does after a kill; half of a transaction never stays.
"""

import asyncio
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from ...core.errors import BrokerError

# What a step does for all that ask for it at once: their arguments, and a result for each.
Step = Callable[[sqlite3.Connection, Sequence[Any]], Sequence[Any]]
# `visible_at` is 0 for messages that wait, so that they leave in the order in which they came; else it is when the
# lease of `owner` ends or, without one, when the message that was put off is due. `claim` tells one lease from another.
SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS messages (
      number INTEGER PRIMARY KEY AUTOINCREMENT,
      queue TEXT NOT NULL,
      body BLOB NOT NULL,
      headers TEXT NOT NULL,
      visible_at REAL NOT NULL DEFAULT 0,
      attempt INTEGER NOT NULL DEFAULT 1,
      deliveries INTEGER NOT NULL DEFAULT 0,
      owner TEXT,
      claim INTEGER
    )
    """,
    "CREATE INDEX IF NOT EXISTS messages_visible ON messages (queue, visible_at, number)",
    """
    CREATE TABLE IF NOT EXISTS dead_letters (
      number INTEGER PRIMARY KEY AUTOINCREMENT,
      queue TEXT NOT NULL,
      body BLOB NOT NULL,
      headers TEXT NOT NULL,
      why TEXT NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS dead_letters_queue ON dead_letters (queue, number)",
    "CREATE TABLE IF NOT EXISTS holders (queue TEXT PRIMARY KEY, owner TEXT NOT NULL, held_until REAL NOT NULL)",
)
_LEAST_SQLITE = (3, 35)


class _Asked(NamedTuple):
    step: Step
    argument: Any
    future: "Future[Any]"


class QueueFile:
    """A file with queues; connects at the first step, and again after one that failed.

    Args:
        path: The file; its folder is made.
        timeout: Seconds to wait while another process writes.
        is_durable: Whether what was committed outlives a power cut as well.

    """

    def __init__(self, path: str | Path, *, timeout: float, is_durable: bool) -> None:
        self.path = Path(path).absolute()
        self._timeout = timeout
        self._synchronous = "FULL" if is_durable else "NORMAL"
        self._asked: deque[_Asked] = deque()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="queue-file")
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def submit(self, step: Step, argument: Any) -> "Future[Any]":
        """Return what will have the result of a step, in a transaction with others that were asked for meanwhile.

        Args:
            step: What is done.
            argument: For whom.

        Raises:
            BrokerError: The file was closed.

        """
        asked = _Asked(step, argument, Future())
        self._asked.append(asked)
        try:
            self._worker.submit(self._work)
        except RuntimeError as error:
            msg = f"the queue file {str(self.path)!r} was closed before"
            raise BrokerError(msg) from error
        return asked.future

    async def do(self, step: Step, argument: Any = None) -> Any:
        """Return the result of a step; one that is cancelled before it began is not done.

        Args:
            step: What is done.
            argument: For whom.

        Raises:
            BrokerError: The file cannot be used now.

        """
        return await asyncio.wrap_future(self.submit(step, argument))

    async def aclose(self) -> None:
        """Close the file, after what was asked for before."""
        with suppress(RuntimeError):
            closing = self._worker.submit(self._disconnect)
            self._worker.shutdown(wait=False)
            await asyncio.wrap_future(closing)

    def _work(self) -> None:
        asked: list[_Asked] = []
        while self._asked:
            one = self._asked.popleft()
            if one.future.set_running_or_notify_cancel():
                asked.append(one)
        if not asked:
            return
        try:
            results = self._transaction(asked)
        except Exception as error:  # noqa: BLE001 -- whoever asked gets it
            for one in asked:
                one.future.set_exception(self._failure(error))
            return
        for one, result in zip(asked, results, strict=True):
            one.future.set_result(result)

    def _transaction(self, asked: Sequence[_Asked]) -> list[Any]:
        results: list[Any] = []
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            for step, alike in groupby(asked, key=lambda one: one.step):
                results.extend(step(connection, [one.argument for one in alike]))
            connection.execute("COMMIT")
        except BaseException:
            # Closing rolls back; the next step begins with a connection that knows of nothing.
            self._disconnect()
            raise
        return results

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and _identity(self.path) != self._identity:
            # Another one may be there by now: what it sends goes there, and the numbers of messages start anew.
            msg = "the file was moved or deleted"
            raise FileNotFoundError(msg)
        if self._connection is None:
            self._connection = self._connect()
            self._identity = _identity(self.path)
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        if sqlite3.sqlite_version_info < _LEAST_SQLITE:
            msg = f"SQLite {sqlite3.sqlite_version} is older than 3.35"
            raise sqlite3.NotSupportedError(msg)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Only the worker's thread uses it, but whoever drops it may be on another one.
        connection = sqlite3.connect(self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        _write_ahead(connection, self._timeout)
        connection.execute(f"PRAGMA synchronous={self._synchronous}")
        connection.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA:
            connection.execute(statement)
        # Writes nothing, and fails where nothing can be written: SQLite opens a file that is read-only all the same.
        connection.execute("DELETE FROM messages WHERE 0")
        connection.execute("COMMIT")

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _failure(self, error: Exception) -> Exception:
        if not isinstance(error, (sqlite3.Error, OSError)):
            return error
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        failure = BrokerError(
            f"BROKER_URL: received {str(self.path)!r} ({reason}); allowed: a queue file, or where one can be made: on "
            "a local disk with room, in a folder that this user may write to",
            retry_after=1,
        )
        failure.__cause__ = error
        return failure


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _write_ahead(connection: sqlite3.Connection, timeout: float) -> None:
    """Change the journal; when two processes do that at once SQLite refuses one of them without waiting."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
