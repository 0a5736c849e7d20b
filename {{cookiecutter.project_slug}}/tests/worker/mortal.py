"""`python -m tests.worker.mortal`: a worker that is killed again and again, with all of its processes.

Each is forked from a process that has imported everything, so that the next one works within a moment, and killed two
seconds after that. It goes on until the file `enough` is there; then the last one is left alone.
"""

import os
import signal
import sys
import time
from pathlib import Path

from celery import signals

from app.worker.__main__ import main as work

from ..running import POLL_SECONDS
from . import launch  # noqa: F401 -- it knows the tests' tasks

LIFE_SECONDS = 2.0
ENOUGH, KILLS, READY = Path("enough"), Path("kills"), Path("ready")


def main() -> int:
    """Start and kill workers, and return the exit code of the last one."""
    # What a worker needs is imported here, once.
    from app.worker import server  # noqa: F401

    while True:
        worker = os.fork()
        if worker == 0:
            os.setpgid(0, 0)
            signals.worker_ready.connect(lambda **_signal: READY.touch(), weak=False)
            os._exit(work([]))
        _let_live()
        if ENOUGH.exists():
            return os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        os.killpg(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        READY.unlink()
        with KILLS.open("ab") as file:
            file.write(b".")


def _let_live() -> None:
    """Wait until a worker has lived for long enough, or is to live on."""
    while not ENOUGH.exists() and not READY.exists():
        time.sleep(POLL_SECONDS)
    end = time.monotonic() + LIFE_SECONDS
    while not ENOUGH.exists() and time.monotonic() < end:
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
