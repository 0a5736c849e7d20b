"""A log that nobody reads, for good or until it recovers: memory, what is kept, what is accounted for, how it ends."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..children.flood import ERROR_EVERY, GO, PATIENCE
from ..collector import NoEndError, collector
from ..effort import Effort
from ..loggers import events
from ..processes import ChildFailedError, child
from ..report import Bar, Row, at_most, spread

OURS = "emitted"
MEBIBYTE = 1 << 20
READ_SECONDS = 60.0
# A call that has not come back by then never will.
CALL_SECONDS = 10.0
# Enough to see what an exit does: twice what a pipe holds many times over.
ENDING_SIZE = 5000
BURST_SECONDS = 10.0
EXIT_SECONDS = 30.0
EXIT_BAR = at_most(5, 5)


@dataclass(frozen=True, slots=True)
class Flood:
    """What became of the events."""

    submitted: int
    growth: int
    written: int
    errors_lost: int
    reported: int
    health: str


def measure(effort: Effort) -> list[Row]:
    """Flood a log that nobody reads, then read it; and end processes while nobody reads."""
    return [*flooded(effort), *(ending(how, effort) for how in ("close", "SIGTERM"))]


def flooded(effort: Effort) -> list[Row]:
    """Return what a flood does to memory, and whether every event is accounted for."""
    bars = memory_bar(), at_most(0, 0), at_most(0, 0)
    try:
        floods = [flood(effort) for _ in range(repetitions(effort))]
    except (ChildFailedError, NoEndError) as error:
        return list(unmeasured(bars, str(error)))
    last = min(floods, key=lambda one: one.submitted)
    if last.submitted < effort.flood:
        return list(unmeasured(bars, f"the caller got no further than {last.submitted} events"))
    note = f"{last.written} written and {last.reported} reported as dropped of {last.submitted}; {last.health}"
    off = spread(abs(one.submitted - one.written - one.reported) for one in floods)
    return [
        Row(MEMORY, "a limit", spread(one.growth / MEBIBYTE for one in floods), "MiB", bars[0]),
        Row(ERRORS, "a limit", spread(one.errors_lost for one in floods), "events", bars[1]),
        Row(ACCOUNTS, "a limit", off, "events", bars[2], note=note),
    ]


MEMORY = "growth of resident memory"
ERRORS = "errors lost"
ACCOUNTS = "events neither written nor reported in the log as dropped, once it recovers"


def memory_bar() -> Bar:
    """Return the bar for memory, in MiB."""
    return at_most(40, 25)


def unmeasured(bars: Iterable[Bar], why: str) -> Iterator[Row]:
    """Yield the rows of a flood that did not come to its end."""
    for measure_, unit, bar in zip((MEMORY, ERRORS, ACCOUNTS), ("MiB", "events", "events"), bars, strict=True):
        yield Row(measure_, "a limit", None, unit, bar, note=why)


def flood(effort: Effort) -> Flood:
    """Return what became of a flood of events whose log is read only afterwards."""
    asked = {"logger": OURS, "size": effort.flood, "seconds": CALL_SECONDS}
    with collector() as log, child("flood", asked, stdout=log.sink) as process:
        log.close_sink()
        said = process.result((PATIENCE + 2) * CALL_SECONDS)
        (process.folder / GO).touch()
        lines = log.read_to_end(READ_SECONDS)
        process.wait(READ_SECONDS)
        said = process.result(0)
    arrived = events.arrived(lines)
    errors = range(0, effort.flood, ERROR_EVERY)
    return Flood(
        submitted=said["submitted"],
        growth=said["growth"],
        written=arrived.distinct,
        errors_lost=len(errors) - arrived.of(errors),
        reported=reported(lines),
        health=said.get("health", ""),
    )


def reported(lines: Iterable[bytes]) -> int:
    """Return how many events the log itself says were dropped: the sum of such numbers on lines that are no event.

    Args:
        lines: All lines of the log.
    """
    others = (line for line in lines if events.MARK not in line)
    return sum(value for line in others for name, value in numbers(line) if "drop" in name)


def numbers(line: bytes) -> Iterator[tuple[str, int]]:
    """Yield the whole numbers of a line with their names."""
    with suppress(ValueError):
        content: Any = json.loads(line)
        if isinstance(content, dict):
            yield from ((name, value) for name, value in content.items() if type(value) is int)


def repetitions(effort: Effort) -> int:
    """Return how often each of it is tried."""
    return min(3, effort.rounds)


def ending(how: str, effort: Effort) -> Row:
    """Return how long a process takes to end while nobody reads its log.

    Args:
        how: In which way it ends.
        effort: How much of it.
    """
    name = f"exit on {how}"
    try:
        seconds = [exit_seconds(how) for _ in range(repetitions(effort))]
    except ChildFailedError as error:
        return Row(name, "a limit", None, "s", EXIT_BAR, note=f"{name}: {str(error).partition(chr(10))[0]}")
    return Row(name, "a limit", spread(seconds), "s", EXIT_BAR)


def exit_seconds(how: str) -> float:
    """Return the seconds from the last word of a process to its end."""
    asked = {"logger": OURS, "how": how, "first": 0, "size": ENDING_SIZE, "slow": False}
    with collector() as log, child("ending", asked, stdout=log.sink) as process:
        log.close_sink()
        began: float = process.result(BURST_SECONDS)["at"]
        process.wait(EXIT_SECONDS)
        return time.monotonic() - began
