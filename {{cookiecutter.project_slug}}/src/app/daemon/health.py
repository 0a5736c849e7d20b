"""Whether a daemon may receive work, asked for by threads that must get an answer while the event loop is held up."""

import asyncio
import time
from contextlib import suppress

from ..adapters.health import Health
from ..core.health import Check, CheckResult, Report, summarise
from .loop_lag import LoopLag

EVENT_LOOP = "event_loop"
# Beside what a check may take: the report comes right after the slowest one.
MARGIN_SECONDS = 0.5


class EventLoopBlockedError(Exception):
    """The event loop does not answer: something holds it up."""


class Readiness:
    """Asks the checks, which run on an event loop, from other threads.

    Args:
        health: The checks; one of the loop itself is added.
        loop: Where they run.
        lag: What knows whether the loop is held up, and by what.

    """

    def __init__(self, health: Health, loop: asyncio.AbstractEventLoop, lag: LoopLag) -> None:
        self._health = health
        self._loop = loop
        self._lag = lag
        self._check = Check(EVENT_LOOP, _answer)
        health.register(self._check)

    def ready(self) -> Report:
        """Return the state of all dependencies; also when the loop does not answer, for that is a state too."""
        if self._health.shutting_down or self._loop.is_closed():
            return summarise(self._health.results, shutting_down=True)
        began = time.monotonic()
        asked = asyncio.run_coroutine_threadsafe(self._health.report(), self._loop)
        # Of the time that the checks have, a loop that is held up already has used its part.
        for seconds in (max(0.0, self._seconds() - self._lag.now()), MARGIN_SECONDS):
            with suppress(TimeoutError):
                return asked.result(seconds)
            if self._lag.now() > self._lag.limit:
                break
        asked.cancel()
        return self._blocked(time.monotonic() - began)

    def _seconds(self) -> float:
        """Return how long the checks may take, as they run at the same time."""
        return max(map(self._health.seconds_of, self._health.all()))

    def _blocked(self, seconds: float) -> Report:
        """Return what was known of the others, and that the loop fails."""
        msg = f"no answer for {max(seconds, self._lag.now()):.1f} s; it does: {self._lag.where() or 'not known'}"
        others = tuple(result for result in self._health.results if result.name != EVENT_LOOP)
        result: CheckResult = self._health.checked(self._check, EventLoopBlockedError(msg), seconds)
        # Kept, so that this is logged once, and that it is over too.
        self._health.take((result, *others))
        return summarise(self._health.results, shutting_down=self._health.shutting_down)


async def _answer() -> None:
    """Do nothing: that it is done says that the loop runs."""
