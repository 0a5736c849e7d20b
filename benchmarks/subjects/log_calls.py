"""One log call of eight fields: what it takes the caller, and how many events a second are delivered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..effort import Effort
from ..loggers.events import MARK
from ..processes import child, work_folder
from ..report import Bar, Row, Spread, at_least, at_most, ratios, spread

TIMEOUT = 300.0
OURS, FLOOR = "emitted", "floor"
PEERS: dict[str, tuple[str, Bar | None]] = {
    "structlog_default": ("structlog's documented default", at_least(8, 12)),
    "python_json_logger": ("stdlib + python-json-logger", at_least(5, 7)),
    "hydra_sync": ("hydra-logger sync", at_least(5, 7)),
    "provide_default": ("provide-foundation default", at_least(25, 40)),
    "fapilog_default": ("fapilog default", at_least(4, 5)),
    "loguru_serialize": ("loguru", None),
}
DELIVERED: dict[str, Bar | None] = {"fapilog_default": at_least(30, 40), "hydra_sync": at_least(4, 5)}


@dataclass(frozen=True, slots=True)
class Burst:
    """What one burst gave.

    Attributes:
        p50: The middle of a call's time, in nanoseconds.
        p99: What one call in a hundred takes longer than.
        seconds: Until all was written, other processes' turns on the core left out.
        clock: The same with them.
        processor: What the process used of the processor meanwhile.
        slow_writes: How many writes were delayed.
        delivered: How many events stand in the log.
        lost: How many do not.
    """

    p50: int
    p99: int
    seconds: float
    clock: float
    processor: float
    slow_writes: int
    delivered: int
    lost: int

    @property
    def per_second(self) -> float:
        """Events that arrived in the log, per second until the logger said that it was done."""
        return self.delivered / self.seconds


# Of each candidate its bursts, and ours right after each of them: a machine that changes its pace changes both.
Pairs = dict[str, list[tuple[Burst, Burst]]]


def measure(effort: Effort) -> list[Row]:
    """Give every logger the same burst, in turns, and ours after each."""
    pairs: Pairs = {name: [] for name in (FLOOR, *PEERS)}
    for _ in range(effort.rounds):
        for name, bursts in pairs.items():
            bursts.append((burst(name, effort.burst, effort.warm_up), burst(OURS, effort.burst, effort.warm_up)))
    return [*against_floor(pairs), *against_peers(pairs), *delivered(pairs), *lost(pairs)]


def burst(logger: str, size: int, warm_up: int, *, slow: bool = False) -> Burst:
    """Return what a burst of events gave in a process of its own, whose standard output is a file.

    Args:
        logger: The logger's module.
        size: How many events.
        warm_up: How many come before them.
        slow: Whether each write to the log takes a millisecond.
    """
    with work_folder() as folder:
        # hydra-logger adds the suffix where it is missing.
        path = folder / "log.jsonl"
        asked = {"logger": logger, "path": str(path), "size": size, "warm_up": warm_up, "slow": slow}
        with path.open("ab") as file, child("burst", asked, stdout=file) as process:
            result = process.result(TIMEOUT)
            process.wait(TIMEOUT)
        arrived = count_events(path)
    if slow and arrived and not result["slow_writes"]:
        msg = f"{logger} wrote past the slow sink"
        raise RuntimeError(msg)
    return Burst(**result, delivered=max(0, arrived - warm_up), lost=size + warm_up - arrived)


def count_events(path: Path) -> int:
    """Return how many lines of a log hold the event."""
    with path.open("rb") as lines:
        return sum(MARK in line for line in lines)


def ours_above(pairs: Sequence[tuple[Burst, Burst]], of: Callable[[Burst], float]) -> Spread:
    """Return how many times as much we have of something as the other one of each pair."""
    return ratios([of(ours) for _, ours in pairs], [of(other) for other, _ in pairs])


def against_floor(pairs: Pairs) -> list[Row]:
    """Return how many floors a call costs its caller."""
    floors = pairs[FLOOR]
    return [
        Row("one call, p50", "the floor", ours_above(floors, lambda one: one.p50), bar=at_most(3, 2)),
        Row("one call, p99", "the floor", ours_above(floors, lambda one: one.p99)),
        Row("one call, p50", "the clock", spread(ours.p50 for bursts in pairs.values() for _, ours in bursts), "ns"),
        Row("one call of the floor, p50", "the clock", spread(floor.p50 for floor, _ in floors), "ns"),
    ]


def against_peers(pairs: Pairs) -> list[Row]:
    """Return how many of our calls fit into one of each peer's."""
    return [
        Row(
            f"one call of {label}, p50",
            "ours",
            ratios([other.p50 for other, _ in pairs[name]], [ours.p50 for _, ours in pairs[name]]),
            bar=bar,
        )
        for name, (label, bar) in PEERS.items()
    ]


def delivered(pairs: Pairs) -> list[Row]:
    """Return how many times as many events a second we deliver."""
    labels = {FLOOR: "the floor", **{name: label for name, (label, _) in PEERS.items()}}
    flushed = [
        Row(
            "events delivered per second until flushed",
            label,
            ours_above(pairs[name], lambda one: one.per_second or 1.0),
            bar=DELIVERED.get(name),
        )
        for name, label in labels.items()
    ]
    clock = [
        Row(
            "events delivered per second until flushed, other processes' turns included",
            labels[name],
            ours_above(pairs[name], lambda one: one.delivered / one.clock or 1.0),
        )
        for name in (FLOOR, *DELIVERED)
    ]
    processor = [
        Row(
            "events delivered per second of the processor",
            labels[name],
            ours_above(pairs[name], lambda one: one.delivered / one.processor or 1.0),
        )
        for name in (FLOOR, *DELIVERED)
    ]
    return [*flushed, *clock, *processor]


def lost(pairs: Pairs) -> list[Row]:
    """Return who lost events of the burst although the logger was closed."""
    ours = spread(ours.lost for bursts in pairs.values() for _, ours in bursts)
    others = {label: spread(other.lost for other, _ in pairs[name]) for name, (label, _) in PEERS.items()}
    return [
        Row("events lost of the burst", "ours", ours, "events", at_most(0, 0)),
        *(Row("events lost of the burst", label, value, "events") for label, value in others.items() if value.high),
    ]
