"""A log collector that stops reading for two seconds: how late an event loop gets that logs 2,000 events a second."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..collector import collector
from ..effort import Effort
from ..loggers import events
from ..processes import child
from ..report import Row, at_most, ratios, spread

PER_SECOND = 2000
TASKS = 20
OURS, SYNCHRONOUS = "emitted", "python_json_logger"
START_SECONDS = 30.0
# The pause begins with a quarter of the events in the log, and leaves a quarter for after it.
BEFORE = 0.5
MILLI = 1000


@dataclass(frozen=True, slots=True)
class Paced:
    """What one program gave: the loop's largest lateness in seconds, and how many events did not arrive.

    Attributes:
        clock: The lateness as the clock says.
        own: Without the time in which other processes had the core.
        lost: The events.
    """

    clock: float
    own: float
    lost: int


def measure(effort: Effort) -> list[Row]:
    """Pause the collector of ours and of a synchronous logger, and let ours run without a pause, in turns."""
    ours: list[Paced] = []
    unpaused: list[Paced] = []
    synchronous: list[Paced] = []
    for _ in range(effort.rounds):
        ours.append(run(OURS, effort.paused_seconds, pause=True))
        unpaused.append(run(OURS, effort.paused_seconds, pause=False))
        synchronous.append(run(SYNCHRONOUS, effort.paused_seconds, pause=True))
    return [*lateness(ours, unpaused, synchronous), *lost(ours)]


def run(logger: str, seconds: float, *, pause: bool) -> Paced:
    """Return what a program gave that logs for twice the time of the pause.

    Args:
        logger: Which logger.
        seconds: How long the collector stops reading.
        pause: Whether it does.
    """
    size = round(2 * seconds * PER_SECOND / TASKS) * TASKS
    asked = {"logger": logger, "size": size, "per_second": PER_SECOND}
    with collector() as log, child("paced", asked, stdout=log.sink) as process:
        log.close_sink()
        log.wait(START_SECONDS)
        log.read(BEFORE * seconds)
        if pause:
            process.idle(seconds)
        lines = log.read_to_end(START_SECONDS + 2 * seconds)
        lateness = process.result(START_SECONDS)
    return Paced(**lateness, lost=size - events.arrived(lines).distinct)


def milliseconds(runs: Sequence[Paced]) -> list[float]:
    """Return the lateness of each run, as far as the program itself is the cause."""
    return [one.own * MILLI for one in runs]


def lateness(ours: list[Paced], unpaused: list[Paced], synchronous: list[Paced]) -> list[Row]:
    """Return how late the loop gets."""
    mine, calm, others = milliseconds(ours), milliseconds(unpaused), milliseconds(synchronous)
    clock = spread(one.clock * MILLI for one in ours)
    return [
        Row("loop's largest lateness", "a limit", spread(mine), "ms", at_most(20, 10)),
        Row("loop's largest lateness, other processes' turns included", "the clock", clock, "ms"),
        Row("loop's largest lateness", "a collector that reads", ratios(mine, calm)),
        Row("loop's largest lateness with stdlib + python-json-logger", "ours", ratios(others, mine)),
    ]


def lost(ours: list[Paced]) -> list[Row]:
    """Return how many events did not arrive."""
    return [Row("events lost", "a limit", spread(one.lost for one in ours), "events", at_most(0, 0))]
