"""A daemon as a process of its own: its log, its signals, and what it answers on its admin port."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from ..servers import free_port

ROOT = Path(__file__).parents[2]
# Far more than any of it takes: on a busy machine an interpreter alone may take seconds to start.
PATIENCE = 60.0
POLL_SECONDS = 0.02


class Life:
    """A daemon that runs in a folder.

    Args:
        folder: Where it runs, and keeps its database, its queue and its log.
        arguments: Of `python`.
        log: What the file is called that it writes to.
        variables: Its settings.

    """

    def __init__(self, folder: Path, *arguments: str, log: str = "log", **variables: str) -> None:
        self.port = int(variables.setdefault("ADMIN_PORT", str(free_port())))
        self._log = folder / log
        own = {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "LOG__FORMAT": "json", **variables}
        with self._log.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env={**os.environ, **own},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        """What it wrote."""
        return self._log.read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its log lines; what is no JSON has the event `(raw)`."""
        return [_parsed(line) for line in self.output.splitlines(keepends=True) if line.endswith("\n")]

    def named(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of an event."""
        return [line for line in self.events if line["event"] == event]

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until something is so, and return it."""
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert time.monotonic() < deadline, self.output[-6000:]
            time.sleep(POLL_SECONDS)
        return found

    def wait_for(self, event: str) -> dict[str, Any]:
        """Return the first log line of an event, when it is there."""
        line: dict[str, Any] = self.until(lambda: self.named(event))[0]
        return line

    def ask(self, path: str) -> tuple[int, str]:
        """Return the status and the body of an answer; 0 when nobody listens."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection, suppress(OSError):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        return 0, ""

    def end(self, number: int) -> int:
        """Send it a signal, and return the exit code."""
        self.popen.send_signal(number)
        return self.popen.wait(PATIENCE)


@contextmanager
def living(folder: Path, *arguments: str, **variables: str) -> Iterator[Life]:
    """Run a daemon, and leave no process behind."""
    life = Life(folder, *arguments, **variables)
    try:
        yield life
    finally:
        life.popen.kill()
        life.popen.wait()


def scenario(folder: Path, name: str, **variables: str) -> Any:
    """Run one of `scenarios.py`, and leave no process behind."""
    return living(folder, "-m", "tests.daemon.scenarios", name, **variables)


def _parsed(line: str) -> dict[str, Any]:
    with suppress(ValueError):
        parsed = json.loads(line)
        if isinstance(parsed, dict):
            return parsed
    return {"event": "(raw)", "line": line, "level": "(raw)"}
