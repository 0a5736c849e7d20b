"""Tasks per second of the emitted worker against bare Celery's, on one Redis with the same delivery settings."""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket

from redis import Redis as Client

from tests.contract.backends import MissingError, Redis

from ..effort import Effort
from ..machine import DRIVER, pinned
from ..processes import ChildFailedError, child
from ..report import Row, at_least, ratios, spread

TIMEOUT = 300.0
POLL_SECONDS = 0.002
# Of the events of a burst as many are tasks.
SHARE = 10
BAR = at_least(0.85, 0.95)
# Each has all settings of the emitted one for delivery, its transport for Redis included, but for what is said here.
AGAINST = {
    "bare": "bare Celery with the same settings",
    "bare_logs": "the same, with its two lines a task",
    "bare_kombu": "bare Celery on kombu's own transport, which loses tasks",
}
KINDS = (*AGAINST, "wired")


@dataclass(frozen=True, slots=True)
class Turns:
    """What came out of each turn of one worker.

    Attributes:
        rates: Tasks per second, by the clock.
        work: Seconds of processor time of all its processes, per task.
    """

    rates: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)


def measure(effort: Effort) -> list[Row]:
    """Compare the emitted worker with the bare ones, or say what is missing on this machine."""
    try:
        turns = collect(effort)
    except MissingError as missing:
        return [Row("all of it", "", None, note=str(missing))]
    wired = turns["wired"]
    rates = [
        Row("tasks per second", against, ratios(wired.rates, turns[kind].rates), bar=BAR if kind == "bare" else None)
        for kind, against in AGAINST.items()
    ]
    work = [Row("processor time", against, ratios(wired.work, turns[kind].work)) for kind, against in AGAINST.items()]
    note = f"one process of the pool, {effort.burst // SHARE} tasks a turn, all sampled"
    return [*rates, *work, Row("tasks per second", "a number", spread(wired.rates), unit="per second", note=note)]


def collect(effort: Effort) -> dict[str, Turns]:
    """Return what came out for each worker, turn by turn."""
    turns = {kind: Turns() for kind in KINDS}
    count = effort.burst // SHARE
    for _ in range(effort.processes):
        with broker() as url, Client.from_url(url) as client, workers(url, count) as groups:
            for turn in range(1 + effort.rounds):
                for kind in KINDS:
                    before = processor_seconds(groups[kind])
                    seconds = seconds_of(client, kind, count)
                    # The first turn is for warming up.
                    if turn:
                        turns[kind].rates.append(count / seconds)
                        turns[kind].work.append((processor_seconds(groups[kind]) - before) / count)
    return turns


def processor_seconds(group: int) -> float:
    """Return how long the processes of a group have used a processor.

    Args:
        group: Its number.
    """
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name before may hold spaces; then state, parent and group, and at 11 and 12 user's and system's time.
            fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12]) if int(fields[2]) == group else 0
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def broker() -> Iterator[str]:
    """Give the address of a Redis of the benchmark's own."""
    with pinned(DRIVER):
        server = Redis()
        try:
            yield server.start().url()
        finally:
            server.close()


@contextmanager
def workers(url: str, count: int) -> Iterator[dict[str, int]]:
    """Run one worker of each kind, each on a queue of its own, and give their groups of processes.

    Args:
        url: Where Redis is.
        count: How many messages each prepares.
    """
    groups = {}
    with ExitStack() as stack:
        for kind in KINDS:
            asked = {"kind": kind, "queue": kind, "count": count}
            started = stack.enter_context(child("celery_worker", asked, environment=surroundings(url, kind)))
            started.result(TIMEOUT)
            groups[kind] = started.process.pid
        yield groups


def surroundings(url: str, queue: str) -> dict[str, str]:
    """Return the settings of a worker: those of production, one process, no schedule."""
    return {
        "ENVIRONMENT": "production",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "BROKER_URL": url,
        "ADMIN_PORT": str(free_port()),
        "WORKER__QUEUE": queue,
        "WORKER__CONCURRENCY": "1",
    }


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def seconds_of(client: "Client", queue: str, count: int) -> float:
    """Return how long a worker takes until all tasks are done and acknowledged.

    Args:
        client: Of the Redis that is the broker.
        queue: The worker's queue.
        count: How many tasks were prepared.

    Raises:
        ChildFailedError: It does not come to an end.
    """
    if client.llen(f"{queue}.prepared") != count:
        msg = f"{queue}: {count} messages were prepared, and {client.llen(f'{queue}.prepared')} are there"
        raise ChildFailedError(msg)
    client.copy(f"{queue}.prepared", f"{queue}.next")
    began = time.perf_counter()
    client.rename(f"{queue}.next", queue)
    while client.llen(queue) or client.hlen(f"{queue}.unacked"):
        if time.perf_counter() - began > TIMEOUT:
            msg = f"{queue}: tasks are left after {TIMEOUT:g} s"
            raise ChildFailedError(msg)
        time.sleep(POLL_SECONDS)
    seconds = time.perf_counter() - began
    if client.exists(f"{queue}.dead"):
        msg = f"{queue}: tasks were given up instead of being worked on"
        raise ChildFailedError(msg)
    return seconds
