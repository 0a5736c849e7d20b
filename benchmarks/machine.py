"""The machine that a run is taken on: its cores, and what to know when reading the figures."""

import os
import platform
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import gettempdir
from typing import Any

PACKAGES = ("fastapi", "starlette", "pydantic", "uvicorn", "structlog", "orjson", "opentelemetry-sdk")
PINNED = re.compile(r"^([\w-]+)==", re.MULTILINE)
CORES = sorted(os.sched_getaffinity(0))
# What is measured has a core to itself where there are two; what drives it takes the other one.
MEASURED, DRIVER = CORES[-1], CORES[0]


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Keep this thread, and the processes that it starts within the block, on one core.

    Args:
        core: The core's number.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Stopwatch:
    """Times a span twice: by the clock, and without what other processes took of it.

    Linux says how long each thread could have run and did not. Where it does not say so, nobody took anything. What
    this process used of the processor stays in, so threads that wait for one another are not excused.
    """

    def __init__(self) -> None:
        self._files: dict[int | None, int] = {}
        self.start()

    def start(self) -> None:
        """Begin a span."""
        self._waited, self._used, self._began = self._waiting(), time.process_time(), time.perf_counter()

    def seconds(self, planned: float = 0.0) -> tuple[float, float]:
        """Return how long the span is until now, by the clock and without other processes.

        Args:
            planned: What is taken off both, in seconds; in that time the process is expected to sleep.
        """
        clock = time.perf_counter() - self._began - planned
        used = time.process_time() - self._used
        waited = sum(seconds - self._waited.get(thread, 0.0) for thread, seconds in self._waiting().items())
        return clock, clock - min(waited, max(0.0, clock - used))

    def _waiting(self) -> dict[int | None, float]:
        """Return for how many seconds each thread of this process has been kept from its core."""
        return {thread.native_id: self._waiting_of(thread.native_id) for thread in threading.enumerate()}

    def _waiting_of(self, thread: int | None) -> float:
        try:
            if thread not in self._files:
                self._files[thread] = os.open(f"/proc/self/task/{thread}/schedstat", os.O_RDONLY)
            return int(os.pread(self._files[thread], 100, 0).split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0


def memory_folder() -> Path:
    """Return a folder in memory where there is one: a log file on a disk would measure the disk."""
    shared = Path("/dev", "shm")
    return shared if shared.is_dir() and os.access(shared, os.W_OK) else Path(gettempdir())


def describe() -> dict[str, Any]:
    """Return what a reader of the figures should know of the machine."""
    peers = PINNED.findall(Path(__file__).with_name("requirements.txt").read_text(encoding="utf-8"))
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": len(CORES),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "packages": {name: version(name) for name in (*PACKAGES, *peers)},
    }


def sentence(about: dict[str, Any]) -> str:
    """Return what a reader must know before the figures, in one line.

    Args:
        about: What `describe` returned, and how the run went.
    """
    kind = "A quick run, whose figures mean nothing" if about["quick"] else "A full run"
    before, after = about["load_average"][0], about["load_average_after"][0]
    return f"{kind}: Python {about['python']}, {about['cores']} cores, load average {before} before and {after} after."
