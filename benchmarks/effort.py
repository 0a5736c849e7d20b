"""How much is measured: all of it, or just enough to see that every benchmark runs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """Sizes and repetitions.

    Attributes:
        processes: How many fresh processes an in-process ratio is taken in.
        pairs: How many pairs of blocks each of them runs.
        block: How many requests a block has.
        warm_up: How many requests or events come before the first that counts.
        rounds: How often the candidates of a comparison take turns.
        load_seconds: How long one candidate is under load in one round.
        burst: How many events a logger gets in one burst.
        slow_burst: How many it gets on a slow sink.
        flood: How many it gets while its sink is blocked for good.
        paused_seconds: How long a collector stops reading.
        ending_burst: How many events are logged just before a process ends; a tenth of them on a slow sink.
        shared_lines: How many lines each of four processes writes to one pipe.
    """

    processes: int = 3
    pairs: int = 80
    block: int = 60
    warm_up: int = 1000
    rounds: int = 5
    load_seconds: float = 4.0
    burst: int = 30_000
    slow_burst: int = 20_000
    flood: int = 1_000_000
    paused_seconds: float = 2.0
    ending_burst: int = 20_000
    shared_lines: int = 3050


FULL = Effort()
QUICK = Effort(
    processes=1,
    pairs=4,
    block=10,
    warm_up=20,
    rounds=1,
    load_seconds=0.3,
    burst=400,
    slow_burst=200,
    flood=20_000,
    paused_seconds=0.3,
    ending_burst=500,
    shared_lines=100,
)
