"""A service as a process of its own, with its port, its signals and its last words."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from .servers import free_port

SOURCE = Path(__file__).parents[1] / "src"
BODY = b'{"sku":"T","quantity":1,"customer_email":"ada@example.com"}'
# Far more than any of it takes: on a busy machine an interpreter alone may take seconds to start.
PATIENCE = 60.0


class Process:
    """A running service.

    Args:
        module: What serves.
        folder: Where it runs, and keeps its database and log.
        variables: Its settings.

    """

    def __init__(self, module: str, folder: Path, **variables: str) -> None:
        self.port = free_port()
        self._log = folder / "log"
        own = {"PYTHONPATH": str(SOURCE), "PORT": str(self.port), "LOG__FORMAT": "json", **variables}
        environment = {**os.environ, **own}
        with self._log.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", module], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def output(self) -> str:
        """What the process wrote."""
        return self._log.read_text()

    def events(self) -> list[dict[str, Any]]:
        """Return the log lines."""
        return [json.loads(line) for line in self.output.splitlines()]

    def status(self, path: str) -> int | None:
        """Return the status of a GET, or None when nobody listens."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=5)) as connection, suppress(OSError):
            connection.request("GET", path, headers={"Connection": "close"})
            with connection.getresponse() as response:
                return response.status
        return None

    def connection(self) -> socket.socket:
        """Return a new connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def upload(self) -> socket.socket:
        """Begin a request whose body is half sent: it is in flight until `finish`."""
        connection = self.connection()
        head = [
            "POST /orders HTTP/1.1",
            "Host: localhost",
            "Content-Type: application/json",
            f"Content-Length: {len(BODY)}",
        ]
        connection.sendall("\r\n".join([*head, "", ""]).encode() + BODY[:10])
        return connection


def finish(connection: socket.socket) -> bytes:
    """Send the rest of a begun request, and return the answer."""
    connection.sendall(BODY[10:])
    with connection:
        return connection.recv(65536)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so, for a bounded time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


@contextmanager
def running(module: str, folder: Path, **variables: str) -> Iterator[Process]:
    """Run a service, and leave no process behind."""
    process = Process(module, folder, **variables)
    try:
        wait_for(lambda: process.status("/livez") == 200 or process.popen.poll() is not None)
        yield process
    finally:
        process.popen.kill()
        process.popen.wait()
