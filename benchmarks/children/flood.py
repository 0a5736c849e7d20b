"""Events without end for a log that nobody reads; then the log is read again, and the process closes it."""

import resource
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

from ..loggers import Opened, events, open_logger
from . import answer, arguments

KIB = 1024
ERROR_EVERY = 1000
RECOVERY_SECONDS = 1.0
# All events together may take this many times as long as one of them.
PATIENCE = 30
GO_SECONDS = 60.0
GO = Path("read")


class StuckError(BaseException):
    """A log call has not come back; no logger catches this."""


class Flood:
    """Logs events until all are taken, or until a call does not come back.

    Args:
        opened: The logger.
        seconds: How long one call may take, and `PATIENCE` times as long for all of them.
    """

    def __init__(self, opened: Opened, seconds: float) -> None:
        self._opened = opened
        self._seconds = seconds
        self._deadline = time.monotonic() + PATIENCE * seconds
        self._seen = -1
        self.taken = 0

    def run(self, size: int) -> None:
        """Log events, every thousandth as an error.

        Args:
            size: How many.
        """
        before = signal.signal(signal.SIGALRM, self._check)
        signal.setitimer(signal.ITIMER_REAL, self._seconds, self._seconds)
        try:
            while self.taken < size:
                log = self._opened.info if self.taken % ERROR_EVERY else self._opened.error
                log(events.countable(self.taken))
                self.taken += 1
        except StuckError:
            return
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _check(self, _number: int, _frame: FrameType | None) -> None:
        """Give up when nothing has moved since the last time, even in the middle of a write."""
        if self.taken == self._seen or time.monotonic() > self._deadline:
            raise StuckError
        self._seen = self.taken


def peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB


def main(logger: str, size: int, seconds: float) -> None:
    """Flood, tell the parent, wait until it reads, give the logger time to say what it dropped, close.

    Args:
        logger: Which logger.
        size: How many events.
        seconds: How long one of them may take.
    """
    opened = open_logger(logger, "/dev/stdout")
    before = peak()
    flood = Flood(opened, seconds)
    flood.run(size)
    said: dict[str, Any] = {"submitted": flood.taken, "growth": peak() - before}
    answer(said)
    deadline = time.monotonic() + GO_SECONDS
    while not GO.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(RECOVERY_SECONDS)
    health = repr(opened.health()) if opened.health else ""
    opened.close()
    answer({**said, "health": health})


if __name__ == "__main__":
    main(**arguments())
