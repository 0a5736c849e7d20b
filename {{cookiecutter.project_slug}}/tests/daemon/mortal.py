"""`python -m tests.daemon.mortal [seconds]`: a daemon that is killed again and again, or dies, and begins anew.

Each is forked from a process that has imported everything, so that the next one works within a moment. With `seconds`
it is killed when it has handled messages for so long. It goes on until the file `enough` is there; then the last one is
left alone.
"""

import os
import signal
import sys
import time
from pathlib import Path

from app.daemon import __main__ as entry
from app.daemon import server  # noqa: F401 -- what a daemon needs is imported here, once
from app.daemon.configuration import DaemonSettings
from app.daemon.sources import message_source
from app.settings import load_settings_of

from ..running import POLL_SECONDS
from .launch import make_mortal

ENOUGH = Path("enough")


def main() -> int:
    """Start daemons, and return the exit code of the last one."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else float("inf")
    make_mortal(type(message_source(load_settings_of(DaemonSettings))))
    while True:
        daemon = os.fork()
        if daemon == 0:
            os._exit(entry.main([]))
        code = _watch(daemon, seconds)
        if ENOUGH.exists():
            return code
        with Path("kills").open("ab") as file:
            file.write(b".")


def _watch(daemon: int, seconds: float) -> int:
    """Return the exit code of a daemon that ended; one that has lived for long enough is killed."""
    end = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(daemon, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end and not ENOUGH.exists():
            os.kill(daemon, signal.SIGKILL)
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
