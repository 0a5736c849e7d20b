"""Four processes that write to one pipe: lines that are torn or lost."""

import json
from contextlib import ExitStack

from ..collector import collector
from ..effort import Effort
from ..loggers import events
from ..machine import CORES
from ..processes import child
from ..report import Row, at_most, spread

OURS = "emitted"
PROCESSES = 4
READ_SECONDS = 120.0


def measure(effort: Effort) -> list[Row]:
    """Let the processes write at the same time, several times over."""
    size = effort.shared_lines
    runs = [run(size) for _ in range(effort.rounds)]
    corrupted = spread(torn(lines) for lines in runs)
    lost = spread(PROCESSES * size - events.arrived(lines).distinct for lines in runs)
    about = f"of {PROCESSES * size:,}"
    return [
        Row(f"lines corrupted {about}", "a limit", corrupted, "lines", at_most(0, 0)),
        Row(f"lines lost {about}", "a limit", lost, "lines", at_most(0, 0)),
    ]


def run(size: int) -> list[bytes]:
    """Return the lines that come out of the pipe.

    Args:
        size: How many each process writes.
    """
    with collector() as log, ExitStack() as stack:
        for number in range(PROCESSES):
            asked = {"logger": OURS, "how": "close", "first": number * size, "size": size, "slow": False}
            core = CORES[number % len(CORES)]
            stack.enter_context(child("ending", asked, stdout=log.sink, core=core))
        log.close_sink()
        return log.read_to_end(READ_SECONDS)


def torn(lines: list[bytes]) -> int:
    """Return how many lines are no JSON object."""
    return sum(not is_object(line) for line in lines)


def is_object(line: bytes) -> bool:
    """Return whether a line is one JSON object."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
