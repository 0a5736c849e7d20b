"""Send messages to a queue in a SQLite file; what was sent outlives a crash, of the machine too."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .queue_file import QueueFile

_Row = tuple[str, bytes, str]


class SqliteTransport:
    """Sends to a queue in a file.

    Args:
        path: The file; its folder is made.
        queue: Where the messages are to wait.
        timeout: Seconds to wait while another process writes.

    """

    def __init__(self, path: str | Path, queue: str, timeout: float) -> None:
        self._file = QueueFile(path, timeout=timeout, is_durable=True)
        self._queue = queue

    async def send(self, messages: Sequence[tuple[bytes, Mapping[str, Any]]]) -> None:
        """Send messages, all of them or none.

        Args:
            messages: Each as its body and its headers.

        Raises:
            BrokerError: The file cannot be used now.

        """
        if messages:
            await self._file.do(insert, [(self._queue, body, json.dumps(dict(headers))) for body, headers in messages])

    async def aclose(self) -> None:
        """Close the file."""
        await self._file.aclose()


def insert(connection: sqlite3.Connection, batches: Sequence[Sequence[_Row]]) -> list[None]:
    """Add messages, as a step of a queue file.

    Args:
        connection: Where.
        batches: The messages of each sender, as queue, body and headers.

    """
    rows = [row for batch in batches for row in batch]
    connection.executemany("INSERT INTO messages (queue, body, headers) VALUES (?, ?, ?)", rows)
    return [None] * len(batches)
