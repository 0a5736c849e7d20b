"""A folder as a broker, for development and for one machine, that loses nothing when a worker is killed.

Kombu's own transport creates a file and fills it then, so that a worker may take half a message; it deletes a message
when a worker takes it, so that a killed worker takes it along; and on Windows it needs another package. Here a message
is a file that is written elsewhere and renamed, and is renamed again into a folder of the worker that takes it. This
folder is locked while the worker lives: what lies in one that is not locked is given back by whoever finds it.
"""

import sys
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import IO, Any, NamedTuple
from uuid import uuid4

from kombu.transport import virtual
from kombu.utils.json import dumps, loads

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# How often a worker looks for what others left behind.
SCAN_SECONDS = 2.0
# Their types know less than they are.
_QoS: Any = virtual.QoS
_Channel: Any = virtual.Channel
LOCK = "lock"


class Binding(NamedTuple):
    """Which queue gets what is sent to an exchange."""

    routing_key: str
    pattern: str
    queue: str


class QoS(_QoS):  # type: ignore[misc]
    """What a channel has taken and not acknowledged."""

    def ack(self, delivery_tag: str) -> None:
        """Delete a message that is done."""
        self.channel.forget(delivery_tag)
        super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give a message back, or delete it."""
        super().reject(delivery_tag, requeue=requeue)
        self.channel.forget(delivery_tag)


class Channel(_Channel):  # type: ignore[misc]
    """A channel whose messages are always in a file."""

    QoS = QoS
    supports_fanout = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        options = self.connection.client.transport_options
        self._messages = Path(options["data_folder_in"])
        self._control = Path(options["control_folder"])
        self._taken = self._messages.parent / "taken"
        self._own = self._taken
        self._lock: IO[bytes] | None = None
        self._files: dict[str, Path] = {}
        self._careless: set[str] = set()
        self._scanned = 0.0

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:
        """Consume from a queue; what is not acknowledged, as replies to `inspect`, needs not be kept."""
        if no_ack:
            self._careless.add(queue)
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:
        """Take one message, if there is one."""
        message = super().basic_get(queue, no_ack=no_ack, **kwargs)
        if message is not None and no_ack:
            self.forget(message.delivery_tag)
        return message

    def forget(self, delivery_tag: str) -> None:
        """Delete a message that was taken.

        Args:
            delivery_tag: Its.

        """
        path = self._files.pop(delivery_tag, None)
        if path is not None:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give everything back, and take no more."""
        was_open = not self.closed
        super().close()
        if was_open and self._lock is not None:
            self._lock.close()
            _remove(self._own)

    def get_table(self, exchange: str) -> list[Binding]:
        """Return the queues of an exchange."""
        found = [_read(path) for path in self._bindings(exchange)]
        return [Binding(*binding) for binding in found if binding is not None]

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        binding = Binding(routing_key or "", pattern or "", queue or "")
        if binding not in self.get_table(exchange):
            folder = self._control / f"{exchange}.exchange"
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / f"{uuid4()}.json", binding)

    def _bindings(self, exchange: str) -> list[Path]:
        return sorted((self._control / f"{exchange}.exchange").glob("*.json"))

    def _delete(self, queue: str, exchange: str, *_binding: Any, **_options: Any) -> None:
        self._purge(queue)
        for path in self._bindings(exchange):
            binding = _read(path)
            if binding is not None and Binding(*binding).queue == queue:
                path.unlink(missing_ok=True)

    def _put(self, queue: str, message: Any, **_options: Any) -> None:
        # Those that were given back come first; a name says when it was sent, and to whom.
        _write(self._messages / f"{time.time_ns():020d}_{uuid4()}.{queue}.msg", message)

    def _put_fanout(self, exchange: str, message: Any, routing_key: str, **options: Any) -> None:  # noqa: ARG002
        for binding in self.get_table(exchange):
            self._put(binding.queue, message, **options)

    def _get(self, queue: str, timeout: float | None = None) -> Any:  # noqa: ARG002 -- kombu's signature
        self._hold()
        self._give_back_of_others()
        for path in self._waiting(queue):
            own = self._own / path.name
            try:
                path.rename(own)
            except OSError:
                # Somebody else was faster.
                continue
            payload = _read(own)
            if payload is None or queue in self._careless:
                own.unlink(missing_ok=True)
            else:
                self._files[payload["properties"]["delivery_tag"]] = own
            if payload is not None:
                return payload
        raise Empty

    def _waiting(self, queue: str) -> list[Path]:
        end = f"{queue}.msg"
        return sorted(path for path in self._messages.iterdir() if path.name.partition(".")[2] == end)

    def _size(self, queue: str) -> int:
        return len(self._waiting(queue))

    def _purge(self, queue: str) -> int:
        paths = self._waiting(queue)
        for path in paths:
            path.unlink(missing_ok=True)
        return len(paths)

    def _restore(self, message: Any) -> None:
        path = self._files.pop(message.delivery_tag, None)
        if path is not None:
            _give_back(path, self._messages)

    def _restore_at_beginning(self, message: Any) -> None:
        self._restore(message)

    def _hold(self) -> None:
        """Have a folder of this channel's own, that nobody else takes from while the process lives."""
        while self._lock is None:
            # Between the two somebody may find the folder without a lock, and remove it.
            self._own = self._taken / uuid4().hex
            self._own.mkdir(parents=True)
            self._lock = _locked(self._own)

    def _give_back_of_others(self) -> None:
        if time.monotonic() - self._scanned < SCAN_SECONDS:
            return
        self._scanned = time.monotonic()
        for folder in self._taken.iterdir():
            lock = _locked(folder) if folder != self._own else None
            if lock is not None:
                for path in folder.glob("*.msg"):
                    _give_back(path, self._messages)
                lock.close()
                _remove(folder)


class Transport(virtual.Transport):
    """A folder as a broker."""

    Channel = Channel
    implements = virtual.Transport.implements.extend(
        asynchronous=False, exchange_type=frozenset(["direct", "topic", "fanout"])
    )
    polling_interval = 0.1
    default_port = 0
    driver_type = "filesystem"
    driver_name = "filesystem"

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        # What is bound is in the folder; this is what the connection has seen of it.
        self.state = virtual.BrokerState()

    def driver_version(self) -> str:
        """Return the version of what the broker is: there is none."""
        return "N/A"


def _write(path: Path, content: Any) -> None:
    """Write a file that is there as a whole, or not at all."""
    begun = path.with_name(f".{uuid4()}.begun")
    begun.write_text(dumps(content), encoding="utf-8")
    begun.replace(path)


def _read(path: Path) -> Any:
    """Return what a file holds, or None when it is gone, or holds nothing that can be read."""
    with suppress(OSError, ValueError):
        return loads(path.read_text(encoding="utf-8"))
    return None


def _give_back(path: Path, folder: Path) -> None:
    """Put a message back at its place, and let it say that it was taken before."""
    payload = _read(path)
    if payload is not None:
        payload["properties"]["delivery_info"]["redelivered"] = True
        payload.setdefault("headers", {})["redelivered"] = True
        _write(folder / path.name, payload)
    path.unlink(missing_ok=True)


def _locked(folder: Path) -> IO[bytes] | None:
    """Return the lock of a folder, held until it is closed or the process ends, or None when somebody has it."""
    try:
        file = (folder / LOCK).open("ab")
    except OSError:
        return None
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Not one that was removed in the meantime: this raises.
        (folder / LOCK).stat()
    except OSError:
        file.close()
        return None
    return file


def _remove(folder: Path) -> None:
    with suppress(OSError):
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()
