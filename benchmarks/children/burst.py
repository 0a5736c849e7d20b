"""One logger, one burst of events: what each call takes the caller, and how long until all is written."""

import time
from array import array
from typing import Any

from ..loggers import EVENT, Opened, events, open_logger
from ..machine import Stopwatch
from . import respond, slow_sink


def burst(logger: str, path: str, size: int, warm_up: int, slow: bool) -> dict[str, Any]:
    """Log a burst, close, and return what it took.

    Args:
        logger: Which logger.
        path: The log file, which is standard output too.
        size: How many events.
        warm_up: How many come before them.
        slow: Whether each write to the log takes a millisecond.
    """
    delays = slow_sink.install() if slow else None
    opened = open_logger(logger, path)
    for number in range(warm_up):
        opened.info(events.fields(number))
    prepared = [events.fields(number) for number in range(warm_up, warm_up + size)]
    took = array("q", bytes(8 * size))
    stopwatch, used = Stopwatch(), time.process_time()
    (_time_extra if opened.extra else _time_keywords)(opened, prepared, took)
    opened.close()
    (clock, seconds), processor = stopwatch.seconds(), time.process_time() - used
    ranked = sorted(took)
    return {
        "p50": ranked[size // 2],
        "p99": ranked[size * 99 // 100],
        "seconds": seconds,
        "clock": clock,
        "processor": processor,
        "slow_writes": delays.count if delays else 0,
    }


def _time_keywords(opened: Opened, prepared: list[dict[str, Any]], took: "array[int]") -> None:
    log, clock = opened.log, time.perf_counter_ns
    for index, fields in enumerate(prepared):
        before = clock()
        log.info(EVENT, **fields)
        took[index] = clock() - before


def _time_extra(opened: Opened, prepared: list[dict[str, Any]], took: "array[int]") -> None:
    log, clock = opened.log, time.perf_counter_ns
    for index, fields in enumerate(prepared):
        before = clock()
        log.info(EVENT, extra=fields)
        took[index] = clock() - before


if __name__ == "__main__":
    respond(burst)
