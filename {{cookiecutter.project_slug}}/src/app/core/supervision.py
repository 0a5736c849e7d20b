"""What becomes of work that goes on in the background: when it begins again, when it is next due, what is a warning.

Nothing here waits or looks at a clock: whoever asks says what time it is, in seconds of a clock that never goes back.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from .retry import RetryPolicy, longest_pause


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How often a background task may crash, and how long the pauses before it begins again are.

    Attributes:
        backoff: Seconds before the first restart, at most; doubled with each further crash.
        backoff_max: The longest of these pauses, in seconds.
        max_crashes: How many crashes within `crash_window` are still no reason to give a task up.
        crash_window: For how many seconds a crash counts, and how long a task must run to be trusted again.

    """

    backoff: float = 0.5
    backoff_max: float = 30.0
    max_crashes: int = 5
    crash_window: float = 60.0


class Restart(NamedTuple):
    """What follows from a crash.

    Attributes:
        delay: In how many seconds the task begins again.
        crashes: How many crashes count, this one included.
        gives_up: Whether it is this crash that was one too many.

    """

    delay: float
    crashes: int
    gives_up: bool


class CrashRecord:
    """The crashes of one background task.

    A task that was given up goes on being restarted: what broke it may be mended. It counts as given up until it has
    run for a whole window without a crash; that the pauses let old crashes leave the window is no recovery.

    Args:
        policy: What is allowed.
        uniform: Returns a random number between two.

    """

    def __init__(self, policy: RestartPolicy, *, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._policy = policy
        self._uniform = uniform
        self._recent: deque[float] = deque()
        # Since the task last ran for a whole window.
        self._in_a_row = 0
        self._began: float | None = None
        self._given_up = False

    def begin(self, now: float) -> None:
        """Take note that the task begins.

        Args:
            now: When.

        """
        self._began = now

    def end(self) -> None:
        """Take note that the task is done: it crashes no more."""
        self._given_up = False

    def crash(self, now: float) -> Restart:
        """Take note of a crash, and return what follows.

        Args:
            now: When it happened.

        """
        if self._ran_long(now):
            self._in_a_row, self._given_up = 0, False
        self._in_a_row += 1
        self._began = None
        self._recent.append(now)
        while self._recent[0] <= now - self._policy.crash_window:
            self._recent.popleft()
        was_given_up, crashes = self._given_up, len(self._recent)
        self._given_up = was_given_up or crashes > self._policy.max_crashes
        return Restart(self._pause(), crashes, gives_up=self._given_up and not was_given_up)

    def is_given_up(self, now: float) -> bool:
        """Return whether the task crashed too often and has not made up for it.

        Args:
            now: The time.

        """
        return self._given_up and not self._ran_long(now)

    def _ran_long(self, now: float) -> bool:
        return self._began is not None and now - self._began >= self._policy.crash_window

    def _pause(self) -> float:
        """Return a random pause: tasks that crashed together, here or in other processes, must not return together."""
        policy = self._policy
        if self._given_up:
            return self._uniform(policy.backoff_max / 2, policy.backoff_max)
        pauses = RetryPolicy(backoff=policy.backoff, backoff_max=policy.backoff_max)
        return self._uniform(0.0, longest_pause(pauses, self._in_a_row))


class Turn(NamedTuple):
    """A run of a periodic job.

    Attributes:
        number: Which one; the first is 1.
        due: When it begins.
        skipped: How many before it did not take place, since one took too long.

    """

    number: int
    due: float
    skipped: int = 0


def next_turn(last: Turn, *, first: float, interval: float, now: float) -> Turn:
    """Return the next run of a job: on the grid that begins with the first one, so that delays do not add up.

    Args:
        last: The run before.
        first: When the first one was due.
        interval: Seconds between two.
        now: When the run before ended.

    """
    # The first on the grid that is not over; one that is due at this moment still takes place.
    not_over = ceil((now - first) / interval) + 1
    number = max(last.number + 1, not_over)
    return Turn(number, first + (number - 1) * interval, number - last.number - 1)


class Lag(NamedTuple):
    """How late something was, and when that was found."""

    found: float
    seconds: float


class LagWatch:
    """The highest lag of a recent while, and whether it is time to warn of one.

    Args:
        limit: The lag from which on it is a warning, in seconds.
        window: For how many seconds a lag is shown: longer than a scrape's interval, so that none sees it never.
        pause: Seconds between two warnings.

    """

    def __init__(self, limit: float, *, window: float = 60.0, pause: float = 5.0) -> None:
        self._limit = limit
        self._window = window
        self._pause = pause
        # Falling: what is followed by a higher one is never the highest again.
        self._peaks: deque[Lag] = deque()
        self._warned = float("-inf")
        self._untold = 0

    def take(self, seconds: float, now: float) -> int:
        """Take a lag, and return of how many a warning is due, this one included; 0 when none is.

        Args:
            seconds: How long it was.
            now: The time.

        """
        while self._peaks and self._peaks[-1].seconds <= seconds:
            self._peaks.pop()
        self._peaks.append(Lag(now, seconds))
        self._forget(now)
        if seconds <= self._limit:
            return 0
        self._untold += 1
        if now - self._warned < self._pause:
            return 0
        self._warned, told, self._untold = now, self._untold, 0
        return told

    def highest(self, now: float) -> float:
        """Return the highest lag of the window, in seconds; 0 when there was none. Any thread may ask.

        Args:
            now: The time.

        """
        return max((lag.seconds for lag in tuple(self._peaks) if lag.found > now - self._window), default=0.0)

    def _forget(self, now: float) -> None:
        while self._peaks and self._peaks[0].found <= now - self._window:
            self._peaks.popleft()
