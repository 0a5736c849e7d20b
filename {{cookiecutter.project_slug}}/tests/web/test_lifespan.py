"""ASGI's lifespan: what is entered before the first request, left after the last, and what a failure says."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from app.web.lifespan import Lifespan, Receive, Scope, Send

STARTUP, SHUTDOWN = {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}
events: list[str] = []


@pytest.fixture(autouse=True)
def _no_events() -> None:
    events.clear()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request."""
    events.append(f"request {scope['path']}")


@contextmanager
def life(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Say when it begins and when it ends."""
    events.append("begins" if loop.is_running() else "no loop")
    yield
    events.append("ends")


def failing(loop: asyncio.AbstractEventLoop) -> AbstractContextManager[None]:
    """Do not begin."""
    raise RuntimeError


async def live(lifespan: Lifespan) -> None:
    """Do what a server does."""
    asked: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
    answered = asyncio.Event()

    async def send(message: Mapping[str, Any]) -> None:
        events.append(str(message["type"]).removeprefix("lifespan."))
        answered.set()

    server = asyncio.create_task(lifespan({"type": "lifespan"}, asked.get, send))
    await asked.put(STARTUP)
    await answered.wait()
    if events[-1] == "startup.complete":
        await lifespan({"type": "http", "path": "/livez"}, asked.get, send)
        await asked.put(SHUTDOWN)
    await server


async def test_order() -> None:
    """Requests come between begin and end, and the server hears of both."""
    await live(Lifespan(app, life))
    assert events == ["begins", "startup.complete", "request /livez", "ends", "shutdown.complete"]


async def test_start_that_fails() -> None:
    """A server hears that the service cannot start, and no reason: that is in the log."""
    await live(Lifespan(app, failing))
    assert events == ["startup.failed"]
