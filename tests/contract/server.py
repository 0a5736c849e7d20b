"""Start a service as a process of its own, watch what it prints, and end it."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from . import wire
from .wire import Response, eventually

HERE = Path(__file__).resolve().parent
PROJECT = Path(os.environ.get("CONTRACT_PROJECT") or HERE.parents[1] / "{{cookiecutter.project_slug}}")
# Compiled once for all starts, and not into the project: its folder is what users get.
BYTECODE = tempfile.TemporaryDirectory(prefix="bytecode-")
START_TIMEOUT = 40
STOP_TIMEOUT = 20


@dataclass(frozen=True)
class Target:
    """A server under test: how to start it, and its twin with the endpoints that only tests have."""

    name: str
    command: tuple[str, ...]
    probe_command: tuple[str, ...]


TARGETS = (
    Target(
        name="fastapi",
        command=(sys.executable, "-m", "app.api"),
        probe_command=(sys.executable, str(HERE / "probes" / "fastapi_server.py")),
    ),
)


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
        self.database = Path(folder, "data", "service.db")
        self.database.parent.mkdir(parents=True, exist_ok=True)
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
            "DATABASE_URL": f"sqlite:///{self.database}",
            "LOG__FORMAT": "json",
        }

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

    def wait(self, timeout: float = STOP_TIMEOUT) -> int:
        """Wait for the end of the process and of its output; return the exit code."""
        code = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
        return code

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

    def _leftovers(self) -> bool:
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def output(self) -> str:
        """Return everything that was printed so far."""
        return "\n".join([*self.out, *self.err])


def new_id(prefix: str = "t") -> str:
    """Return an id that no other request has."""
    return f"{prefix}-{uuid.uuid4().hex}"
