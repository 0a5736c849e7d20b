"""A sink that takes a millisecond per write: what the caller notices, and how long until all is written."""

from ..effort import Effort
from ..report import Row, at_least, at_most, ratios, spread
from .log_calls import OURS, Burst, burst

SYNCHRONOUS = "python_json_logger"
# Ours takes a few hundredths of the time that the synchronous logger takes.
PAIRS = 4


def measure(effort: Effort) -> list[Row]:
    """Give a burst to ours on a fast and on a slow sink, and to a synchronous logger on the slow one, in turns."""
    fast: list[Burst] = []
    slow: list[Burst] = []
    synchronous: list[Burst] = []
    for _ in range(max(1, effort.rounds // 2)):
        for _ in range(PAIRS):
            fast.append(burst(OURS, effort.slow_burst, effort.warm_up))
            slow.append(burst(OURS, effort.slow_burst, effort.warm_up, slow=True))
        one = burst(SYNCHRONOUS, effort.slow_burst, min(effort.warm_up, 20), slow=True)
        synchronous += [one] * PAIRS
    return [*caller(fast, slow), *until_flushed(slow, synchronous), *lost(slow)]


def caller(fast: list[Burst], slow: list[Burst]) -> list[Row]:
    """Return how much longer a call takes because its sink is slow."""
    p50 = ratios([one.p50 for one in slow], [one.p50 for one in fast])
    p99 = ratios([one.p99 for one in slow], [one.p99 for one in fast])
    return [
        Row("one call, p99", "its own on a fast sink", p99, bar=at_most(3, 1.5)),
        Row("one call, p50", "its own on a fast sink", p50),
    ]


def until_flushed(slow: list[Burst], synchronous: list[Burst]) -> list[Row]:
    """Return how much sooner all is written."""
    sooner = ratios([one.seconds for one in synchronous], [one.seconds for one in slow])
    return [
        Row("time until flushed of stdlib + python-json-logger", "ours", sooner, bar=at_least(100, 300)),
        Row("time until flushed", "the clock", spread(one.clock * 1000 for one in slow), "ms"),
    ]


def lost(slow: list[Burst]) -> list[Row]:
    """Return what was lost on the slow sink."""
    return [Row("events lost of the burst", "ours", spread(one.lost for one in slow), "events", at_most(0, 0))]
