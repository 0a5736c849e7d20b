"""An asyncio program that logs at a steady pace, and watches how late its event loop is."""

import asyncio
from typing import Any

from ..loggers import Opened, events, open_logger
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


async def watch(latest: list[float]) -> None:
    """Note the longest time by which a short sleep came back too late.

    Args:
        latest: Its one item is the longest so far.
    """
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        await asyncio.sleep(TICK_SECONDS)
        latest[0] = max(latest[0], loop.time() - started - TICK_SECONDS)


async def run(opened: Opened, size: int, per_second: float) -> float:
    """Return the loop's largest lateness in seconds, while tasks log."""
    latest = [0.0]
    watcher = asyncio.create_task(watch(latest))
    # The loop's first turns belong to the start, not to the log.
    await asyncio.sleep(10 * TICK_SECONDS)
    latest[0] = 0.0
    each = size // TASKS
    tasks = (log_steadily(opened, task * each, each, TASKS / per_second) for task in range(TASKS))
    await asyncio.gather(*tasks)
    watcher.cancel()
    return latest[0]


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
    return {"lateness": lateness}


if __name__ == "__main__":
    respond(paced)
