"""`python -m tests.daemon.scenarios <name>`: daemons that a test ends, started as the service's own is."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from app.bootstrap import Services
from app.core.logging import get_logger
from app.daemon import server
from app.daemon.application import Application
from app.daemon.configuration import DaemonSettings
from app.settings import ConfigurationError, load_settings_of

log = get_logger("tests.scenarios")
POLL_SECONDS = 0.01


async def wait() -> None:
    """Run until cancelled, and say what ran it."""
    log.info("scenario.began", loop=type(asyncio.get_running_loop()).__module__)
    try:
        await asyncio.Event().wait()
    finally:
        log.info("scenario.cancelled")


def _is_there(name: str) -> bool:
    return Path(name).exists()


def _hold_up() -> None:
    """Do nothing, without letting anybody else do anything."""
    Path("blocked").touch()
    while not _is_there("go"):
        time.sleep(POLL_SECONDS)


def idle(app: Application) -> None:
    """A task that waits, and a drain that ends by itself."""

    async def drain() -> None:
        await asyncio.sleep(0.2)
        log.info("scenario.drained")

    app.supervise("wait", wait)
    app.before_stop(drain)


def endless(app: Application) -> None:
    """A drain that does not end."""
    app.supervise("wait", wait)
    app.before_stop(asyncio.Event().wait)


def deaf(app: Application) -> None:
    """A task that cannot be cancelled."""

    async def go_on() -> None:
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                log.info("scenario.deaf")

    app.supervise("deaf", go_on)


def blocking(app: Application) -> None:
    """A task that holds the loop up from when there is a file `block` until there is one that is called `go`."""

    async def block() -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if _is_there("block"):
                break
        _hold_up()
        await wait()

    app.supervise("block", block)


def crashing(app: Application) -> None:
    """A task that crashes as long as there is no file `mended`."""

    async def crash() -> None:
        if not _is_there("mended"):
            msg = "broken"
            raise RuntimeError(msg)
        await wait()

    app.supervise("crash", crash)


def broken(app: Application) -> None:
    """A start that fails half-way."""
    app.use("first", _first())
    app.use("second", _failing(OSError("no such place")))


def misconfigured(app: Application) -> None:
    """A start that finds a wrong setting."""
    app.use("first", _first())
    app.use("second", _failing(ConfigurationError("BROKER_URL: received nothing; allowed: something")))


@asynccontextmanager
async def _first() -> AsyncIterator[None]:
    try:
        yield
    finally:
        log.info("scenario.closed")


@asynccontextmanager
async def _failing(error: Exception | None) -> AsyncIterator[None]:
    if error is not None:
        raise error
    yield


SCENARIOS = {each.__name__: each for each in (idle, endless, deaf, blocking, crashing, broken, misconfigured)}


def main(name: str) -> int:
    """Run a scenario, and return the process's exit code."""

    def compose(settings: DaemonSettings, services: Services) -> Application:
        app = server.observed(settings, services)
        SCENARIOS[name](app)
        return app

    server.compose = compose
    return server.run(load_settings_of(DaemonSettings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
