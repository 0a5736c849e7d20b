"""Health and metrics of a process that answers no other requests: a small server in threads of its own.

It answers `GET` and `HEAD` of `/livez`, `/readyz` and `/metrics` as a service over HTTP does, and closes each
connection after its answer. Nobody can hold it up: connections, what is read of each and how long that takes are
bounded.
"""

import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple, Protocol
from urllib.parse import unquote

from ..core.context import request_context
from ..core.health import Report, Status
from ..core.logging import get_logger, to_json
from ..core.problem import MEDIA_TYPE, Problem, from_status, phrase, unexpected
from ..core.problem_answer import problem_body
from ..core.tracing import accept_request_id, continue_trace, read_trace
from ..settings import ConfigurationError

log = get_logger(__name__)
ALLOW = {"allow": "GET, HEAD"}
JSON = "application/json"
MAX_CONNECTIONS = 16
MAX_HEAD_BYTES = 16_384
# Until a request has come in as a whole, and until its answer is taken.
SECONDS = 5.0
# For a caller that still sends while it is answered.
LINGER_SECONDS = 0.5
_RECEIVE_BYTES = 4096


class Exposition(Protocol):
    """What tells Prometheus; `adapters.metrics.Metrics` does."""

    content_type: str

    def render(self) -> bytes:
        """Return all series."""


class Request(NamedTuple):
    """The head of a request."""

    method: str
    path: str
    headers: Mapping[str, list[str]]


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = {}


class AdminServer:
    """Listens from when it is made.

    Args:
        host: The address.
        port: The port; 0 for any that is free.
        ready: Returns whether the process may receive work.
        metrics: The series; None when they are not shown.

    Raises:
        ConfigurationError: The address is taken, or not one of this machine's.

    """

    def __init__(self, host: str, port: int, *, ready: Callable[[], Report], metrics: Exposition | None = None) -> None:
        self._views: dict[str, Callable[[], Answer]] = {"/livez": _live, "/readyz": lambda: _ready(ready())}
        if metrics is not None:
            self._views["/metrics"] = lambda: Answer(200, metrics.content_type, metrics.render())
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._listener = _listening(host, port)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="admin-server", daemon=True)
        _close_in_children(self)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer requests within the block; afterwards nobody listens any more."""
        self._thread.start()
        try:
            yield
        finally:
            self.close()

    def close(self) -> None:
        """Listen no more; what is being answered is answered."""
        with suppress(OSError):
            # It wakes the thread that waits for a connection.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def forget(self) -> None:
        """Close what a forked child has of its parent's listener, without ending that."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._listener.fileno() < 0:
                    return
                # Out of descriptors, most likely: the next one may be taken.
                time.sleep(LINGER_SECONDS)
                continue
            if not self._free.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection,), name="admin-request", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, suppress(OSError):
                connection.settimeout(SECONDS)
                self._converse(connection)
        except Exception:
            log.exception("admin.failed")
        finally:
            self._free.release()

    def _converse(self, connection: socket.socket) -> None:
        head = _receive(connection)
        if head is None:
            return
        request = _read(head)
        headers: Mapping[str, list[str]] = {} if request is None else request.headers
        trace = continue_trace(read_trace(headers.get("traceparent", []), headers.get("tracestate", [])))
        ids = {"request_id": accept_request_id(headers.get("x-request-id", [])), "trace_id": trace.trace_id}
        with request_context(**ids):
            answer = self._answer(request)
        shown = {**answer.headers, "x-request-id": ids["request_id"], "x-trace-id": ids["trace_id"]}
        is_head = request is not None and request.method == "HEAD"
        connection.sendall(_rendered(answer, shown) + (b"" if is_head else answer.body))
        _linger(connection)

    def _answer(self, request: Request | None) -> Answer:
        if request is None:
            return _refused(from_status(400), "")
        view = self._views.get(request.path)
        if view is None:
            return _refused(from_status(404), request.path)
        if request.method not in ("GET", "HEAD"):
            return _refused(from_status(405, headers=ALLOW), request.path)
        try:
            return view()
        except Exception:
            log.exception("admin.failed", path=request.path)
            return _refused(unexpected(), request.path)


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        msg = (
            f"ADMIN_PORT: received {port}, and nobody can listen there on {host} ({error.strerror or error}); "
            "allowed: a port that is free, and as HOST an address of this machine"
        )
        raise ConfigurationError(msg) from error


def _live() -> Answer:
    return Answer(200, JSON, to_json({"status": Status.OK.value}).encode())


def _ready(report: Report) -> Answer:
    body = to_json(report.document()).encode()
    return Answer(200 if report.ready else 503, JSON, body, {"cache-control": "no-store"})


def _refused(problem: Problem, path: str) -> Answer:
    return Answer(problem.status, MEDIA_TYPE, problem_body(problem, path), problem.headers)


def _receive(connection: socket.socket) -> bytes | None:
    """Return the head of a request; nothing when the caller is too slow, or goes away. One too large is cut."""
    deadline = time.monotonic() + SECONDS
    head = b""
    while b"\r\n\r\n" not in head and len(head) < MAX_HEAD_BYTES:
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        connection.settimeout(left)
        received = connection.recv(_RECEIVE_BYTES)
        if not received:
            return None
        head += received
    connection.settimeout(SECONDS)
    return head


def _read(head: bytes) -> Request | None:
    """Return the request of a head; None when it is none, or too large."""
    text, end, _ = head[:MAX_HEAD_BYTES].partition(b"\r\n\r\n")
    first, *lines = text.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if not end or len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
        return None
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            return None
        headers.setdefault(name.lower(), []).append(value.strip(" \t"))
    return Request(words[0], unquote(words[1].partition("?")[0], errors="replace"), headers)


def _rendered(answer: Answer, headers: Mapping[str, str]) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {phrase(answer.status)}",
        f"content-type: {answer.content_type}",
        f"content-length: {len(answer.body)}",
        "connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _linger(connection: socket.socket) -> None:
    """Let the caller read the answer: closing while it sends would take that from it."""
    connection.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + LINGER_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        if not connection.recv(_RECEIVE_BYTES):
            return


def _close_in_children(server: AdminServer) -> None:
    """Let no forked child keep the port: it would be taken for as long as the child lives."""
    if hasattr(os, "register_at_fork"):
        own = weakref.WeakMethod(server.forget)
        os.register_at_fork(after_in_child=lambda: (method := own()) and method())
