"""What tests of a daemon in this process share: its settings, its parts, and how they wait for it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from app.bootstrap import Services, bootstrap
from app.daemon.application import Application
from app.daemon.configuration import DaemonGroup, DaemonSettings

from ..servers import free_port

# Far more than any of it takes.
PATIENCE = 30.0


def settings_in(folder: Path, *, daemon: dict[str, Any] | None = None, **overrides: Any) -> DaemonSettings:
    """Return the settings of a daemon whose crashed tasks begin again at once.

    Args:
        folder: Where its database and its queue are.
        daemon: What is otherwise in its own group.
        overrides: What is otherwise besides.

    """
    group = {"restart_backoff": 0.001, "restart_backoff_max": 0.002, **(daemon or {})}
    own: dict[str, Any] = {
        "environment": "test",
        "service_name": "orders",
        "service_version": "1.2.3",
        "database_url": f"sqlite:///{folder}/test.db",
        "broker_url": f"sqlite:///{folder}/queue.db",
        "admin_port": free_port(),
        "daemon": DaemonGroup(**group),
    }
    return DaemonSettings(**{**own, **overrides})


@asynccontextmanager
async def parts(settings: DaemonSettings) -> AsyncIterator[Services]:
    """Lend what a daemon works with.

    Args:
        settings: How it is set up.

    """
    services = bootstrap(settings)
    try:
        yield services
    finally:
        await services.aclose()


@asynccontextmanager
async def living(app: Application) -> AsyncIterator["asyncio.Task[int]"]:
    """Run a daemon within the block.

    Args:
        app: The daemon.

    """
    running = asyncio.create_task(app.run())
    try:
        yield running
    finally:
        app.stop()
        async with asyncio.timeout(PATIENCE):
            await running


async def until(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """Wait until something is so, and return it.

    Args:
        condition: What is to become true.
        what: What is waited for.

    """
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        await asyncio.sleep(0.005)
    return found


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so that has to be awaited.

    Args:
        condition: What is to become true.

    """
    async with asyncio.timeout(PATIENCE):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.005)


def series(services: Services, name: str) -> dict[str, float]:
    """Return the samples of a series, by what stands between its braces.

    Args:
        services: Whose.
        name: The sample's name.

    """
    lines = services.metrics.render().decode().splitlines()
    found = (line.removeprefix(name).rpartition(" ") for line in lines if line.startswith((name + "{", name + " ")))
    return {labels.strip("{}"): float(value) for labels, _, value in found}
