"""Child processes: started on a core, bounded in time, always ended."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from .machine import MEASURED, memory_folder, pinned

INHERITED = ("PATH", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "LANG", "LC_ALL")
POLL_SECONDS = 0.005
STDERR_SHOWN = 2000
Stdout = int | IO[bytes]


class ChildFailedError(Exception):
    """A child process did not answer; the message has the end of what it said."""


@dataclass(slots=True)
class Child:
    """A started process, and where it leaves its answer."""

    module: str
    process: subprocess.Popen[bytes]
    folder: Path
    answer: Path

    def result(self, timeout: float) -> dict[str, Any]:
        """Return the answer, as soon as the process has left it.

        Args:
            timeout: Seconds, after which it counts as failed.

        Raises:
            ChildFailedError: There was none in time.
        """
        deadline = time.monotonic() + timeout
        while not self.answer.exists():
            if self.process.poll() is not None and not self.answer.exists():
                raise ChildFailedError(self._failure(f"ended with {self.process.returncode} and without an answer"))
            if time.monotonic() > deadline:
                raise ChildFailedError(self._failure(f"gave no answer within {timeout:g} s"))
            time.sleep(POLL_SECONDS)
        answer: dict[str, Any] = json.loads(self.answer.read_bytes())
        return answer

    def wait(self, timeout: float) -> int:
        """Return the exit code.

        Args:
            timeout: Seconds, after which it counts as failed.

        Raises:
            ChildFailedError: It did not end in time.
        """
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ChildFailedError(self._failure(f"did not end within {timeout:g} s")) from None

    def idle(self, seconds: float) -> None:
        """Do nothing for a time, or until the process has ended.

        Args:
            seconds: The time.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def end(self) -> None:
        """Kill the process and all that it started, if it is still there."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _failure(self, what: str) -> str:
        said = (self.folder / "stderr").read_text(encoding="utf-8", errors="replace")[-STDERR_SHOWN:]
        return f"{self.module} {what}. {said}".strip()


@contextmanager
def work_folder() -> Iterator[Path]:
    """Give a new folder in memory, and remove it."""
    with TemporaryDirectory(prefix="benchmarks-", dir=memory_folder()) as folder:
        yield Path(folder)


@contextmanager
def child(
    module: str,
    arguments: Mapping[str, Any],
    *,
    stdout: Stdout = subprocess.DEVNULL,
    core: int = MEASURED,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[Child]:
    """Run a module of `benchmarks.children`, and end it with the block.

    Args:
        module: The module's name; it calls its function with the arguments.
        arguments: What JSON can hold.
        stdout: Where its standard output goes.
        core: The core that it runs on.
        environment: Variables beside the few that are handed on.
        pass_fds: File descriptors that it keeps.
    """
    with work_folder() as folder, (folder / "stderr").open("wb") as stderr:
        answer = folder / "answer.json"
        command = [sys.executable, "-m", f"benchmarks.children.{module}", json.dumps(arguments), str(answer)]
        with pinned(core):
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=_environment(folder, environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=pass_fds,
                start_new_session=True,
            )
        started = Child(module, process, folder, answer)
        try:
            yield started
        finally:
            started.end()


def _environment(folder: Path, own: Mapping[str, str]) -> dict[str, str]:
    """Return a small environment: a setting of the developer's must not reach what is measured."""
    return {**{name: os.environ[name] for name in INHERITED if name in os.environ}, "HOME": str(folder), **own}
