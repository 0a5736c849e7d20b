"""A POST without a key, with a new one and with a used one, in one process beside what the store itself takes.

The requests are sent one after the other, so a block's time by the clock is what a caller waits for.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import uvloop
from app.migrations import migrate
from fastapi import FastAPI

from ..apps import Built, emitted
from . import respond, stores
from .in_process import SETTLE_SECONDS, Caller, body_of
from .requests import CYCLE, ENDPOINTS, Endpoint

BODY = b'{"sku":"TEA-42","quantity":2,"customer_email":"ada@example.com"}'
# An order is inserted; an item is only sent back.
POSTS = {"orders": Endpoint("POST", "/orders", "", BODY, 201), "items": ENDPOINTS["POST"]}
SAMPLED = 0.01
Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request of a block took on average, in seconds."""

    clock: float
    processor: float


class Posts:
    """Sends one POST to an application, with keys and without.

    Args:
        built: The application.
        endpoint: What is called.
    """

    def __init__(self, built: Built, endpoint: Endpoint) -> None:
        self._built = built
        self._endpoint = endpoint
        self._plain = [endpoint.headers(number, SAMPLED) for number in range(CYCLE)]
        self._caller = Caller(built, endpoint, self._plain)
        self._used: list[list[Header]] = []
        self._made = 0

    async def plain(self, size: int) -> Cost:
        """Send requests without a key."""
        return await self._block(self._plain, size)

    async def new(self, size: int) -> Cost:
        """Send requests, each with a key of its own."""
        self._made += size
        first = self._made - size
        self._used = [[*self._plain[n % CYCLE], (b"idempotency-key", b"key-%d" % (first + n))] for n in range(size)]
        return await self._block(self._used, size)

    async def replay(self, size: int) -> Cost:
        """Send the requests of the last block of new keys again."""
        return await self._block(self._used, size)

    async def one(self, kind: str) -> None:
        """Send one request of a kind, and look at its answer."""
        headers = {"plain": self._plain, "new": self._used, "replay": self._used}[kind]
        if kind == "new":
            self._made += 1
            self._used = headers = [[*self._plain[0], (b"idempotency-key", b"key-%d" % self._made)]]
        self._caller.headers, self._caller.sent = headers, 0
        answer = await self._caller.call()
        body_of(answer, self._endpoint)
        if ((b"idempotent-replayed", b"true") in answer[0]["headers"]) is not (kind == "replay"):
            msg = f"a request of the kind {kind} was answered with {answer[0]['headers']}"
            raise ValueError(msg)

    async def _block(self, headers: list[list[Header]], size: int) -> Cost:
        self._caller.headers, self._caller.sent = headers, 0
        clock, processor = time.perf_counter(), time.process_time()
        for _ in range(size):
            await self._caller.call()
        clock = time.perf_counter() - clock
        # A thread that writes lines is charged to the request that it works for.
        self._built.flush()
        time.sleep(SETTLE_SECONDS)
        return Cost(clock / size, (time.process_time() - processor) / size)


async def floor(step: Callable[[], Awaitable[object]], size: int) -> Cost:
    """Return what the store's own round trips take.

    Args:
        step: Those of one request.
        size: How many requests.
    """
    clock, processor = time.perf_counter(), time.process_time()
    for _ in range(size):
        await step()
    return Cost((time.perf_counter() - clock) / size, (time.process_time() - processor) / size)


async def measure(
    settings: dict[str, Any], endpoint: str, pairs: int, block: int, warm_up: int, log: str
) -> dict[str, Any]:
    """Return what each kind of request takes, and how often it asks the store.

    Args:
        settings: The store's.
        endpoint: One of `POSTS`.
        pairs: How often the kinds take turns.
        block: How many requests a block has.
        warm_up: How many requests come first.
        log: Where the database writes which statements it runs; empty where there is no such file.
    """
    built = emitted.build(**settings)
    app: FastAPI = built.app
    services = app.state.services
    migrate(services.database.url)
    posts = Posts(built, POSTS[endpoint])
    for kind in (posts.plain, posts.new, posts.replay):
        await kind(warm_up)
    try:
        async with stores.opened(services, posts.one) as store:
            costs = [await _turn(posts, store, block, number) for number in range(pairs)]
            return {"costs": costs, "asked": await store.count(log)}
    finally:
        await services.aclose()


async def _turn(posts: Posts, store: "stores.Store", block: int, number: int) -> dict[str, list[float]]:
    """Return the cost of a block of each kind; who begins changes from turn to turn."""
    found: dict[str, Cost] = {}
    if number % 2:
        found["plain"] = await posts.plain(block)
    found["new"] = await posts.new(block)
    found["replay"] = await posts.replay(block)
    if not number % 2:
        found["plain"] = await posts.plain(block)
    for name, step in store.floors.items():
        found[f"floor of {name}"] = await floor(step, block)
    return {name: [cost.clock, cost.processor] for name, cost in found.items()}


def main(**arguments: Any) -> dict[str, Any]:
    """Measure within an event loop as a server has it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measure(**arguments))


if __name__ == "__main__":
    respond(main)
