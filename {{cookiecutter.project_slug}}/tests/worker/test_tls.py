"""What the broker's URL says is encrypted is, for who sends and who works."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from app.adapters.broker import broker_configuration
from app.worker.configuration import WorkerSettings
from app.worker.delivery import delivery_configuration

PATIENCE = 10.0
# How a client begins with TLS.
HANDSHAKE = b"\x16\x03"


@pytest.fixture
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """Return a port, and what its first client begins with."""
    heard: list[bytes] = []

    def listen() -> None:
        with suppress(OSError):
            connection, _ = server.accept()
            with connection:
                connection.settimeout(PATIENCE)
                heard.append(connection.recv(2))
            # Whoever tries again is refused at once.
            server.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=listen)
        thread.start()
        address = server.getsockname()
        yield address[1], heard
        with suppress(OSError):
            socket.create_connection(address, timeout=1).close()
        thread.join()


@pytest.mark.parametrize("scheme", ["rediss", "amqps"])
@pytest.mark.parametrize("who", ["sender", "worker"])
def test_tls(scheme: str, who: str, listener: tuple[int, list[bytes]], tmp_path: Path) -> None:
    """The first bytes on the connection begin a handshake."""
    port, heard = listener
    url = f"{scheme}://me:secret@127.0.0.1:{port}/0"
    settings = WorkerSettings(broker_url=url, database_url=f"sqlite:///{tmp_path}/app.db")
    configuration = broker_configuration(url, "tasks") if who == "sender" else delivery_configuration(settings)
    app = Celery("test", set_as_current=False)
    app.conf.update({**configuration, "broker_connection_timeout": 2.0})
    connection: Any = app.connection_for_write()
    with pytest.raises(Exception):  # noqa: B017, PT011 -- each library has its own for a peer that goes away
        connection.connect()
    connection.release()
    assert heard == [HANDSHAKE]
