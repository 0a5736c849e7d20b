"""Look again and again, in pauses that grow, where a broker does not say that a message came."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
# For how long a `receive` waits, in seconds, and its shortest and its longest pause.
WAIT = 1.0
_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.1


async def poll(look: Callable[[], Awaitable[Sequence[T]]]) -> Sequence[T]:
    """Return what is found, or nothing after about a second.

    Args:
        look: Returns what is there, perhaps nothing.

    """
    ends, pause = time.monotonic() + WAIT, _FIRST_PAUSE
    while not (found := await look()) and time.monotonic() + pause < ends:
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    return found
