"""A load generator of our own, for machines without `wrk`: on each connection, a request as soon as one is answered."""

import asyncio
import time
from functools import partial
from typing import Any

import uvloop

from . import respond
from .requests import CYCLE, ENDPOINTS

CONNECTIONS = 32
GRACE_SECONDS = 10.0


class Connection(asyncio.Protocol):
    """Sends the next request as soon as the last one is answered.

    Args:
        requests: The requests, in turns.
        status: What every answer's status has to be.
        took: Where the seconds of each request go.
    """

    def __init__(self, requests: list[bytes], status: int, took: list[float]) -> None:
        self._requests = requests
        self._expected = b"HTTP/1.1 %d" % status
        self._took = took
        self._sent = 0
        self._received = b""
        self._started = 0.0
        self.failure = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._started = time.perf_counter()
        self._transport.write(self._requests[self._sent % CYCLE])  # type: ignore[attr-defined]
        self._sent += 1

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer; when it is whole, send the next request."""
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        if head < 0 or len(self._received) < head + 4 + content_length(self._received, head):
            return
        if not self._received.startswith(self._expected):
            self.failure = self._received[:200].decode("latin-1")
            self._transport.close()
            return
        self._took.append(time.perf_counter() - self._started)
        self._received = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the server has closed the connection, unless another failure is known."""
        self.failure = self.failure or f"the connection was lost: {exc}"


def content_length(answer: bytes, head: int) -> int:
    """Return the length of an answer's body.

    Args:
        answer: What has come of it.
        head: Where its headers end.
    """
    start = answer.index(b"content-length: ", 0, head) + 16
    end = answer.find(b"\r\n", start)
    return int(answer[start:end])


def _same(connection: Connection) -> Connection:
    return connection


async def load(port: int, method: str, sampled: float, warm_up: float, seconds: float) -> dict[str, Any]:
    """Load a server, and return requests per second and the middle and the 99th percentile of the seconds they took.

    Args:
        port: Where it listens.
        method: Which endpoint.
        sampled: The share of requests that are to be sampled.
        warm_up: Seconds before the first request that counts.
        seconds: How long it is measured.
    """
    endpoint = ENDPOINTS[method]
    requests = [endpoint.wire(number, sampled) for number in range(CYCLE)]
    took: list[float] = []
    connections = [
        Connection(requests[first:] + requests[:first], endpoint.status, took) for first in range(CONNECTIONS)
    ]
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(partial(_same, one), "127.0.0.1", port) for one in connections]
    await asyncio.sleep(warm_up)
    took.clear()
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    elapsed, ranked = time.perf_counter() - started, sorted(took)
    failures = [one.failure for one in connections if one.failure]
    for transport, _ in opened:
        transport.abort()
    if failures or not ranked:
        raise ConnectionError(failures[0] if failures else "no request was answered")
    count = len(ranked)
    return {"per_second": count / elapsed, "p50": ranked[count // 2], "p99": ranked[count * 99 // 100]}


def main(**arguments: Any) -> dict[str, Any]:
    """Load within a bounded time."""

    async def bounded() -> dict[str, Any]:
        limit = arguments["warm_up"] + arguments["seconds"] + GRACE_SECONDS
        return await asyncio.wait_for(load(**arguments), limit)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(bounded())


if __name__ == "__main__":
    respond(main)
