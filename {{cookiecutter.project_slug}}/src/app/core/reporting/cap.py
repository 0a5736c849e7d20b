"""How many reports of one fault leave the process: the rest of a storm is counted, and told with the next report."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

MAX_FINGERPRINTS = 1000


@dataclass(slots=True)
class _Window:
    """What became of one fault's reports since a moment."""

    started: float
    admitted: int = 0
    suppressed: int = 0


class ReportCap:
    """Admits a number of reports per fingerprint and window.

    Args:
        limit: How many.
        seconds: The window's length.
        max_fingerprints: How many faults it remembers; past that, the one that was quiet for longest is forgotten.

    """

    def __init__(self, limit: int, seconds: float, *, max_fingerprints: int = MAX_FINGERPRINTS) -> None:
        self._limit = limit
        self._seconds = seconds
        self._max_fingerprints = max_fingerprints
        self.reset()

    def reset(self) -> None:
        """Forget all, in a new process: its parent tells what it suppressed itself."""
        # Reentrant: a signal handler that reports may interrupt the thread that holds it.
        self._lock = threading.RLock()
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def admit(self, fingerprint: str, now: float) -> int | None:
        """Return how many reports of this fault were suppressed since the last one, or None to suppress this one too.

        Args:
            fingerprint: Which fault.
            now: The time in seconds, on a clock that never goes back.

        """
        with self._lock:
            window = self._window(fingerprint, now)
            if window.admitted >= self._limit:
                window.suppressed += 1
                return None
            window.admitted += 1
            suppressed, window.suppressed = window.suppressed, 0
            return suppressed

    def _window(self, fingerprint: str, now: float) -> _Window:
        window = self._windows.setdefault(fingerprint, _Window(now))
        self._windows.move_to_end(fingerprint)
        if now - window.started >= self._seconds:
            window.started, window.admitted = now, 0
        if len(self._windows) > self._max_fingerprints:
            self._windows.popitem(last=False)
        return window

    def take_untold(self) -> int:
        """Return how many were suppressed and not told yet, and count them as told."""
        with self._lock:
            untold = sum(window.suppressed for window in self._windows.values())
            for window in self._windows.values():
                window.suppressed = 0
            return untold
