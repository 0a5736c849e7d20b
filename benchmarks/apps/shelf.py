"""The usual parts off the shelf, each as its own documentation wires it, in one application.

Request ids: asgi-correlation-id. Metrics: prometheus-fastapi-instrumentator. Spans: OpenTelemetry's FastAPI
instrumentation. Limits: slowapi. One structlog line per request, through the standard library as structlog advises.
"""

import time

import structlog
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from prometheus_fastapi_instrumentator import Instrumentator
from slowapi import Limiter
from slowapi.middleware import SlowAPIMiddleware
from slowapi.util import get_remote_address
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..loggers.structlog_default import configure
from . import Built, spans
from .endpoints import add_endpoints


class AccessLine:
    """Logs each request when its answer is sent.

    Args:
        app: What is further in.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = structlog.get_logger("access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            self._line(scope, status, time.perf_counter() - started)

    def _line(self, scope: Scope, status: int, seconds: float) -> None:
        self._log.info(
            "Request completed",
            method=scope["method"],
            path=scope["path"],
            status_code=status,
            duration_ms=round(seconds * 1000, 3),
            request_id=correlation_id.get(),
            client_ip=scope["client"][0] if scope.get("client") else None,
        )


def build() -> Built:
    """Return the application; `OTEL_TRACES_SAMPLER` says how much is sampled."""
    configure()
    app = add_endpoints(FastAPI())
    # No request is refused: the limit is counted, as in a service that is within it.
    app.state.limiter = Limiter(key_func=get_remote_address, default_limits=["1000000000/minute"])
    app.add_middleware(SlowAPIMiddleware)
    app.add_middleware(AccessLine)
    app.add_middleware(CorrelationIdMiddleware)
    Instrumentator().instrument(app).expose(app)
    provider = TracerProvider(shutdown_on_exit=False)
    processor = spans.processor()
    provider.add_span_processor(processor)
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
    return Built(app, processor.force_flush)
