"""The style that tutorials teach: each concern a `BaseHTTPMiddleware`, two structlog lines per request.

It makes no spans; a request's trace id is taken over or made up.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..loggers.structlog_default import configure
from . import Built
from .endpoints import add_endpoints

Next = Callable[[Request], Awaitable[Response]]
LIMIT_PER_MINUTE = 1_000_000_000
TIMEOUT_SECONDS = 30.0
request_id_of: ContextVar[str | None] = ContextVar("request_id", default=None)
trace_id_of: ContextVar[str | None] = ContextVar("trace_id", default=None)
log = structlog.get_logger("app.middleware")


class ContextMiddleware(BaseHTTPMiddleware):
    """Gives the request an id, and logs its start and its end."""

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        """Handle one request."""
        request_id = request.headers.get("x-request-id") or str(uuid.uuid4())
        request_id_of.set(request_id)
        request.state.request_id = request_id
        client = request.client.host if request.client else "unknown"
        known = {"method": request.method, "path": request.url.path, "request_id": request_id, "client_ip": client}
        agent = request.headers.get("user-agent", "unknown")
        log.info("Request started", domain="web", action="request", status="started", user_agent=agent, **known)
        started = time.time()
        response = await call_next(request)
        took = round((time.time() - started) * 1000, 3)
        code = response.status_code
        log.info("Request completed", domain="web", action="request", status_code=code, duration_ms=took, **known)
        response.headers["X-Request-ID"] = request_id
        return response


class TracingMiddleware(BaseHTTPMiddleware):
    """Takes over the caller's trace id, or makes one up."""

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        """Handle one request."""
        parts = request.headers.get("traceparent", "").split("-")
        trace_id = parts[1] if len(parts) == 4 else uuid.uuid4().hex
        trace_id_of.set(trace_id)
        request.state.trace_id = trace_id
        response = await call_next(request)
        response.headers["X-Trace-ID"] = trace_id
        return response


class MetricsMiddleware(BaseHTTPMiddleware):
    """Counts requests, by labels that are looked up each time."""

    registry = CollectorRegistry()
    active = Gauge("http_in_progress", "Requests in progress.", ["method", "endpoint"], registry=registry)
    requests = Counter("http_requests", "Requests.", ["method", "endpoint", "status"], registry=registry)
    seconds = Histogram("http_seconds", "How long requests took.", ["method", "endpoint"], registry=registry)

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        """Handle one request."""
        labels = {"method": request.method, "endpoint": request.url.path}
        self.active.labels(**labels).inc()
        started = time.monotonic()
        try:
            response = await call_next(request)
            self.requests.labels(**labels, status=response.status_code).inc()
            self.seconds.labels(**labels).observe(time.monotonic() - started)
            return response
        finally:
            self.active.labels(**labels).dec()


class SecurityHeadersMiddleware(BaseHTTPMiddleware):
    """Adds the usual headers."""

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        """Handle one request."""
        response = await call_next(request)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Strict-Transport-Security"] = "max-age=63072000; includeSubDomains"
        response.headers["Content-Security-Policy"] = "default-src 'self'"
        return response


class RateLimitMiddleware(BaseHTTPMiddleware):
    """Counts the requests of each client in the current minute."""

    counts: dict[tuple[str, int], int] = {}  # noqa: RUF012 -- one table per process is what the style has
    lock = asyncio.Lock()

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        """Handle one request."""
        client = request.client.host if request.client else "unknown"
        window = int(time.time() // 60)
        async with self.lock:
            used = self.counts[client, window] = self.counts.get((client, window), 0) + 1
        if used > LIMIT_PER_MINUTE:
            return JSONResponse({"detail": "Too many requests"}, 429)
        response = await call_next(request)
        response.headers["X-RateLimit-Limit"] = str(LIMIT_PER_MINUTE)
        response.headers["X-RateLimit-Remaining"] = str(LIMIT_PER_MINUTE - used)
        return response


class TimeoutMiddleware(BaseHTTPMiddleware):
    """Gives up on a request that takes too long."""

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        """Handle one request."""
        try:
            return await asyncio.wait_for(call_next(request), TIMEOUT_SECONDS)
        except TimeoutError:
            return JSONResponse({"detail": "The request took too long"}, 504)


class IdempotencyMiddleware(BaseHTTPMiddleware):
    """Looks for the header, and whether its key was seen before."""

    answers: dict[str, object] = {}  # noqa: RUF012 -- one table per process is what the style has

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        """Handle one request."""
        key = request.headers.get("idempotency-key")
        if key is not None and key in self.answers:
            return JSONResponse(self.answers[key])
        return await call_next(request)


class ErrorMiddleware(BaseHTTPMiddleware):
    """Turns an exception into a problem document."""

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        """Handle one request."""
        try:
            return await call_next(request)
        except Exception:
            log.exception("Request failed", request_id=request_id_of.get())
            problem = {"type": "about:blank", "title": "Internal Server Error", "status": 500}
            return JSONResponse(problem, 500, media_type="application/problem+json")


ORDER = (
    ContextMiddleware,
    TracingMiddleware,
    MetricsMiddleware,
    SecurityHeadersMiddleware,
    RateLimitMiddleware,
    TimeoutMiddleware,
    IdempotencyMiddleware,
    ErrorMiddleware,
)


def build() -> Built:
    """Return the application, its middleware in the order that the style recommends."""
    configure()
    app = add_endpoints(FastAPI())
    for middleware in reversed(ORDER):
        app.add_middleware(middleware)
    return Built(app)
