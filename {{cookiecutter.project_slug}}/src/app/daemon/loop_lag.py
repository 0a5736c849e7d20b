"""How long the event loop was held up: by a handler that computes or waits without `await`, nothing else runs."""

import asyncio
import sys
import threading
import time
import traceback

from ..core.logging import get_logger
from ..core.supervision import LagWatch

log = get_logger(__name__)
# Parts of the limit: a hold-up is found to be shorter than it was by at most this.
PARTS = 5
LONGEST_PAUSE = 0.5
# How many of the innermost frames say where the loop is held up.
FRAMES = 3


class LoopLag:
    """Measures how late a task is woken.

    Args:
        limit: From how many seconds on that is a warning.

    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._pause = min(limit / PARTS, LONGEST_PAUSE)
        self._watch = LagWatch(limit)
        self._due = float("inf")
        self._thread: int | None = None

    async def run(self) -> None:
        """Measure until cancelled; the loop's only sign that something held it up is that everything is late."""
        self._thread = threading.get_ident()
        try:
            while True:
                self._due = time.monotonic() + self._pause
                await asyncio.sleep(self._pause)
                self._take(time.monotonic())
        finally:
            self._due = float("inf")

    def _take(self, now: float) -> None:
        lag = max(0.0, now - self._due)
        times = self._watch.take(lag, now)
        if times:
            log.warning("event_loop.blocked", seconds=round(lag, 3), limit=self.limit, times=times)

    def now(self) -> float:
        """Return for how many seconds the loop has been held up at this moment. Any thread may ask."""
        return max(0.0, time.monotonic() - self._due)

    def highest(self) -> float:
        """Return the longest hold-up of the last minute, one that goes on included, in seconds. Any thread may ask."""
        return max(self.now(), self._watch.highest(time.monotonic()))

    def where(self) -> str:
        """Return what the loop's thread does at this moment, innermost last; other threads ask. Empty if not known."""
        frame = None if self._thread is None else sys._current_frames().get(self._thread)  # noqa: SLF001 -- documented
        if frame is None:
            return ""
        found = traceback.extract_stack(frame)[-FRAMES:]
        return " > ".join(f"{one.name} ({one.filename}:{one.lineno})" for one in found)
