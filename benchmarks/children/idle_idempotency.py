"""Requests without a key on the emitted application with and without its idempotency, beside the bare one."""

import asyncio
import gc
from typing import Any

import uvloop

from ..apps import bare, emitted
from . import respond
from .in_process import Caller
from .requests import CYCLE, ENDPOINTS

SAMPLED = 0.01


async def compare(method: str, pairs: int, block: int, warm_up: int, swapped: bool) -> dict[str, Any]:
    """Return what the middleware adds, as a share of the bare request, one value per turn.

    Args:
        method: Which endpoint.
        pairs: How often the applications take turns.
        block: How many requests a block has.
        warm_up: How many requests come first.
        swapped: Whether the application without it is built and called first.
    """
    endpoint = ENDPOINTS[method]
    headers = [endpoint.headers(number, SAMPLED) for number in range(CYCLE)]
    without = ("observability", "errors", "body_limit", "transaction")
    settings: dict[str, dict[str, Any]] = {"with": {}, "without": {"http": {"middleware": without}}}
    order = sorted(settings, reverse=swapped)
    callers = {name: Caller(emitted.build(**settings[name]), endpoint, headers) for name in order}
    callers["bare"] = Caller(bare.build(), endpoint, headers)
    for caller in callers.values():
        await caller.block(warm_up)
    gc.collect()
    gc.freeze()
    shares = []
    for number in range(pairs):
        names = list(callers) if number % 2 else list(reversed(callers))
        costs = {name: await callers[name].block(block) for name in names}
        shares.append((costs["with"] - costs["without"]) / costs["bare"])
    return {"shares": shares}


def main(**arguments: Any) -> dict[str, Any]:
    """Compare within an event loop as a server has it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(compare(**arguments))


if __name__ == "__main__":
    respond(main)
