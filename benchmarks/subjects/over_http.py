"""Requests per second and latency over HTTP: uvicorn with one worker, 32 connections."""

import contextlib
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from ..effort import Effort
from ..load import Load, load
from ..processes import Child, ChildFailedError, child
from ..report import Bar, Row, Spread, at_least, ratios
from .in_process import ALL, METHODS, SHARES, SOME, sampler

START_SECONDS = 60.0
Key = tuple[str, float]
SERVERS: tuple[Key, ...] = (
    ("bare", SOME),
    ("emitted", SOME),
    ("emitted", ALL),
    ("documents", SOME),
    ("shelf", SOME),
    ("shelf", ALL),
)
BARE: Key = ("bare", SOME)
Runs = dict[tuple[str, Key], list[Load]]


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is up, and where."""

    process: Child
    port: int


def measure(effort: Effort) -> list[Row]:
    """Load all servers in turns."""
    with ExitStack() as stack:
        servers = {key: stack.enter_context(server(*key)) for key in SERVERS}
        runs = collect(servers, effort)
    return [
        row for method in METHODS for row in (*throughput(runs, method), *peers(runs, method), *latency(runs, method))
    ]


@contextlib.contextmanager
def server(name: str, share: float) -> Iterator[Server]:
    """Start an application's server, and end it with the block.

    Args:
        name: The application's module.
        share: The share of requests that are sampled.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        listener.set_inheritable(True)
        port = listener.getsockname()[1]
        asked = {"name": name, "descriptor": listener.fileno()}
        with child("server", asked, environment=sampler(share), pass_fds=[listener.fileno()]) as process:
            listener.close()
            await_answer(process, port)
            yield Server(process, port)


def await_answer(process: Child, port: int) -> None:
    """Wait until a server answers.

    Args:
        process: It.
        port: Where it listens.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.process.poll() is not None:
            process.result(0)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"GET /items/42 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            if connection.recv(15).startswith(b"HTTP/1.1 200"):
                return
        time.sleep(0.1)
    msg = f"a server did not answer within {START_SECONDS:g} s"
    raise ChildFailedError(msg)


def collect(servers: dict[Key, Server], effort: Effort) -> Runs:
    """Return what each round gave for each endpoint and server; who begins changes from round to round."""
    runs: Runs = {(method, key): [] for method in METHODS for key in servers}
    order = list(servers)
    for number in range(effort.rounds):
        for method in METHODS:
            for key in order[number % len(order) :] + order[: number % len(order)]:
                runs[method, key].append(load(servers[key].port, method, key[1], effort))
    return runs


def per_second(runs: Runs, method: str, above: Key, below: Key) -> Spread:
    """Return the ratio of two servers' requests per second, round by round."""
    return ratios([run.per_second for run in runs[method, above]], [run.per_second for run in runs[method, below]])


def throughput(runs: Runs, method: str) -> list[Row]:
    """Return what is left of bare FastAPI's throughput."""
    bars = {SOME: at_least(0.85, 0.92), ALL: at_least(0.60, 0.80)}
    note = f"load from {generator()}"
    return [
        Row(
            f"requests per second, {method}, {SHARES[share]}",
            "bare FastAPI",
            per_second(runs, method, ("emitted", share), BARE),
            bar=bar,
            note=note,
        )
        for share, bar in bars.items()
    ]


def peers(runs: Runs, method: str) -> list[Row]:
    """Return how many times the throughput of its peers ours is."""
    compared: tuple[tuple[str, Key, Bar], ...] = (
        ("the documents' style", ("documents", SOME), at_least(10, 12)),
        ("the off-the-shelf stack", ("shelf", SOME), at_least(4, 6)),
        ("the off-the-shelf stack", ("shelf", ALL), at_least(4, 6)),
    )
    return [
        Row(
            f"requests per second, {method}, {SHARES[key[1]]}",
            label,
            per_second(runs, method, ("emitted", key[1]), key),
            bar=bar,
        )
        for label, key, bar in compared
    ]


def latency(runs: Runs, method: str) -> list[Row]:
    """Return the middle and the 99th percentile of the latency, against bare FastAPI."""

    def row(name: str, share: float) -> Row:
        own: list[Any] = [getattr(run, name) for run in runs[method, ("emitted", share)]]
        bare: list[Any] = [getattr(run, name) for run in runs[method, BARE]]
        return Row(f"latency {name}, {method}, {SHARES[share]}", "bare FastAPI", ratios(own, bare))

    return [row(name, share) for share in SHARES for name in ("p50", "p99")]


def generator() -> str:
    """Return what makes the load."""
    return "wrk" if shutil.which("wrk") else "the asyncio client of the benchmarks"
