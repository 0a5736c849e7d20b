"""One application beside the bare one in one process, called directly, in alternating blocks.

A block's cost is the processor time of the whole process, until what was put off for later is done too: a thread that
writes lines or hands over spans is charged to the application that it works for.
"""

import asyncio
import gc
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import uvloop
from starlette.types import Message

from ..apps import Built, build
from . import respond
from .requests import CYCLE, ENDPOINTS, Endpoint

# Longer than a writer thread that waits for more to write with its next line.
SETTLE_SECONDS = 0.01


@dataclass(slots=True)
class Caller:
    """Calls an application as a server would, one request at a time."""

    built: Built
    endpoint: Endpoint
    headers: list[list[tuple[bytes, bytes]]]
    sent: int = 0

    async def call(self) -> list[Message]:
        """Send one request, and return the messages of the answer."""
        answer: list[Message] = []
        done = asyncio.Event()
        body: list[Message] = [{"type": "http.request", "body": self.endpoint.body, "more_body": False}]

        async def receive() -> Message:
            if body:
                return body.pop()
            await done.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            answer.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                done.set()

        await self.built.app(self.endpoint.scope(self.headers[self.sent % len(self.headers)]), receive, send)
        self.sent += 1
        return answer

    async def block(self, size: int) -> float:
        """Send a block of requests, and return the seconds of processor time that it took, per request.

        Args:
            size: How many requests.
        """
        started = time.process_time()
        for _ in range(size):
            await self.call()
        self.built.flush()
        time.sleep(SETTLE_SECONDS)
        return (time.process_time() - started) / size


def caller(name: str, endpoint: Endpoint, sampled: float) -> Caller:
    """Return what calls a new application.

    Args:
        name: The application's module.
        endpoint: What is called.
        sampled: The share of requests that are sampled.
    """
    return Caller(build(name), endpoint, [endpoint.headers(number, sampled) for number in range(CYCLE)])


async def compare(name: str, method: str, sampled: float, pairs: int, block: int, warm_up: int) -> dict[str, Any]:
    """Return the ratios of the application's cost to the bare one's, one per pair of blocks.

    Args:
        name: The application's module.
        method: Which endpoint.
        sampled: The share of requests that are sampled.
        pairs: How many pairs.
        block: How many requests a block has.
        warm_up: How many requests come first.
    """
    endpoint = ENDPOINTS[method]
    bare, variant = caller("bare", endpoint, sampled), caller(name, endpoint, sampled)
    expected = body_of(await bare.call(), endpoint)
    if body_of(await variant.call(), endpoint) != expected:
        msg = f"{name} answers {method} {endpoint.path} differently from the bare application"
        raise ValueError(msg)
    lines = await lines_of(variant.block, warm_up)
    await bare.block(warm_up)
    gc.collect()
    gc.freeze()
    costs = [(await bare.block(block), await variant.block(block)) for _ in range(pairs)]
    return {"ratios": [own / floor for floor, own in costs], "lines_per_request": lines}


def body_of(answer: list[Message], endpoint: Endpoint) -> bytes:
    """Return an answer's body, or complain about its status.

    Args:
        answer: Its messages.
        endpoint: What was called.
    """
    if answer[0]["status"] != endpoint.status:
        msg = f"{endpoint.method} {endpoint.path} answered {answer[0]['status']}, not {endpoint.status}"
        raise ValueError(msg)
    return b"".join(message["body"] for message in answer[1:])


async def lines_of(block: Callable[[int], Awaitable[float]], requests: int) -> float:
    """Warm an application up while its log goes to a file, and return how many lines a request writes.

    Args:
        block: Sends requests.
        requests: How many requests are sent.
    """
    null = os.dup(1)
    # What was logged before may still be on its way.
    time.sleep(10 * SETTLE_SECONDS)
    with TemporaryFile(dir=Path.cwd()) as file:
        os.dup2(file.fileno(), 1)
        await block(requests)
        time.sleep(10 * SETTLE_SECONDS)
        os.dup2(null, 1)
        os.close(null)
        file.seek(0)
        return sum(1 for _ in file) / requests


def main(**arguments: Any) -> dict[str, Any]:
    """Compare within an event loop as a server has it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(compare(**arguments))


if __name__ == "__main__":
    respond(main)
