"""A process of the service: its log, its signals, its children, and how it is killed."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from .servers import free_port

ROOT = Path(__file__).parents[1]
# Far more than any of it takes: on a busy machine an interpreter alone may take seconds to start.
PATIENCE = 60.0
POLL_SECONDS = 0.05


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE, *, tell: Callable[[], str] = str) -> Any:
    """Wait until something is so, for a bounded time, and return it.

    Args:
        condition: What is to become true.
        what: What is waited for.
        seconds: For how long.
        tell: Returns what is to be read when it does not come true.

    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{tell()}"
        time.sleep(POLL_SECONDS)
    return found


class Running:
    """A module that runs in a folder, as a process group of its own.

    Args:
        folder: Where it runs, and keeps its database and its log.
        module: What starts it, such as `tests.worker.launch`.
        arguments: The module's.
        ready: How log events end that say that it works.
        variables: Its settings, as environment variables.

    """

    def __init__(self, folder: Path, module: str, *arguments: str, ready: tuple[str, ...], **variables: str) -> None:
        self.folder = folder
        self._log = folder / f"{module}-{time.monotonic_ns()}.log"
        self._ready = ready
        self.variables = {"LOG__FORMAT": "json", "ADMIN_PORT": str(free_port()), **variables}
        # Celery would take a Django project for its own, as it would any that is named here.
        others = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        # One that is killed leaves there what it shared with its processes.
        temporary = folder / "temporary"
        temporary.mkdir(exist_ok=True)
        own = {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "TMPDIR": str(temporary), **self.variables}
        with self._log.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=folder,
                env={**others, **own},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it wrote."""
        return self._log.read_text()

    def tail(self) -> str:
        """Return the end of what it wrote."""
        return self.output[-6000:]

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its log lines; what is no JSON has the event `(raw)`."""
        return [_parsed(line) for line in self.output.splitlines(keepends=True) if line.endswith("\n")]

    @property
    def is_ready(self) -> bool:
        """Whether it works."""
        assert self.popen.poll() is None, self.output
        return any(str(line["event"]).endswith(self._ready) for line in self.events)

    def wait_for(self, event: str, seconds: float = PATIENCE, **fields: Any) -> dict[str, Any]:
        """Return the first log line of an event, when it is there.

        Args:
            event: Its name, or what the name ends with.
            seconds: How long that may take.
            fields: What else the line says.

        """

        def found() -> dict[str, Any] | None:
            named = (line for line in self.events if str(line.get("event", "")).endswith(event))
            return next((line for line in named if fields.items() <= line.items()), None)

        line: dict[str, Any] = until(found, f"{event} {fields}", seconds, tell=self.tail)
        return line

    @property
    def children(self) -> list[int]:
        """The processes that it started, and theirs."""
        return _children(self.popen.pid)

    def kill_children(self) -> None:
        """Kill the processes that it started, and not itself."""
        for pid in self.children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kill it with all of its processes, and wait until they are gone."""
        pids = [self.popen.pid, *self.children]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.popen.wait()
        until(lambda: not any(is_alive(pid) for pid in pids), f"the end of {pids}")

    def terminate(self, number: int = signal.SIGTERM) -> int:
        """Tell it to stop, and return the exit code when it did.

        Args:
            number: The signal's.

        """
        self.popen.send_signal(number)
        return self.popen.wait(PATIENCE)


def fulfilled(folder: Path) -> dict[str, int]:
    """Return how often each order was fulfilled, by the database below a folder.

    Args:
        folder: Where the processes run.

    """
    with closing(sqlite3.connect(folder / "var" / "app.db", timeout=PATIENCE)) as database:
        return dict(database.execute("SELECT order_id, count(*) FROM fulfilments GROUP BY order_id").fetchall())


def is_alive(pid: int) -> bool:
    """Return whether a process is there, and no zombie.

    Args:
        pid: Its number.

    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _children(pid: int) -> list[int]:
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    direct = [int(child) for child in found]
    return direct + [below for child in direct for below in _children(child)]


def _parsed(line: str) -> dict[str, Any]:
    with suppress(ValueError):
        parsed = json.loads(line)
        if isinstance(parsed, dict):
            return parsed
    return {"event": "(raw)", "line": line}
