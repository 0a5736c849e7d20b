"""Start a service as a process of its own, watch what it prints, and end it."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from unittest import SkipTest

from . import wire
from .backends import children
from .wire import Response, eventually

HERE = Path(__file__).resolve().parent
PROJECT = Path(os.environ.get("CONTRACT_PROJECT") or HERE.parents[1] / "{{cookiecutter.project_slug}}")
# Compiled once for all starts, and not into the project: its folder is what users get.
BYTECODE = tempfile.TemporaryDirectory(prefix="bytecode-")
START_TIMEOUT = 40
STOP_TIMEOUT = 20


@dataclass(frozen=True)
class Target:
    """A server under test: how to start it, its twin with the endpoints that only tests have, and its migrations."""

    name: str
    command: tuple[str, ...]
    probe_command: tuple[str, ...]
    migrate_command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


TARGETS = (
    Target(
        name="fastapi",
        command=(sys.executable, "-m", "app.api"),
        probe_command=(sys.executable, str(HERE / "probes" / "fastapi_server.py")),
        migrate_command=(sys.executable, "-m", "app.migrations"),
    ),
    *(
        Target(
            name=name,
            command=(sys.executable, "-m", "app.web"),
            probe_command=(sys.executable, str(HERE / "probes" / "django_server.py")),
            migrate_command=(sys.executable, "-m", "app.web.manage", "migrate"),
            env={"WEB__SERVER": server},
        )
        for name, server in (("django-wsgi", "gthread"), ("django-asgi", "uvicorn"))
    ),
)


@dataclass(frozen=True)
class Worker:
    """One of several processes that serve on one address, and its age in seconds."""

    pid: int
    age: float


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((wire.HOST, 0))
        return int(probe.getsockname()[1])


class Service:
    """A running service: its requests, its output, its end."""

    def __init__(self, command: Iterable[str], folder: Path, env: Mapping[str, str]) -> None:
        """Prepare to run *command* in *folder* with nothing but *env* around it."""
        self.command = list(command)
        self.folder = folder
        self.port = free_port()
        self._file = Path(folder, "data", "service.db")
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self.env = self._surroundings() | dict(env)
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers: list[threading.Thread] = []
        self._started = False

    def _surroundings(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self.folder),
            "PYTHONPATH": str(PROJECT / "src"),
            "PYTHONPYCACHEPREFIX": BYTECODE.name,
            "HOST": wire.HOST,
            "PORT": str(self.port),
            "DATABASE_URL": f"sqlite:///{self._file}",
            "LOG__FORMAT": "json",
        }

    @property
    def database(self) -> Path:
        """The file of its SQLite database; a test that looks into it is skipped where there is none."""
        if self.env["DATABASE_URL"] != f"sqlite:///{self._file}":
            msg = "the database is no SQLite file"
            raise SkipTest(msg)
        return self._file

    def spawn(self) -> "Service":
        """Start the process without waiting for it to serve."""
        self.process = subprocess.Popen(
            self.command,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,
        )
        self._started = True
        self._follow(self.process.stdout, self.out)
        self._follow(self.process.stderr, self.err)
        return self

    def start(self) -> "Service":
        """Start the process and wait until it is ready."""
        self.spawn()
        eventually(self._ready_or_dead, within=START_TIMEOUT)
        assert self.process.poll() is None, f"the service did not start:\n{self.output()}"
        return self

    def _follow(self, stream: IO[str] | None, lines: list[str]) -> None:
        assert stream is not None

        def read() -> None:
            # Only a newline ends a line: splitlines() would take a forged one behind U+2028 for real.
            for line in stream:
                lines.append(line.removesuffix("\n"))  # noqa: PERF401 -- others read the list meanwhile

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        self._readers.append(reader)

    def _ready_or_dead(self) -> bool:
        return self.process.poll() is not None or self.readiness() == 200

    def readiness(self) -> int | None:
        """Return the status of /readyz on a new connection, or None when nobody answers."""
        try:
            return self.get("/readyz").status
        except OSError:
            return None

    def request(self, method: str, path: str, *, headers: wire.HeaderList = (), body: bytes | None = None) -> Response:
        """Send one request."""
        return wire.request(self.port, method, path, headers=headers, body=body)

    def get(self, path: str, *headers: tuple[str, str]) -> Response:
        """Send a GET."""
        return self.request("GET", path, headers=headers)

    def post(self, path: str, payload: Any = None, *headers: tuple[str, str]) -> Response:
        """Send a POST with *payload* as JSON, or with no body at all."""
        body = b"" if payload is None else json.dumps(payload).encode()
        kind = [] if payload is None else [("Content-Type", "application/json")]
        return self.request("POST", path, headers=[*kind, *headers], body=body)

    def signal(self, number: int) -> None:
        """Send a signal to this process alone."""
        os.kill(self.process.pid, number)

    def pause(self) -> None:
        """Stop all its processes where they are."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let them go on."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def wait(self, timeout: float = STOP_TIMEOUT) -> int:
        """Wait for the end of the process and of its output; return the exit code."""
        code = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
        return code

    def workers(self) -> list[Worker]:
        """Return the child processes that take connections, the oldest first."""
        listener = f"socket:[{_listener(self.port)}]"
        found = [Worker(pid, _age(pid)) for pid in children(self.process.pid) if listener in _descriptors(pid)]
        return sorted(found, key=lambda worker: -worker.age)

    def running(self) -> bool:
        """Whether the process was started and has not been waited for."""
        return self._started and self.process.returncode is None

    def stop(self) -> int:
        """End the process politely; fail when it, or a child of it, is still there afterwards."""
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            msg = f"the service outlived SIGTERM by {STOP_TIMEOUT} s:\n{self.output()}"
            raise AssertionError(msg) from None
        finally:
            assert not self._leftovers(), "the service left a child process behind"

    def kill(self) -> None:
        """End the process at once, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()

    def _leftovers(self) -> list[int]:
        """Return the processes of this group that still run; one that has ended may wait for its new parent."""
        stats = {int(path.name): _stat(int(path.name)) for path in Path("/proc").glob("[0-9]*")}
        return [pid for pid, stat in stats.items() if stat and int(stat[2]) == self.process.pid and stat[0] != "Z"]

    def output(self) -> str:
        """Return everything that was printed so far."""
        return "\n".join([*self.out, *self.err])


def _listener(port: int) -> str:
    """Return the inode of the socket that listens on a port, as /proc/net/tcp has it."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
            return fields[9]
    return ""


def _descriptors(pid: int) -> set[str]:
    """Return what a process has open; nothing when it is gone."""
    try:
        return {str(link.readlink()) for link in Path("/proc", str(pid), "fd").iterdir()}
    except OSError:
        return set()


def _stat(pid: int) -> list[str]:
    """Return what /proc says of a process, from its state on; nothing when it is gone."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _age(pid: int) -> float:
    """Return for how many seconds a process has been there; none when it is gone."""
    stat = _stat(pid)
    started = int(stat[19]) / os.sysconf("SC_CLK_TCK") if stat else math.inf
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def new_id(prefix: str = "t") -> str:
    """Return an id that no other request has."""
    return f"{prefix}-{uuid.uuid4().hex}"
