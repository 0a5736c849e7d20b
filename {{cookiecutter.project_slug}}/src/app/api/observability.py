"""The outermost middleware: ids in and out, the span, the access line and the request's metrics in one pass.

They share their work, and each further layer would cost every request: what is a concern of its own is a middleware of
its own. What it does for a request is `adapters.observation`'s; here is how that meets ASGI.
"""

from collections.abc import Awaitable, Collection

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..adapters import observation
from ..adapters.metrics import Metrics
from ..adapters.observation import NOTHING, Observation
from ..adapters.tracing import Tracing
from ..core.access_log import CLIENT_CLOSED_REQUEST
from ..core.context import Context, close_context, open_context
from ..core.tracing import close_trace, open_span, open_trace
from .errors import ERROR
from .routing import route_template

_NO_AGENT = (None,)
_READ = frozenset({b"x-request-id", b"x-correlation-id", b"traceparent", b"tracestate", b"user-agent"})


class Exchange(observation.Exchange):
    """One request and what became of it, and where its answer goes."""

    __slots__ = ("on_message",)
    on_message: Send

    def send(self, message: Message) -> Awaitable[None]:
        """Note the status, add the headers, and pass the message on."""
        if message["type"] == "http.response.start":
            self.status_code = message["status"]
            ids = (b"x-request-id", self.request_id.encode()), (b"x-trace-id", self.trace.trace_id.encode())
            message = {**message, "headers": [*message.get("headers", ()), *ids]}
        # The awaitable itself: a coroutine around it would cost every message.
        return self.on_message(message)


class ObservabilityMiddleware(Observation):
    """Gives a request its ids and reports on it when it ends.

    Args:
        app: What is further in.
        tracing: What starts spans.
        metrics: What counts requests.
        quiet_paths: Paths without an access line, such as probes.
        many_queries: More statements than this in one request are a warning; 0: never.

    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        tracing: Tracing,
        metrics: Metrics,
        quiet_paths: Collection[str] = (),
        many_queries: int = 0,
    ) -> None:
        super().__init__(tracing=tracing, metrics=metrics, quiet_paths=quiet_paths, many_queries=many_queries)
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            if name in _READ:
                sent.setdefault(name, []).append(value.decode("latin-1"))
        exchange = self.begin(
            Exchange,
            scope["method"],
            sent.get(b"traceparent", NOTHING),
            sent.get(b"tracestate", NOTHING),
            sent.get(b"x-request-id", NOTHING),
            sent.get(b"x-correlation-id", NOTHING),
        )
        exchange.on_message = send
        exchange.user_agent = sent.get(b"user-agent", _NO_AGENT)[-1]
        trace = exchange.trace
        context = Context(request_id=exchange.request_id, trace_id=trace.trace_id, span_id=trace.span_id)
        if exchange.correlation_id is not None:
            context["correlation_id"] = exchange.correlation_id
        opened = open_context(context)
        if self.tracing.records and trace.sampled:
            exchange.span = self.start_span(exchange, scope["path"], scope["scheme"])
        position = open_trace(trace) if exchange.span is None else open_span(exchange.span)
        try:
            await self.app(scope, receive, exchange.send)
        except ClientDisconnect:
            exchange.status_code = exchange.status_code or CLIENT_CLOSED_REQUEST
        except Exception as error:
            exchange.error = error
            raise
        finally:
            client = scope.get("client")
            self.finish(
                exchange,
                route_template(scope),
                scope["path"],
                client[0] if client else None,
                context.queries,
                scope.get(ERROR),
            )
            close_trace(position)
            close_context(opened)
