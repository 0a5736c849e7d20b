"""Gunicorn's workers with a drain before they close their listener (`serving/stopping.py` says how a process stops)."""

import asyncio
import signal
import sys
import time
from contextlib import ExitStack, suppress
from http import HTTPStatus
from socket import SHUT_RD, socket
from types import FrameType
from typing import Any

from gunicorn.http.errors import (
    ExpectationFailed,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.util import write_nonblock
from gunicorn.workers.base import Worker
from gunicorn.workers.gasgi import ASGIWorker
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn
from gunicorn.workers.gthread import ThreadWorker as GunicornThreadWorker

from ..core.logging import get_logger
from ..core.reporting import installed
from ..serving.stopping import LAST_WORDS_SECONDS, POLL_SECONDS, Stop
from ..serving.supervisor import NOT_STARTED
from ..settings import ConfigurationError
from .lifespan import App, Receive, Scope, Send

log = get_logger(__name__)
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# What is taken of a body that nobody read, after its answer.
UNREAD_SECONDS = 5.0
UNREAD_BYTES = 16 * 1024 * 1024
_REFUSALS: dict[type[Exception], HTTPStatus] = {
    LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
}


class ServiceWorker(Worker):
    """A process in which the service runs, and whose stop begins with a drain."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.stop = Stop(self.app.settings)
        # When it was started, and how long its place stayed empty before, as the master keeps it.
        self.started = time.monotonic()
        self.pause = 0.0
        self.is_cutting_off = False
        self._life = ExitStack()
        # The requests that are being handled, each with its connection where that is known.
        self._requests: dict[Any, Any] = {}
        self._awaited: set[Any] = set()

    def load_wsgi(self) -> None:
        """Load the application and start the service; without either, end the process with the reason."""
        try:
            super().load_wsgi()
            # Not at the top: it needs Django, which the master does without.
            from .bootstrap import current_services
            from .lifecycle import running

            services = current_services()
        except ConfigurationError as error:
            print(error, file=sys.stderr)  # noqa: T201 -- logging needs what could not be set up
            sys.exit(NOT_STARTED)
        except Exception:
            log.exception("service.failed")
            sys.exit(NOT_STARTED)
        self._life.enter_context(installed(services.reporting))
        with suppress(Exception):
            self._life.enter_context(running(services))
            return
        sys.exit(NOT_STARTED)

    def run(self) -> None:
        """Serve until the end."""
        with self._life:
            super().run()

    def begin_stop(self, number: int) -> None:
        """Take a signal: at the first one the service goes on, but says that it is about to stop.

        Args:
            number: The signal's.

        """
        if not self.stop.take(number):
            return
        if not self.booted:
            sys.exit(0)
        from .bootstrap import current_services

        current_services().health.shutting_down = True
        self._awaited = set(self._requests)
        log.info("service.stopping", signal=self.stop.signal_name)

    @property
    def is_drained(self) -> bool:
        """Whether the listener may close."""
        return self.stop.is_drained(in_flight=not self._awaited.isdisjoint(self._requests))


class ThreadWorker(ServiceWorker, GunicornThreadWorker):
    """WSGI: a thread for each request."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        # Connections of which no whole request head came yet.
        self._silent: set[TConn] = set()
        self._silence_ends = float("inf")

    def init_signals(self) -> None:
        """Take both signals that ask for the end alike."""
        super().init_signals()
        signal.signal(signal.SIGINT, self.handle_exit)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop."""
        self.begin_stop(sig)
        # Wakes the loop.
        self.method_queue.defer(lambda: None)

    def is_parent_alive(self) -> bool:
        """Go on until the end of the drain, which the death of the master begins."""
        if not self.stop.has_begun and not super().is_parent_alive():
            self.begin_stop(signal.SIGTERM)
        return True

    def handle(self, conn: TConn) -> Any:
        """Handle what comes on a connection, in a thread."""
        self._silent.add(conn)
        try:
            return super().handle(conn)
        finally:
            self._silent.discard(conn)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Handle a request, in a thread."""
        self._requests[req] = conn
        self._silent.discard(conn)
        try:
            keeps_alive = super().handle_request(req, conn)
        finally:
            del self._requests[req]
        # Whoever still sends a body that nobody reads would lose the answer with the connection.
        if conn.parser is not None:
            conn.parser.finish_body(time.monotonic() + UNREAD_SECONDS, UNREAD_BYTES)
        return keeps_alive

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Do what is due; gunicorn asks again and again, also while it waits for the end of what is in flight."""
        super().wait_for_and_dispatch_events(min(timeout, POLL_SECONDS) if self.stop.has_begun else timeout)
        if self.alive and self.stop.has_begun and self.is_drained:
            self._close_listener()
        if time.monotonic() >= self._silence_ends:
            _end_reading(self._silent)

    def _close_listener(self) -> None:
        self.alive = False
        self.set_accept_enabled(False)
        for listener in self.sockets:
            listener.close()
        self.cfg.set("graceful_timeout", max(1, int(self.stop.seconds_left)))
        self._silence_ends = time.monotonic() + STOP_KEEPALIVE_LINGER

    def run(self) -> None:
        """Serve until the end; whoever still sends a request then is told that it comes too late."""
        with self._life:
            GunicornThreadWorker.run(self)
            self.is_cutting_off = True
            _end_reading(list(self._requests.values()))
            until = time.monotonic() + LAST_WORDS_SECONDS
            while self._requests and time.monotonic() < until:
                time.sleep(POLL_SECONDS)

    def handle_error(self, req: Any, client: socket, addr: Any, exc: Exception) -> None:
        """Refuse what is no request, in plain text; anything else is a fault of the service."""
        if not isinstance(exc, ParseException):
            log.error("http.failed", exc_info=exc)
            status = HTTPStatus.INTERNAL_SERVER_ERROR
        else:
            log.warning("http.malformed", reason=type(exc).__name__)
            status = _REFUSALS.get(type(exc), HTTPStatus.BAD_REQUEST)
        body = f"{status.phrase}\n"
        head = f"HTTP/1.1 {status} {status.phrase}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
        with suppress(OSError):
            write_nonblock(client, f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())


def _end_reading(connections: Any) -> None:
    """Let whoever waits for more of these connections find their end."""
    for connection in list(connections):
        with suppress(OSError):
            connection.sock.shutdown(SHUT_RD)


class AsgiWorker(ServiceWorker, ASGIWorker):
    """ASGI: an event loop."""

    def load_wsgi(self) -> None:
        """Load the application and start the service."""
        super().load_wsgi()
        self.asgi = self._counting(self.asgi)

    def _counting(self, app: App) -> App:
        async def counting(scope: Scope, receive: Receive, send: Send) -> None:
            request = object()
            self._requests[request] = asyncio.current_task()
            try:
                await app(scope, receive, send)
            finally:
                del self._requests[request]

        return counting

    def init_signals(self) -> None:
        """Take both signals that ask for the end alike."""
        super().init_signals()
        loop: Any = self.loop
        for number in STOP_SIGNALS:
            # Handlers of a loop see nothing before it runs.
            loop.remove_signal_handler(number)
            signal.signal(number, self._take)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def _take(self, sig: int, frame: FrameType | None) -> None:
        self.begin_stop(sig)
        self.alive = False

    async def _shutdown(self) -> None:
        """Drain, close the listener, and let what is in flight end."""
        if not self.stop.has_begun:
            # The master is gone.
            self.begin_stop(signal.SIGTERM)
        while True:
            if self.is_drained:
                break
            await asyncio.sleep(POLL_SECONDS)
        for server in self.servers:
            server.close()
        lingers_until = time.monotonic() + STOP_KEEPALIVE_LINGER
        while self._requests or (self.nr_conns and time.monotonic() < lingers_until):
            if self.stop.seconds_left <= 0:
                break
            await asyncio.sleep(POLL_SECONDS)
        await self._cut_off()

    async def _cut_off(self) -> None:
        """Let what is still in flight say that it comes too late."""
        tasks = list(self._requests.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_WORDS_SECONDS)
