"""An asyncio program that logs at a steady pace, and watches how late its event loop is."""

import asyncio
from dataclasses import dataclass
from typing import Any

from ..loggers import Opened, events, open_logger
from ..machine import Stopwatch
from . import respond

TASKS = 20
TICK_SECONDS = 0.005


async def log_steadily(opened: Opened, first: int, count: int, interval: float) -> None:
    """Log events at a steady pace; one that had to wait is followed by those that it held up.

    Args:
        opened: The logger.
        first: The number of the first event.
        count: How many.
        interval: Seconds between two.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number in range(count):
        await asyncio.sleep(max(0.0, started + number * interval - loop.time()))
        opened.info(events.countable(first + number))


@dataclass(slots=True)
class Lateness:
    """By how many seconds a short sleep came back too late at the most, and without the time that others took."""

    clock: float = 0.0
    own: float = 0.0


async def watch(latest: Lateness) -> None:
    """Note how late short sleeps come back.

    Args:
        latest: What was found so far.
    """
    stopwatch = Stopwatch()
    while True:
        stopwatch.start()
        await asyncio.sleep(TICK_SECONDS)
        clock, own = stopwatch.seconds(TICK_SECONDS)
        latest.clock, latest.own = max(latest.clock, clock), max(latest.own, own)


async def run(opened: Opened, size: int, per_second: float) -> Lateness:
    """Return how late the loop was while tasks logged."""
    latest = Lateness()
    watcher = asyncio.create_task(watch(latest))
    # The loop's first turns belong to the start, not to the log.
    await asyncio.sleep(10 * TICK_SECONDS)
    latest.clock = latest.own = 0.0
    each = size // TASKS
    tasks = (log_steadily(opened, task * each, each, TASKS / per_second) for task in range(TASKS))
    await asyncio.gather(*tasks)
    watcher.cancel()
    return latest


def paced(logger: str, size: int, per_second: float) -> dict[str, Any]:
    """Log, close, and return the lateness.

    Args:
        logger: Which logger.
        size: How many events, a multiple of the tasks' number.
        per_second: How many of them a second.
    """
    opened = open_logger(logger, "/dev/stdout")
    lateness = asyncio.run(run(opened, size, per_second))
    opened.close()
    return {"clock": lateness.clock, "own": lateness.own}


if __name__ == "__main__":
    respond(paced)
