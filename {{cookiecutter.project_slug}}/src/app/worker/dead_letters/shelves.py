"""Where dead letters lie, and how they are looked at without being taken: whoever looks may be interrupted at any time.

RabbitMQ lends them until they are acknowledged, or whoever has them is gone. In Redis and in files they stay where they
are; only one that was replayed or purged is removed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from celery import Celery
from kombu import Connection
from kombu.transport.virtual import Message as VirtualMessage
from kombu.utils.json import loads

from .burial import kind_of
from .letter import Letter, dead_queue, read_letter

PAGE = 100


class Shelf(Protocol):
    """Dead letters, oldest first."""

    def letters(self) -> Iterator[Letter]:
        """Return those that are there now."""
        ...

    def remove(self, letter: Letter) -> None:
        """Remove one of those that `letters` returned."""
        ...


@contextmanager
def opened_shelf(app: Celery) -> Iterator[Shelf]:
    """Lend the dead letters of an application's queue.

    Args:
        app: The application.

    Raises:
        OSError: The broker is not there; so is a `kombu.exceptions.OperationalError`.

    """
    kind = kind_of(app)
    queue = dead_queue(app.conf.task_default_queue, kind)
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=app.conf.broker_connection_timeout)
        if kind == "amqp":
            yield _InRabbit(connection, queue)
        elif kind == "redis":
            yield _InRedis(connection, queue.name)
        else:
            yield _InFiles(connection, queue.name)


class _InRabbit:
    """Dead letters in RabbitMQ; what is not removed it has back when the connection closes."""

    def __init__(self, connection: Connection, queue: Any) -> None:
        self._queue = queue.bind(connection.default_channel)
        self._queue.declare()
        self._lent: dict[int, Any] = {}

    def letters(self) -> Iterator[Letter]:
        for _ in range(self._queue.queue_declare(passive=True).message_count):
            message = self._queue.get(no_ack=False)
            if message is None:
                return
            letter = read_letter(message)
            self._lent[id(letter)] = (letter, message)
            yield letter

    def remove(self, letter: Letter) -> None:
        _, message = self._lent.pop(id(letter))
        message.ack()


class _InRedis:
    """Dead letters in a list of Redis, whose end is the oldest."""

    def __init__(self, connection: Connection, key: str) -> None:
        self._channel: Any = connection.default_channel
        self._key = key
        self._raw: dict[int, tuple[Letter, bytes]] = {}
        self._removed = 0

    def letters(self) -> Iterator[Letter]:
        with self._channel.conn_or_acquire() as client:
            left, seen = client.llen(self._key), 0
            while left > 0:
                last = -1 - (seen - self._removed)
                page = client.lrange(self._key, last - min(PAGE, left) + 1, last)
                if not page:
                    return
                left -= len(page)
                seen += len(page)
                for raw in reversed(page):
                    letter = _from_payload(raw, self._channel)
                    self._raw[id(letter)] = (letter, raw)
                    yield letter

    def remove(self, letter: Letter) -> None:
        _, raw = self._raw.pop(id(letter))
        with self._channel.conn_or_acquire() as client:
            # From the end, where it is.
            self._removed += client.lrem(self._key, -1, raw)


class _InFiles:
    """Dead letters in a folder, one file each, named by when they came."""

    def __init__(self, connection: Connection, queue: str) -> None:
        self._channel: Any = connection.default_channel
        options = connection.transport_options or {}
        self._folder = Path(options["data_folder_in"])
        self._end = f"{queue}.msg"
        self._paths: dict[int, tuple[Letter, Path]] = {}

    def letters(self) -> Iterator[Letter]:
        for path in sorted(path for path in self._folder.iterdir() if path.name.partition(".")[2] == self._end):
            letter = self._read(path)
            if letter is not None:
                self._paths[id(letter)] = (letter, path)
                yield letter

    def remove(self, letter: Letter) -> None:
        _, path = self._paths.pop(id(letter))
        path.unlink(missing_ok=True)

    def _read(self, path: Path) -> Letter | None:
        """Return a letter, or None for one that is being written, or was removed by somebody else."""
        try:
            return _from_payload(path.read_bytes(), self._channel)
        except (FileNotFoundError, ValueError):
            return None


def _from_payload(raw: bytes, channel: Any) -> Letter:
    return read_letter(VirtualMessage(loads(raw.decode()), channel=channel))
