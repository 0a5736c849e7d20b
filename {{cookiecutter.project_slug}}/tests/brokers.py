"""Brokers that a test has to itself: it may stop, kill and start them again."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import pytest
from kombu import Connection

from .servers import free_port, private_redis

BROKERS = ("redis", "rabbitmq")
# A node of Erlang takes its time on a busy machine.
PATIENCE = 120.0
# Debian's command of this name becomes another user, and forgets the variables.
_SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class Broker(Protocol):
    """A broker's process."""

    url: str

    def start(self) -> None:
        """Start it, and wait until it answers."""

    def kill(self) -> None:
        """End it as a crash does."""


class RabbitNode:
    """A RabbitMQ node, with a port, a name and a folder of its own.

    Args:
        folder: Where it keeps what was sent, also over a restart.

    """

    def __init__(self, folder: Path, program: str) -> None:
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        self._program = program
        self._folder = folder
        self._names = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._variables = {
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(self._names),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "environment"),
            "RABBITMQ_CONFIG_FILE": str(folder / "configuration"),
            # Few processors, many nodes: none should spin while it waits.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none +S 1:1",
        }

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # Nodes find each other by a service of Erlang's; were it the machine's, it would stay behind.
        for command in (["epmd", "-port", str(self._names), "-address", "127.0.0.1"], [self._program]):
            self._processes.append(self._begin(command))
        deadline = time.monotonic() + PATIENCE
        while not self._is_up():
            assert time.monotonic() < deadline, (self._folder / "output").read_text()[-2000:]
            assert self._processes[-1].poll() is None, (self._folder / "output").read_text()[-2000:]
            time.sleep(0.1)

    def _begin(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self._folder / "output").open("ab") as output:
            return subprocess.Popen(
                command,
                env={**os.environ, **self._variables},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _is_up(self) -> bool:
        try:
            with Connection(self.url, connect_timeout=3) as connection:
                connection.connect()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it as a crash does."""
        for process in self._processes:
            # The node's script starts others, all of one group.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)
        self._processes.clear()


@contextmanager
def private_rabbitmq(folder: Path) -> Iterator[RabbitNode]:
    """Return a RabbitMQ of the test's own, started; skips by name where its program is missing.

    Args:
        folder: Where it keeps what was sent, also over a restart.

    """
    program = str(_SCRIPT) if _SCRIPT.exists() else shutil.which("rabbitmq-server")
    if program is None or shutil.which("epmd") is None:
        pytest.skip("RabbitMQ: rabbitmq-server is not installed")
    (folder / "plugins").write_text("[].")
    node = RabbitNode(folder, program)
    try:
        node.start()
        yield node
    finally:
        node.kill()


@contextmanager
def private_broker(kind: str, folder: Path) -> Iterator[Broker]:
    """Return a broker of the test's own, started; skips by name where its program is missing.

    Args:
        kind: `redis` or `rabbitmq`.
        folder: Where it keeps what was sent; made when it is not there.

    """
    folder.mkdir(parents=True, exist_ok=True)
    # Redis loses nothing that it has acknowledged only when it writes each command at once.
    opened = private_redis(folder, appendfsync="always") if kind == "redis" else private_rabbitmq(folder)
    with opened as broker:
        yield broker
