"""What an idempotency key costs per store, and what the middleware costs a request without one."""

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from tests.contract.backends import MissingError, PostgreSQL, Redis

from ..effort import Effort
from ..machine import DRIVER, pinned
from ..processes import child
from ..report import Bar, Row, Spread, at_most, spread
from .in_process import METHODS, SHARES, SOME, sampler

TIMEOUT = 300.0
STORES = ("memory", "sqlite", "postgresql", "redis")
# One turn has five blocks, each of requests that wait for a disk or a server.
TURNS = 5
# What a request without a key pays is little: it takes more of them to see it.
IDLE_TURNS = 4
WARM_UP = 5
CLOCK, PROCESSOR = 0, 1


@dataclass(frozen=True, slots=True)
class Run:
    """What came out for one store: per process the middle cost of each kind, and how often the store was asked."""

    costs: list[dict[str, float]]
    asked: dict[str, dict[str, int]]

    def ratio(self, above: str, below: str) -> Spread:
        """Return the ratio of two kinds' costs."""
        return spread(costs[above] / costs[below] for costs in self.costs)

    def added(self, floor: str) -> Spread:
        """Return how often the floor fits into what a new key adds."""
        return spread((costs["new"] - costs["plain"]) / costs[floor] for costs in self.costs)


def measure(effort: Effort) -> list[Row]:
    """Measure the stores one after the other, then the middleware without a key."""
    rows = [row for store in STORES for row in of_store(store, effort)]
    light = times("memory, an endpoint without I/O", collect("memory", effort, "items"))
    return [*rows, *light, *(without_key(method, effort) for method in METHODS)]


def of_store(store: str, effort: Effort) -> list[Row]:
    """Return the rows of a store, or one that says what is missing on this machine."""
    try:
        run = collect(store, effort, "orders")
    except MissingError as missing:
        return [Row(f"all of it, {store}", "", None, note=str(missing))]
    return [*times(store, run), *counts(store, run)]


def collect(store: str, effort: Effort, endpoint: str) -> Run:
    """Run a store in each of several processes, against a server of its own where it needs one."""
    costs, asked = [], {}
    for _ in range(effort.processes):
        result = once(store, effort, endpoint)
        costs.append(middles(result["costs"], PROCESSOR if store == "memory" else CLOCK))
        asked = result["asked"]
    return Run(costs, asked)


def once(store: str, effort: Effort, endpoint: str) -> dict[str, Any]:
    """Return what one process measured."""
    with ExitStack() as stack:
        settings, log = surroundings(store, stack)
        asked = {
            "settings": settings,
            "endpoint": endpoint,
            "pairs": max(2, effort.pairs // TURNS),
            "block": effort.block,
            "warm_up": max(1, effort.warm_up // WARM_UP),
            "log": log,
        }
        process = stack.enter_context(child("idempotency", asked, environment=sampler(SOME)))
        return process.result(TIMEOUT)


def surroundings(store: str, stack: ExitStack) -> tuple[dict[str, Any], str]:
    """Start what a store needs, and return its settings and the file where its statements are logged."""
    settings: dict[str, Any] = {"idempotency": {"store": "sql" if store in ("sqlite", "postgresql") else store}}
    with pinned(DRIVER):
        if store == "redis":
            server = Redis()
            stack.callback(server.close)
            return {**settings, "redis_url": server.start().url()}, ""
        if store == "postgresql":
            database = PostgreSQL()
            stack.callback(database.close)
            return {**settings, "database_url": database.start().new_database()}, str(database.folder / "log")
    return settings, ""


def middles(turns: list[dict[str, list[float]]], which: int) -> dict[str, float]:
    """Return the median cost of each kind of request over all turns."""
    return {kind: statistics.median(turn[kind][which] for turn in turns) for kind in turns[0]}


def times(store: str, run: Run) -> Iterator[Row]:
    """Yield what a key costs against the same order without one, and against the store's own round trips."""
    in_memory = store.startswith("memory")
    note = "" if in_memory else f"{store}: by the clock, one request after the other"
    same = "the same POST without key"
    new = run.ratio("new", "plain")
    yield Row(f"time of a POST with a new key, {store}", same, new, bar=at_most(1.3, 1.3) if in_memory else None)
    replay = run.ratio("replay", "plain")
    yield Row(f"time of a replay, {store}", same, replay, bar=at_most(1, 1) if in_memory else None, note=note)
    if not in_memory:
        yield Row(f"added time of a new key, {store}", "the store's own round trips", run.added("floor of new"))
        yield Row(f"time of a replay, {store}", "the store's own round trips", run.ratio("replay", "floor of replay"))


def counts(store: str, run: Run) -> Iterator[Row]:
    """Yield how often a store is asked per request."""
    if store == "redis":
        yield counted("round trips, new key, redis", run, "new", "round trips", at_most(2, 2))
        yield counted("round trips, replay, redis", run, "replay", "round trips", at_most(1, 1))
        return
    if store == "memory":
        return
    yield counted(f"statements of the store, new key, {store}", run, "new", "of the store", at_most(2, 2))
    yield counted(f"statements of the store, replay, {store}", run, "replay", "of the store", None)
    if store == "postgresql":
        for kind, name in (("plain", "no key"), ("new", "new key"), ("replay", "replay")):
            yield counted(f"all that the server ran, {name}, {store}", run, kind, "on the server", None)


def counted(measure: str, run: Run, kind: str, what: str, bar: Bar | None) -> Row:
    """Return a row for a number that is the same each time."""
    number = float(run.asked[kind][what])
    return Row(measure, "a limit" if bar else "a number", Spread(number, number, number), "per request", bar)


def without_key(method: str, effort: Effort) -> Row:
    """Return what the middleware adds to a request without a key, as a share of the bare request."""
    added = []
    for number in range(effort.processes + effort.processes % 2):
        asked = {
            "method": method,
            "pairs": IDLE_TURNS * effort.pairs,
            "block": effort.block,
            "warm_up": effort.warm_up,
            "swapped": bool(number % 2),
        }
        with child("idle_idempotency", asked, environment=sampler(SOME)) as process:
            added.append(100 * statistics.median(process.result(TIMEOUT)["shares"]))
    measure = f"added time without a key, {method}, {SHARES[SOME]}"
    return Row(measure, "bare FastAPI", spread(added), "%", at_most(2, 2))
