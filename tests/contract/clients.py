"""Clients that do what a caller with a key should: send the same request again until there is an answer."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Self

from .orders import order
from .plans import KEY
from .problems import assert_problem, assert_retry_after
from .server import Service, new_id
from .wire import Response, eventually

PAUSE = 0.5
PATIENCE = 120
# No request may take longer, whatever a server behind the service does. What is promised is far less.
LONGEST = 15


@dataclass
class Seen:
    """What clients heard before they had their answers."""

    refused: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    slowest: float = 0.0


def until_answered(service: Service, body: dict[str, Any], key: str, seen: Seen) -> Response:
    """Place an order, again and again with one key while the connection breaks or the service says 409 or 503."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        response = _ask(service, body, key, seen)
        if response is not None and response.status not in (409, 503):
            return response
        if response is not None:
            assert_problem(response, response.status)
            assert_retry_after(response)
            seen.refused[response.status] += 1
        time.sleep(PAUSE)
    msg = f"no answer within {PATIENCE} s, only {seen.refused}:\n{service.output()[-5000:]}"
    raise AssertionError(msg)


def _ask(service: Service, body: dict[str, Any], key: str, seen: Seen) -> Response | None:
    """Send one request; None when the connection broke."""
    started = time.monotonic()
    try:
        return service.post("/orders", body, (KEY, key))
    except (OSError, HTTPException) as error:
        seen.broken.append(repr(error))
        return None
    finally:
        seen.slowest = max(seen.slowest, time.monotonic() - started)


class Load:
    """Clients that place one order after the other, each under a key of its own, while the block runs."""

    def __init__(self, service: Service, clients: int = 8) -> None:
        """Prepare *clients* of *service*."""
        self.seen = [Seen() for _ in range(clients)]
        self.answered: list[tuple[str, Response]] = []
        self._service = service
        self._over = False

    def __enter__(self) -> Self:
        """Begin."""
        self._pool = ThreadPoolExecutor(len(self.seen))
        self._running = [self._pool.submit(self._place, seen) for seen in self.seen]
        return self

    def _place(self, seen: Seen) -> None:
        while not self._over:
            body = order()
            self.answered.append((body["sku"], until_answered(self._service, body, new_id(), seen)))

    def __exit__(self, *failure: object) -> None:
        """Let each client finish the order that it is about, and pass on what went wrong."""
        self._over = True
        self._pool.shutdown()
        for client in self._running:
            client.result()

    def goes_on(self, orders: int = 20) -> None:
        """Wait until so many more orders are placed."""
        target = len(self.answered) + orders
        eventually(lambda: self._broken_client() or len(self.answered) >= target, within=PATIENCE)

    def is_refused(self) -> None:
        """Wait until each client, whatever it was about, is refused with 503."""
        before = [seen.refused[503] for seen in self.seen]

        def all_refused() -> bool:
            return all(seen.refused[503] > count for seen, count in zip(self.seen, before, strict=True))

        eventually(lambda: self._broken_client() or all_refused(), within=PATIENCE)

    def _broken_client(self) -> bool:
        return any(client.done() for client in self._running)
