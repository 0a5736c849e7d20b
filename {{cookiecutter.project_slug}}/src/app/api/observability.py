"""The outermost middleware: ids in and out, the span, the access line and the request's metrics in one pass.

They share their work, and each further layer would cost every request: what is a concern of its own is a middleware of
its own. This one runs for every request, so it is written for speed: no object that is not needed, nothing computed
twice.
"""

import time
from collections.abc import Awaitable, Collection
from functools import lru_cache

from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..adapters.metrics import Metrics
from ..adapters.tracing import Tracing, record_error
from ..core.context import Context, close_context, open_context
from ..core.logging import Logger, get_logger, mark_reported
from ..core.tracing import (
    Trace,
    accept_correlation_id,
    accept_request_id,
    close_trace,
    continue_trace,
    open_span,
    open_trace,
    read_trace,
)
from .errors import ERROR
from .routing import route_template

log = get_logger("app.access")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
OTHER_METHOD = "_OTHER"
CLIENT_CLOSED_REQUEST = 499
SERVER_ERROR = 500
_READ = frozenset({b"x-request-id", b"x-correlation-id", b"traceparent", b"tracestate", b"user-agent"})
_NOTHING: list[str] = []


def outcome(status_code: int) -> str:
    """Return the word for a class of status codes.

    Args:
        status_code: The HTTP status.

    """
    if status_code < 300:
        return "success"
    if status_code >= SERVER_ERROR:
        return "server_error"
    return "client_error" if status_code >= 400 else "redirect"


class Exchange:
    """One request and what became of it.

    Args:
        scope: The request.
        send: Where its answer goes.
        trace: Its position.
        request_id: Its id.

    """

    __slots__ = (
        "_send", "correlation_id", "error", "method", "request_id", "scope", "span", "started", "status_code", "trace",
        "user_agent",
    )  # fmt: skip

    def __init__(self, scope: Scope, send: Send, trace: Trace, request_id: str) -> None:
        self.scope = scope
        self._send = send
        self.trace = trace
        self.request_id = request_id
        self.user_agent = _NOTHING
        self.correlation_id: str | None = None
        # One of a known few, or a caller could make as many series as it likes.
        self.method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
        # What is recorded, if anything is.
        self.span: Span | None = None
        self.status_code = 0
        self.error: BaseException | None = None
        self.started = time.perf_counter()

    def send(self, message: Message) -> Awaitable[None]:
        """Note the status, add the headers, and pass the message on."""
        if message["type"] == "http.response.start":
            self.status_code = message["status"]
            ids = (b"x-request-id", self.request_id.encode()), (b"x-trace-id", self.trace.trace_id.encode())
            message = {**message, "headers": [*message.get("headers", ()), *ids]}
        # The awaitable itself: a coroutine around it would cost every message.
        return self._send(message)


class ObservabilityMiddleware:
    """Gives a request its ids and reports on it when it ends.

    Args:
        app: What is further in.
        tracing: What starts spans.
        metrics: What counts requests.
        quiet_paths: Paths without an access line, such as probes.

    """

    def __init__(self, app: ASGIApp, *, tracing: Tracing, metrics: Metrics, quiet_paths: Collection[str] = ()) -> None:
        self.app = app
        self._tracing = tracing
        self._metrics = metrics
        self._quiet_paths = frozenset(quiet_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = self._begin(scope, send)
        trace = exchange.trace
        context = Context(request_id=exchange.request_id, trace_id=trace.trace_id, span_id=trace.span_id)
        if exchange.correlation_id is not None:
            context["correlation_id"] = exchange.correlation_id
        opened = open_context(context)
        position = open_trace(trace) if exchange.span is None else open_span(exchange.span)
        try:
            await self.app(scope, receive, exchange.send)
        except ClientDisconnect:
            exchange.status_code = exchange.status_code or CLIENT_CLOSED_REQUEST
        except Exception as error:
            exchange.error = error
            raise
        finally:
            self._finish(exchange)
            close_trace(position)
            close_context(opened)

    def _begin(self, scope: Scope, send: Send) -> Exchange:
        """Return the exchange with its ids, and with a span when it is recorded."""
        sent: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            if name in _READ:
                sent.setdefault(name, []).append(value.decode("latin-1"))
        parent = read_trace(sent.get(b"traceparent", _NOTHING), sent.get(b"tracestate", _NOTHING))
        trace = continue_trace(parent)
        if self._tracing.records:
            trace = trace.marked(sampled=self._tracing.samples(trace, parent))
        exchange = Exchange(scope, send, trace, accept_request_id(sent.get(b"x-request-id", _NOTHING)))
        exchange.user_agent = sent.get(b"user-agent", _NOTHING)
        if b"x-correlation-id" in sent:
            exchange.correlation_id = accept_correlation_id(sent[b"x-correlation-id"])
        self._metrics.request_started(exchange.method)
        if self._tracing.records and trace.sampled:
            exchange.span = self._start_span(exchange, parent)
        return exchange

    def _start_span(self, exchange: Exchange, parent: Trace | None) -> Span:
        scope, method = exchange.scope, exchange.method
        attributes = {"http.request.method": method, "url.path": scope["path"], "url.scheme": scope["scheme"]}
        return self._tracing.start_at(exchange.trace, method, SpanKind.SERVER, parent, attributes)

    def _finish(self, exchange: Exchange) -> None:
        seconds = time.perf_counter() - exchange.started
        scope = exchange.scope
        status_code = exchange.status_code or SERVER_ERROR
        route = route_template(scope)
        error = exchange.error or scope.get(ERROR)
        self._metrics.request_finished(exchange.method, route, status_code, seconds)
        if exchange.span is not None:
            _finish_span(exchange.span, exchange.method, route, status_code, error)
        # A probe that is answered 503 did its job; one that crashes is news.
        if scope["path"] not in self._quiet_paths or status_code == SERVER_ERROR:
            _log(exchange, route, status_code, seconds, error)


def _finish_span(span: Span, method: str, route: str, status_code: int, error: BaseException | None) -> None:
    """Say on the span what became of the request, and end it."""
    span.update_name(f"{method} {route}")
    span.set_attributes({"http.route": route, "http.response.status_code": status_code})
    if status_code >= SERVER_ERROR:
        span.set_status(StatusCode.ERROR)
        if error is not None:
            record_error(span, error)
    span.end()


@lru_cache(maxsize=1024)
def _access_log(method: str, route: str, status_code: int, status: str) -> Logger:
    """Return the logger of one kind of request: what its lines have in common is rendered once."""
    common = {"method": method, "route": route, "status_code": status_code, "status": status}
    return log.bind(domain="http", action="request", **common)


def _log(exchange: Exchange, route: str, status_code: int, seconds: float, error: BaseException | None) -> None:
    """Write the access line; from 500 up it is an error and has the exception."""
    scope = exchange.scope
    client = scope.get("client")
    fields = {
        "path": scope["path"],
        "duration_ms": round(seconds * 1000, 3),
        "client_ip": client[0] if client else None,
        "user_agent": exchange.user_agent[-1] if exchange.user_agent else None,
    }
    status = outcome(status_code) if exchange.error is None else "server_error"
    access_log = _access_log(scope["method"], route, status_code, status)
    # An error that got past the errors middleware broke an answer that had begun, whatever its status was.
    if status != "server_error":
        access_log.info("http.request", **fields)
        return
    access_log.error("http.request", **fields, exc_info=error)
    if error is not None:
        mark_reported(error)
