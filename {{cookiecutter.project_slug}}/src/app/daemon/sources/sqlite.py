"""Messages from a SQLite file, for one machine: durable, without a server, shared by any number of processes.

A message that is handed out stays in the file with a lease, which `keep` renews. What is done to it later counts only
while the lease is this receiver's. Leases go by the machine's clock: when that is set forward, a message may be handed
out twice at once, and when it is set back, those of a dead daemon come later.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

from ...adapters.message_transports.queue_file import QueueFile
from ...core.broker_url import read_broker_url
from ...core.errors import BrokerError
from ...core.message_source import Delivery, Letter
from ...settings import ConfigurationError
from ..configuration import DaemonSettings
from . import sqlite_statements as statements
from .polling import poll

# Seconds to wait while another process writes, which takes it some milliseconds.
BUSY_SECONDS = 5.0
_PAGE = 100
# What nobody retries into being right.
_MISCONFIGURED = (FileNotFoundError, FileExistsError, NotADirectoryError, PermissionError, sqlite3.NotSupportedError)
_MISCONFIGURED_CODES = {"SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_NOTADB", "SQLITE_PERM", "SQLITE_AUTH"}
_Receipt = tuple[int, int]


class SqliteSource:
    """Receives from a queue in a file.

    Args:
        settings: The daemon's.

    """

    system = "sqlite"
    sends = False

    def __init__(self, settings: DaemonSettings) -> None:
        self._path = Path(read_broker_url(settings.broker_url).path)
        self._queue = settings.daemon.queue
        self._lease = settings.daemon.visibility_timeout
        self._is_ordered = settings.daemon.ordered
        self._owner = uuid4().hex
        self._claims = count(1)
        self._file = QueueFile(self._path, timeout=BUSY_SECONDS, is_durable=False)

    async def open(self) -> None:
        """Open the file, and make it when it is not there.

        Raises:
            ConfigurationError: It can be neither.
            BrokerError: It cannot be used now.

        """
        await self._file.aclose()
        self._file = QueueFile(self._path, timeout=BUSY_SECONDS, is_durable=False)
        try:
            await self._file.do(_look)
        except BrokerError as error:
            if _is_misconfigured(error.__cause__):
                raise ConfigurationError(str(error)) from error
            raise

    async def receive(self, limit: int) -> Sequence[Delivery]:
        """Return messages, oldest first; looks for them in pauses that grow.

        Args:
            limit: How many at most.

        """
        return await poll(lambda: self._take(limit))

    async def acknowledge(self, delivery: Delivery) -> None:
        """Delete a message."""
        await self._file.do(self._delete, delivery.receipt)

    async def try_again(self, delivery: Delivery, delay: float) -> None:
        """Let a message be visible later."""
        due = time.time() + delay if delay > 0 else 0.0
        await self._change(statements.TRY_AGAIN, delivery.receipt, due=due)

    async def give_back(self, delivery: Delivery) -> None:
        """Let a message be visible now, at its old place."""
        await self._change(statements.GIVE_BACK, delivery.receipt)

    async def bury(self, delivery: Delivery, why: Mapping[str, Any]) -> None:
        """Move a message to the dead letters, in one transaction."""
        number, claim = delivery.receipt
        values = {"number": number, "claim": claim, "owner": self._owner, "why": json.dumps(dict(why), default=str)}
        await self._file.do(_run, [(statements.COPY_TO_DEAD, values), (statements.FORGET, values)])

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        """Renew the leases, and that of who takes messages in their order."""
        until = time.time() + self._lease
        kept = [(statements.KEEP, self._own(delivery.receipt, until=until)) for delivery in deliveries]
        hold = [(statements.HOLD, self._values(time.time()))] if self._is_ordered else []
        await self._file.do(_run, [*hold, *kept])

    async def ping(self) -> None:
        """Look into the file."""
        await self._file.do(_look)

    async def backlog(self) -> int:
        """Return how many messages wait."""
        return int((await self._file.do(_select, (statements.WAITING, self._values(time.time()))))[0][0])

    async def letters(self) -> AsyncIterator[Letter]:
        """Yield the dead letters, a page at a time."""
        last = 0
        while rows := await self._file.do(_select, (statements.LETTERS, (self._queue, last, _PAGE))):
            for number, body, headers, why in rows:
                yield Letter(body, json.loads(headers), json.loads(why), number)
            last = rows[-1][0]

    async def replay(self, letter: Letter) -> None:
        """Move a dead letter to the end of the queue, in one transaction."""
        await self._file.do(_run, [(statements.REPLAY, (letter.receipt,)), (statements.DROP, (letter.receipt,))])

    async def drop(self, letter: Letter) -> None:
        """Delete a dead letter."""
        await self._file.do(_run, [(statements.DROP, (letter.receipt,))])

    async def aclose(self) -> None:
        """Let everything be visible that is still this receiver's, and close the file."""
        release = (statements.RELEASE, (self._queue, self._owner))
        leave = (statements.LEAVE, (self._queue, self._owner))
        try:
            # Where that fails, the leases end by themselves.
            with suppress(BrokerError):
                await self._file.do(_run, [release, leave])
        finally:
            await self._file.aclose()

    async def _take(self, limit: int) -> list[Delivery]:
        claiming: Future[list[Delivery]] = self._file.submit(self._claim, limit)
        try:
            return await asyncio.wrap_future(claiming)
        except asyncio.CancelledError:
            claiming.add_done_callback(self._return)
            raise

    def _return(self, claiming: "Future[list[Delivery]]") -> None:
        """Give back what was claimed for somebody who was cancelled meanwhile."""
        if not claiming.cancelled() and claiming.exception() is None and claiming.result():
            back = [(statements.GIVE_BACK, self._own(delivery.receipt)) for delivery in claiming.result()]
            # Once the file is closed nothing is this receiver's any more.
            with suppress(BrokerError):
                self._file.submit(_run, back)

    async def _change(self, statement: str, receipt: _Receipt, **values: Any) -> None:
        await self._file.do(_run, [(statement, self._own(receipt, **values))])

    def _own(self, receipt: _Receipt, **values: Any) -> dict[str, Any]:
        return {"number": receipt[0], "claim": receipt[1], "owner": self._owner, **values}

    def _values(self, now: float) -> dict[str, Any]:
        return {"queue": self._queue, "owner": self._owner, "now": now, "lease": self._lease}

    def _claim(self, connection: sqlite3.Connection, limits: Sequence[int]) -> list[list[Delivery]]:
        values = self._values(time.time())
        # Who held the queue before was renewed no earlier than its messages: they are visible by now, and come first.
        if self._is_ordered and not connection.execute(statements.HOLD, values).rowcount:
            return [[] for _ in limits]
        connection.execute(statements.EXPIRE, values)
        return [self._claimed(connection, {**values, "limit": limit, "claim": next(self._claims)}) for limit in limits]

    def _claimed(self, connection: sqlite3.Connection, values: Mapping[str, Any]) -> list[Delivery]:
        # Rows are returned in any order.
        rows = sorted(connection.execute(statements.CLAIM, values).fetchall(), key=lambda row: row[0])
        return [
            Delivery(body, json.loads(headers), attempt, deliveries, (number, values["claim"]))
            for number, body, headers, attempt, deliveries in rows
        ]

    def _delete(self, connection: sqlite3.Connection, receipts: Sequence[_Receipt]) -> list[None]:
        # One statement for all that wait, whatever their number: a thread pays for each with the interpreter's lock.
        numbers = json.dumps([number for number, _claim in receipts])
        exactly = json.dumps([f"{number}.{claim}" for number, claim in receipts])
        connection.execute(statements.ACKNOWLEDGE, {"owner": self._owner, "numbers": numbers, "receipts": exactly})
        return [None] * len(receipts)


def _run(connection: sqlite3.Connection, batches: Sequence[Sequence[tuple[str, Any]]]) -> list[None]:
    for statement, values in (one for batch in batches for one in batch):
        connection.execute(statement, values)
    return [None] * len(batches)


def _select(connection: sqlite3.Connection, queries: Sequence[tuple[str, Any]]) -> list[list[Any]]:
    return [connection.execute(query, values).fetchall() for query, values in queries]


def _look(connection: sqlite3.Connection, asked: Sequence[None]) -> list[None]:
    connection.execute(statements.LOOK).fetchall()
    return [None] * len(asked)


def _is_misconfigured(error: BaseException | None) -> bool:
    return isinstance(error, _MISCONFIGURED) or getattr(error, "sqlite_errorname", "") in _MISCONFIGURED_CODES
