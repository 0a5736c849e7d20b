"""Uvicorn, with a drain before the listener closes (`stopping.py` says how a process stops)."""

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.lifespan.on import LifespanOn, LifespanSendMessage

from ..adapters.logging import close_logging
from ..core.logging import get_logger
from ..settings import Settings
from .http_protocol import HttpProtocol
from .stopping import LAST_WORDS_SECONDS, POLL_SECONDS, Readiness, Stop

log = get_logger(__name__)


class Server(uvicorn.Server):
    """Uvicorn with a drain before the listener closes.

    Args:
        config: Uvicorn's configuration.
        settings: How much time a stop may take.
        health: What is told that the service is about to stop.

    """

    def __init__(self, config: uvicorn.Config, settings: Settings, health: Readiness) -> None:
        super().__init__(config)
        self._health = health
        self._stop = Stop(settings)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals within the block; unlike uvicorn's own, a signal that was obeyed is not raised again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 -- as `signal` calls it
        """Begin to stop; at a second signal, end the process as that signal would."""
        if self._stop.take(sig):
            self._health.shutting_down = True

    async def on_tick(self, counter: int) -> bool:
        """Return whether the server stops; uvicorn asks ten times a second."""
        if self._stop.has_begun and not self.should_exit:
            await self._drain()
            self.should_exit = True
        return await super().on_tick(counter)

    async def _drain(self) -> None:
        log.info("service.stopping", signal=self._stop.signal_name)
        requests = set(self.server_state.tasks)
        while True:
            if self._stop.is_drained(in_flight=not all(task.done() for task in requests)):
                break
            await asyncio.sleep(POLL_SECONDS)
        # Whole seconds are too coarse for a short SHUTDOWN_TIMEOUT; uvicorn only hands them to asyncio.
        self.config.timeout_graceful_shutdown = max(0.1, self._stop.seconds_left)  # type: ignore[assignment]
        if isinstance(self.lifespan, ServiceLifespan):
            self.lifespan.requests = self.server_state.tasks
        self._stop.end_in_time(_end)


def _end() -> None:
    log.warning("service.cut_off")
    close_logging()
    os._exit(0)


class ServiceLifespan(LifespanOn):
    """Uvicorn's, which lets requests that were cut off say so before the application stops.

    Nor does it log a traceback as text: the application has logged why it cannot start.
    """

    requests: Collection["asyncio.Task[None]"] = ()

    async def shutdown(self) -> None:
        """Stop the application."""
        if self.requests:
            await asyncio.wait(set(self.requests), timeout=LAST_WORDS_SECONDS)
        await super().shutdown()

    async def send(self, message: LifespanSendMessage) -> None:
        """Take a message of the application."""
        if message["type"] in ("lifespan.startup.failed", "lifespan.shutdown.failed"):
            message["message"] = ""
        await super().send(message)


def serve(
    app: Callable[..., Any], settings: Settings, health: Readiness, *, listener: socket.socket | None = None
) -> bool:
    """Serve until a signal comes, and return whether the service had started.

    Args:
        app: The ASGI application.
        settings: Where it is reached, and how much time a stop may take.
        health: What is told that the service is about to stop.
        listener: Where connections come in, instead of at the address that the settings name.

    """
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        http=HttpProtocol,
        ws="none",
        forwarded_allow_ips=list(settings.http.trusted_proxies),
        timeout_graceful_shutdown=max(1, int(settings.shutdown_timeout)),
    )
    config.load()
    config.lifespan_class = ServiceLifespan
    server = Server(config, settings, health)
    try:
        server.run([listener] if listener is not None else None)
    except SystemExit:
        # Uvicorn has logged why it cannot listen; its own exit code, 3, means nothing to anybody.
        return False
    return server.started
