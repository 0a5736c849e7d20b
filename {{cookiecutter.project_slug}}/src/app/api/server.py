"""The HTTP server and how it stops.

On SIGTERM or SIGINT readiness turns 503 while the server goes on serving: until the requests that were in flight are
done and `SHUTDOWN_DELAY` has passed, so that a load balancer can take it out. Then the listener closes, what is left
has until `SHUTDOWN_TIMEOUT`, and the process ends with 0. A second signal ends it at once.
"""

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.lifespan.on import LifespanOn, LifespanSendMessage

from ..bootstrap import Services
from ..core.logging import get_logger
from .http_protocol import HttpProtocol

log = get_logger(__name__)
# Seconds kept back from SHUTDOWN_TIMEOUT for closing connections to dependencies and flushing spans.
CLEANUP_SHARE = 0.2
POLL_SECONDS = 0.05
# A signal to a process group arrives again from each parent that hands it on, as make and uv do: that is one request.
REPEATED_SECONDS = 0.25


class Server(uvicorn.Server):
    """Uvicorn with a drain before the listener closes.

    Args:
        config: Uvicorn's configuration.
        services: What readiness and the shutdown settings are read from.

    """

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services
        self._signal: int | None = None
        self._signalled = 0.0
        self._deadline = float("inf")

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
        if self._signal is not None:
            if sig != self._signal or time.monotonic() - self._signalled > REPEATED_SECONDS:
                os._exit(128 + sig)
            return
        self._signal = sig
        self._signalled = time.monotonic()
        self._deadline = self._signalled + self._services.settings.shutdown_timeout
        self._services.health.shutting_down = True

    async def on_tick(self, counter: int) -> bool:
        """Return whether the server stops; uvicorn asks ten times a second."""
        if self._signal is not None and not self.should_exit:
            await self._drain()
            self.should_exit = True
        return await super().on_tick(counter)

    async def _drain(self) -> None:
        settings = self._services.settings
        log.info("service.stopping", signal=signal.Signals(self._signal or 0).name)
        in_flight = set(self.server_state.tasks)
        serve_until = time.monotonic() + min(settings.shutdown_delay, settings.shutdown_timeout)
        latest = self._deadline - settings.shutdown_timeout * CLEANUP_SHARE
        while time.monotonic() < latest:
            if time.monotonic() >= serve_until and all(task.done() for task in in_flight):
                break
            await asyncio.sleep(POLL_SECONDS)
        left = self._deadline - time.monotonic() - settings.shutdown_timeout * CLEANUP_SHARE / 2
        self.config.timeout_graceful_shutdown = max(1, int(left))


class QuietLifespan(LifespanOn):
    """Uvicorn's, without the traceback as the text of a log line: the application has logged why it cannot start."""

    async def send(self, message: LifespanSendMessage) -> None:
        """Take a message of the application."""
        if message["type"] in ("lifespan.startup.failed", "lifespan.shutdown.failed"):
            message["message"] = ""
        await super().send(message)


def serve(app: FastAPI, services: Services, listener: socket.socket | None = None) -> bool:
    """Serve until a signal comes, and return whether the service had started.

    Args:
        app: The application.
        services: Its parts.
        listener: Where connections come in, instead of at the address that the settings name.

    """
    settings = services.settings
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
    config.lifespan_class = QuietLifespan
    server = Server(config, services)
    try:
        server.run([listener] if listener is not None else None)
    except SystemExit:
        # Uvicorn has logged why it cannot listen; its own exit code, 3, means nothing to anybody.
        return False
    return server.started
