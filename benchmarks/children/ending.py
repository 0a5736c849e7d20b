"""A process that logs a burst and ends at once, in one of several ways."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial

from ..loggers import Opened, events, open_logger
from . import answer, arguments, slow_sink

# Logged after the last word to the parent, so that nothing but the ending stands between them and the log.
LAST = 50
SECOND = 1.0


def burst(opened: Opened, first: int, size: int) -> None:
    """Log countable events.

    Args:
        opened: The logger.
        first: The number of the first.
        size: How many.
    """
    for number in range(first, first + size):
        opened.info(events.countable(number))


def close(opened: Opened, _more: Callable[[], None]) -> None:
    """Close the logger, then end without any of the interpreter's own clearing up."""
    opened.close()
    os._exit(0)


def leave(_opened: Opened, _more: Callable[[], None]) -> None:
    """End by `sys.exit`."""
    sys.exit(0)


def fail(_opened: Opened, _more: Callable[[], None]) -> None:
    """End by an exception that nobody handles."""
    msg = "nobody handles this"
    raise RuntimeError(msg)


def terminate(_opened: Opened, _more: Callable[[], None]) -> None:
    """Get SIGTERM, with its default action or what the logger has put in its place."""
    os.kill(os.getpid(), signal.SIGTERM)
    while True:
        time.sleep(SECOND)


def fork(opened: Opened, more: Callable[[], None]) -> None:
    """Log as much again in a forked child, which ends by `sys.exit`; then close."""
    child = os.fork()
    if not child:
        more()
        sys.exit(0)
    os.waitpid(child, 0)
    opened.close()


def multiprocess(opened: Opened, more: Callable[[], None]) -> None:
    """Log as much again in a child that `multiprocessing` forks and ends; then close."""
    child = multiprocessing.get_context("fork").Process(target=more)
    child.start()
    child.join()
    opened.close()


ENDINGS = {
    "close": close,
    "sys.exit": leave,
    "exception": fail,
    "SIGTERM": terminate,
    "fork": fork,
    "multiprocessing": multiprocess,
}


def main(logger: str, how: str, first: int, size: int, slow: bool) -> None:
    """Log a burst, and end.

    Args:
        logger: Which logger.
        how: One of the endings.
        first: The number of the first event.
        size: How many events.
        slow: Whether each write to the log takes a millisecond.
    """
    if slow:
        slow_sink.install()
    opened = open_logger(logger, "/dev/stdout")
    burst(opened, first, size - LAST)
    answer({"at": time.monotonic()})
    burst(opened, first + size - LAST, LAST)
    ENDINGS[how](opened, partial(burst, opened, first + size, size))


if __name__ == "__main__":
    main(**arguments())
