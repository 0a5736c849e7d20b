"""
Databases and stores for services under test: servers of a test's own, and room on those that run anyway.

A server of its own is started from the installed programs, so a test may stop, kill and freeze it. Where a program or a
server is missing, what needs it is skipped by name.

TEST_POSTGRESQL_URL   the PostgreSQL server that runs anyway
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Self
from unittest import SkipTest
from uuid import uuid4

import psycopg
import redis

from .wire import HOST, eventually

POSTGRESQL = os.environ.get("TEST_POSTGRESQL_URL", "postgresql://postgres@127.0.0.1:5432/test")
Connection = psycopg.Connection[tuple[str | int, ...]]
START_SECONDS = 30
STOP_SECONDS = 20


class MissingError(SkipTest):
    """What a test needs is not there; pytest skips the test, and says so."""


class Backend(ABC):
    """A server of its own: one process, with or without children."""

    name: str
    owner: str | None = None
    # How it is asked to end, and how it is made to.
    polite, sudden = signal.SIGTERM, signal.SIGKILL

    def __init__(self) -> None:
        self.port = _quiet_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name.lower()}-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._paused: list[int] = []

    @abstractmethod
    def command(self) -> list[str]:
        """Return what starts the server in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Return whether the server does its work."""

    def start(self) -> Self:
        """Start the server and wait until it works."""
        with Path(self.folder, "log").open("ab") as log:
            self._process = self.spawn(self.command(), log.fileno())
        eventually(lambda: self._ended() or self.answers(), within=START_SECONDS)
        assert not self._ended(), f"{self.name} did not start:\n{Path(self.folder, 'log').read_text()}"
        return self

    def spawn(self, command: list[str], output: int) -> "subprocess.Popen[bytes]":
        """Start one of the server's programs, as a user that may run it."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            user=self.owner,
            group=self.owner,
            extra_groups=[] if self.owner else None,
        )

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def stop(self) -> None:
        """End the server as its operator would: connections are cut, what was promised is kept."""
        self._end(self.polite)

    def kill(self) -> None:
        """End the server at once."""
        self._end(self.sudden)

    def _end(self, number: int) -> None:
        assert self._process is not None, f"{self.name} was not started"
        self.resume()
        self._process.send_signal(number)
        self._process.wait(STOP_SECONDS)

    def pause(self) -> None:
        """Let the server hang: connections stay, and new ones are taken by the system, but nobody answers."""
        assert self._process is not None, f"{self.name} was not started"
        # The parent first, so that no child is born afterwards.
        os.kill(self._process.pid, signal.SIGSTOP)
        self._paused = [self._process.pid, *children(self._process.pid)]
        for pid in self._paused[1:]:
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a server that hangs go on."""
        while self._paused:
            os.kill(self._paused.pop(), signal.SIGCONT)

    def restore(self) -> None:
        """Bring the server back, whatever was done to it."""
        self.resume()
        if self._ended():
            self.start()

    def close(self) -> None:
        """End the server and delete what it has kept."""
        if not self._ended():
            self.stop()
        shutil.rmtree(self.folder)


class PostgreSQL(Backend):
    """A PostgreSQL of its own, which writes nothing through to the disk."""

    name = "PostgreSQL"
    # It refuses to run as root.
    owner = "postgres" if os.geteuid() == 0 else None
    # "Fast" cuts all connections and undoes what is not committed; "immediate" is a crash of all its processes.
    polite, sudden = signal.SIGINT, signal.SIGQUIT
    settings = ("fsync=off", "max_connections=300", "unix_socket_directories=", f"listen_addresses={HOST}")

    def __init__(self, *settings: str) -> None:
        """Make an empty server; skip where its programs are missing.

        Args:
            settings: Further ones, as `name=value`.
        """
        self._programs = _postgresql_programs()
        super().__init__()
        self._settings = (*self.settings, *settings)
        if self.owner:
            shutil.chown(self.folder, self.owner, self.owner)
        options = ["--username=postgres", "--auth=trust", "--no-sync", "--no-locale", "--encoding=UTF8"]
        made = self.spawn([str(self._programs / "initdb"), *options, str(self.folder / "data")], subprocess.PIPE)
        output, _ = made.communicate(timeout=START_SECONDS)
        assert made.returncode == 0, output.decode()

    def command(self) -> list[str]:
        """Return what starts the server in the foreground."""
        program = [str(self._programs / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        return [*program, *(part for setting in self._settings for part in ("-c", setting))]

    def url(self, database: str = "postgres") -> str:
        """Return the address of a database on it."""
        return f"postgresql://postgres@{HOST}:{self.port}/{database}"

    def answers(self) -> bool:
        """Return whether a statement succeeds."""
        try:
            with connected(self.url()) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    def new_database(self) -> str:
        """Make an empty database and return its address."""
        name = f"test_{uuid4().hex}"
        with connected(self.url()) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)


class Redis(Backend):
    """A Redis of its own, which keeps nothing when it ends."""

    name = "Redis"

    def __init__(self, *options: str) -> None:
        """Make an empty server; skip where its program is missing.

        Args:
            options: Further ones, as on its command line.
        """
        self._program = shutil.which("redis-server")
        if self._program is None:
            msg = "Redis: redis-server is not installed"
            raise MissingError(msg)
        super().__init__()
        self._options = options

    def command(self) -> list[str]:
        """Return what starts the server in the foreground."""
        options = ["--bind", HOST, "--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        return [str(self._program), "--port", str(self.port), *options, *self._options]

    def url(self) -> str:
        """Return its address."""
        return f"redis://{HOST}:{self.port}/0"

    def answers(self) -> bool:
        """Return whether a command succeeds."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        """Return a client; it closes with its block."""
        return redis.Redis(host=HOST, port=self.port, socket_timeout=STOP_SECONDS)


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    tasks = Path("/proc", str(pid), "task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def _quiet_port() -> int:
    """Return a port that nobody listens on, and that no connection gets by chance while the server is away."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) != 0:
                return port


def _postgresql_programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        msg = "PostgreSQL: initdb is not installed"
        raise MissingError(msg)
    return found[-1].parent if found else Path(str(on_path)).parent


@contextmanager
def connected(address: str) -> Iterator[Connection]:
    """Open a connection to PostgreSQL, each statement on its own."""
    with psycopg.connect(address, connect_timeout=3, autocommit=True) as connection:
        # What a test that failed has left open must not keep the next one waiting.
        connection.execute("SET lock_timeout = '10s'")
        yield connection


@contextmanager
def own_schema() -> Iterator[str]:
    """Give the address of an empty schema on the PostgreSQL that runs anyway, and drop it with the block."""
    reason = _unreachable()
    if reason:
        msg = f"PostgreSQL: {POSTGRESQL} is not reachable ({reason})"
        raise MissingError(msg)
    schema = f"test_{uuid4().hex}"
    with connected(POSTGRESQL) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    try:
        yield f"{POSTGRESQL}{'&' if '?' in POSTGRESQL else '?'}options=-csearch_path%3D{schema}"
    finally:
        with connected(POSTGRESQL) as connection:
            connection.execute(f"DROP SCHEMA {schema} CASCADE")


@lru_cache(maxsize=1)
def _unreachable() -> str:
    """Return why the server cannot be used, or nothing."""
    try:
        with connected(POSTGRESQL):
            return ""
    except psycopg.OperationalError as error:
        return str(error).splitlines()[0]
