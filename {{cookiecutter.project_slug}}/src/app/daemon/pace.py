"""How many messages may be received before there is a slot for them: as many as begin soon."""

import time
from collections import deque

# Seconds within which a message that is received early is expected to begin.
SOON = 0.05


class Pace:
    """Tells from the messages that just ended how many begin soon: none where each takes its time.

    Args:
        limit: How many at most.

    """

    def __init__(self, limit: int) -> None:
        self._ends: deque[float] = deque(maxlen=limit)

    def ended(self) -> None:
        """Note that a message gave its slot to another one."""
        self._ends.append(time.monotonic())

    def soon(self) -> int:
        """Return how many messages begin soon, if it goes on like that."""
        since = time.monotonic() - SOON
        while self._ends and self._ends[0] < since:
            self._ends.popleft()
        return len(self._ends)
