"""How a process stops.

On SIGTERM or SIGINT readiness turns 503 while the server goes on serving: until the requests that were in flight are
done and `SHUTDOWN_DELAY` has passed, so that a load balancer can take it out. Then the listener closes, what is left
has until `SHUTDOWN_TIMEOUT`, and the process ends with 0. A second signal ends it at once.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Protocol

from ..settings import Settings

# Seconds kept back from SHUTDOWN_TIMEOUT for closing connections to dependencies and flushing spans.
CLEANUP_SHARE = 0.2
POLL_SECONDS = 0.05
# For requests that are cut off, to say so.
LAST_WORDS_SECONDS = 0.5
# A signal to a process group arrives again from each parent that hands it on, as make and uv do: that is one request.
REPEATED_SECONDS = 0.25


class Readiness(Protocol):
    """What says whether the service takes work."""

    shutting_down: bool


def end_at_once(number: int) -> None:
    """End this process as a signal would that nobody handles, but with a code that says which.

    Args:
        number: The signal's.

    """
    os._exit(128 + number)


class Stop:
    """What this process was told by signals, and how much time it has.

    Attributes:
        signal: The first one's number, or None.

    Args:
        settings: How long a stop may take, and how long the service is there for those who do not know of it yet.
        at_second: Called with a second signal's number.

    """

    def __init__(self, settings: Settings, *, at_second: Callable[[int], None] = end_at_once) -> None:
        self._settings = settings
        self._at_second = at_second
        self.signal: int | None = None
        self._began = float("inf")

    @property
    def has_begun(self) -> bool:
        """Whether the process was told to stop."""
        return self.signal is not None

    @property
    def signal_name(self) -> str:
        """The signal that it was told by."""
        return signal.Signals(self.signal or 0).name

    def take(self, number: int) -> bool:
        """Take a signal, and return whether it is the first.

        Args:
            number: The signal's.

        """
        if self.signal is None:
            self.signal = number
            self._began = time.monotonic()
            return True
        if number != self.signal or time.monotonic() - self._began > REPEATED_SECONDS:
            self._at_second(number)
        return False

    def is_drained(self, *, in_flight: bool) -> bool:
        """Return whether the listener may close.

        Args:
            in_flight: Whether a request that was there when the signal came still is.

        """
        timeout = self._settings.shutdown_timeout
        passed = time.monotonic() - self._began
        if passed >= timeout * (1 - CLEANUP_SHARE):
            return True
        return not in_flight and passed >= min(self._settings.shutdown_delay, timeout)

    @property
    def seconds_left(self) -> float:
        """For how long what is in flight may still go on."""
        timeout = self._settings.shutdown_timeout
        return self._began + timeout * (1 - CLEANUP_SHARE / 2) - time.monotonic()

    def end_in_time(self, end: Callable[[], None]) -> None:
        """End the process when all its time has passed: what runs in a thread cannot be cancelled, only left.

        Args:
            end: Ends it.

        """
        left = self._began + self._settings.shutdown_timeout - time.monotonic()
        timer = threading.Timer(max(0.0, left), end)
        timer.daemon = True
        timer.start()
