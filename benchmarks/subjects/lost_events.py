"""Events that are lost, or written twice, when a process ends right after a burst."""

from collections.abc import Iterator
from itertools import product

from ..effort import Effort
from ..loggers import events
from ..processes import child, work_folder
from ..report import Row, at_most, spread

OURS = "emitted"
ENDINGS = ("close", "sys.exit", "exception", "SIGTERM")
FORKING = ("fork", "multiprocessing")
TIMEOUT = 120.0
NONE = at_most(0, 0)


def measure(effort: Effort) -> list[Row]:
    """End processes in every way, on a fast and on a slow sink."""
    return [*ended(effort), *forked(effort)]


def ended(effort: Effort) -> Iterator[Row]:
    """Yield how many events each ending loses."""
    for how, slow in product(ENDINGS, (False, True)):
        size = effort.ending_burst // (10 if slow else 1)
        lost = [size - run(how, size, slow=slow).distinct for _ in range(repetitions(effort))]
        sink = "1 ms a write" if slow else "fast sink"
        yield Row(f"events lost, {how}, {sink}", "a limit", spread(lost), "events", NONE)


def forked(effort: Effort) -> Iterator[Row]:
    """Yield how many events are lost or repeated when a child logs too."""
    for how in FORKING:
        size = effort.ending_burst // 10
        runs = [run(how, size, slow=False) for _ in range(repetitions(effort))]
        lost = spread(2 * size - one.distinct for one in runs)
        repeated = spread(one.repeated for one in runs)
        yield Row(f"events lost, child by {how}", "a limit", lost, "events", NONE)
        yield Row(f"events written twice, child by {how}", "a limit", repeated, "events", NONE)


def repetitions(effort: Effort) -> int:
    """Return how often each ending is tried."""
    return min(3, effort.rounds)


def run(how: str, size: int, *, slow: bool) -> events.Arrived:
    """Return what arrived in the log of a process that ended.

    Args:
        how: In which way.
        size: How many events it logged.
        slow: Whether each write to the log takes a millisecond.
    """
    asked = {"logger": OURS, "how": how, "first": 0, "size": size, "slow": slow}
    with work_folder() as folder:
        path = folder / "log"
        with path.open("ab") as file, child("ending", asked, stdout=file) as process:
            process.result(TIMEOUT)
            process.wait(TIMEOUT)
        with path.open("rb") as lines:
            return events.arrived(lines)
