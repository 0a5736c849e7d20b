"""Servers that a test may stop, kill and start again: processes of its own, on a port and a folder of their own."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

# Far more than any of them takes.
PATIENCE = 60
_POSTGRESQL = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)


class Server:
    """A server's process.

    Args:
        url: Where it listens.
        command: What starts it, in the foreground.
        answers: Raises until it does.

    """

    def __init__(self, url: str, command: list[str], answers: Callable[[], object]) -> None:
        self.url = url
        self._command = command
        self._answers = answers
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        deadline = time.monotonic() + PATIENCE
        while not self._is_up():
            assert time.monotonic() < deadline, f"{self._command} does not answer"
            # After a crash PostgreSQL refuses to start until the last process of the one before is gone.
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.05)

    def _is_up(self) -> bool:
        try:
            self._answers()
        except (psycopg.OperationalError, OSError):
            return False
        return True

    def stop(self) -> None:
        """End it at once, as a restart does: connections break, what was committed stays."""
        # To PostgreSQL an interrupt is a fast shutdown; a terminated one would wait for its clients.
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def private_postgresql() -> Iterator[Server]:
    """Return a PostgreSQL of the test's own, started; skips by name where its programs or its user are missing."""
    initdb, postgres = _program("initdb"), _program("postgres")
    if initdb is None or postgres is None:
        pytest.skip("PostgreSQL: initdb and postgres are not installed")
    # Not below the test's folder: that one belongs to a user who may not be the server's.
    folder = Path("/var/tmp") / f"test-postgresql-{uuid4().hex}"
    as_user = _as_user()
    port = free_port()
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    made = subprocess.run(
        [*as_user, initdb, "--pgdata", folder, "--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd="/",
    )
    assert made.returncode == 0, made.stderr
    options = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "fsync": "off"}
    given = [f"--{name}={value}" for name, value in options.items()]
    server = Server(url, [*as_user, postgres, "-D", str(folder), *given], lambda: _ask_postgresql(url))
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str | None:
    return next((str(folder / name) for folder in _POSTGRESQL if (folder / name).exists()), shutil.which(name))


def _as_user() -> list[str]:
    """Return what runs a command as somebody whom PostgreSQL accepts, which refuses root."""
    if os.geteuid():
        return []
    setpriv = shutil.which("setpriv")
    known = subprocess.run(["id", "-u", "postgres"], check=False, capture_output=True)
    if setpriv is None or known.returncode:
        pytest.skip("PostgreSQL: refuses root, and there is no user postgres to run it as")
    # It becomes the command instead of starting it, so that a signal reaches the server.
    return [setpriv, "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]


def _ask_postgresql(url: str) -> None:
    with psycopg.connect(url, connect_timeout=3) as connection:
        connection.execute("SELECT 1")


@contextmanager
def private_redis(folder: Path, **options: str) -> Iterator[Server]:
    """Return a Redis of the test's own, started; skips by name where its program is missing.

    Args:
        folder: Where it keeps what was written, also over a restart.
        options: Further settings of it, with `_` for `-`.

    """
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("Redis: redis-server is not installed")
    port = free_port()
    every = {"port": port, "bind": "127.0.0.1", "dir": folder, "appendonly": "yes", "save": "", **options}
    given = [part for name, value in every.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    url = f"redis://127.0.0.1:{port}/0"
    server = Server(url, [program, *given], lambda: _ask_redis(port))
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _ask_redis(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
        connection.sendall(b"PING\r\n")
        if not connection.recv(64).startswith(b"+PONG"):
            # It still loads what it kept.
            raise ConnectionError


@contextmanager
def silent_server() -> Iterator[int]:
    """Return the port of a peer that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        yield listening.getsockname()[1]


@contextmanager
def deaf_server() -> Iterator[int]:
    """Return the port of a peer that takes no connection and refuses none, as one behind a firewall."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        try:
            for client in waiting:
                client.setblocking(False)
                client.connect_ex(listening.getsockname())
            yield listening.getsockname()[1]
        finally:
            for client in waiting:
                client.close()
