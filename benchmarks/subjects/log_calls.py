"""One log call of eight fields: what it takes the caller, and how many events a second are delivered."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..effort import Effort
from ..loggers.events import MARK
from ..processes import child, work_folder
from ..report import Bar, Row, at_least, at_most, ratios, spread

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
    """What one burst gave: times of a call in nanoseconds, seconds until all was written."""

    p50: int
    p99: int
    seconds: float
    slow_writes: int
    delivered: int
    lost: int

    @property
    def per_second(self) -> float:
        """Events that arrived in the log, per second until the logger said that it was done."""
        return self.delivered / self.seconds


Runs = dict[str, list[Burst]]


def measure(effort: Effort) -> list[Row]:
    """Give every logger the same burst, in turns."""
    runs: Runs = {name: [] for name in (FLOOR, OURS, *PEERS)}
    for _ in range(effort.rounds):
        for name, bursts in runs.items():
            bursts.append(burst(name, effort.burst, effort.warm_up))
    return [*against_floor(runs), *against_peers(runs), *delivered(runs), *lost(runs)]


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


def medians(bursts: Sequence[Burst]) -> list[float]:
    """Return the middle of a call's time in each round."""
    return [float(one.p50) for one in bursts]


def against_floor(runs: Runs) -> list[Row]:
    """Return how many floors a call costs its caller."""
    p99 = ratios([one.p99 for one in runs[OURS]], [one.p99 for one in runs[FLOOR]])
    return [
        Row("one call, p50", "the floor", ratios(medians(runs[OURS]), medians(runs[FLOOR])), bar=at_most(3, 2)),
        Row("one call, p99", "the floor", p99),
    ]


def against_peers(runs: Runs) -> list[Row]:
    """Return how many of our calls fit into one of each peer's."""
    return [
        Row(f"one call of {label}, p50", "ours", ratios(medians(runs[name]), medians(runs[OURS])), bar=bar)
        for name, (label, bar) in PEERS.items()
    ]


def delivered(runs: Runs) -> list[Row]:
    """Return how many times as many events a second we deliver."""
    ours = [one.per_second for one in runs[OURS]]
    return [
        Row(
            "events delivered per second until flushed",
            label,
            ratios(ours, [one.per_second or 1.0 for one in runs[name]]),
            bar=DELIVERED.get(name),
        )
        for name, label in {FLOOR: "the floor", **{name: label for name, (label, _) in PEERS.items()}}.items()
    ]


def lost(runs: Runs) -> list[Row]:
    """Return who lost events of the burst although the logger was closed."""
    labels = {OURS: "ours", **{name: label for name, (label, _) in PEERS.items()}}
    return [
        Row(
            "events lost of the burst",
            label,
            spread(one.lost for one in runs[name]),
            "events",
            at_most(0, 0) if name == OURS else None,
        )
        for name, label in labels.items()
        if name == OURS or any(one.lost for one in runs[name])
    ]
