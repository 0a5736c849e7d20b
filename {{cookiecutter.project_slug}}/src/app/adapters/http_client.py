"""Outgoing HTTP: each call is a span of its own and carries the trace and the request id to the next service."""

from typing import Any

import httpx2
from opentelemetry.trace import SpanKind

from ..core.context import current_context
from ..core.tracing import trace_of
from .tracing import Tracing, record_error

TIMEOUT = httpx2.Timeout(10.0, connect=2.0)
# A client that is given a transport ignores these: they belong to the transport.
_CONNECTING = ("verify", "cert", "http1", "http2", "limits", "proxy")


class TracingTransport(httpx2.AsyncBaseTransport):
    """Wraps a transport so that each request is traced.

    Args:
        inner: What sends the request.
        tracing: What starts spans.

    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, tracing: Tracing) -> None:
        self._inner = inner
        self._tracing = tracing

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request in a span of kind client."""
        attributes = {"http_request_method": request.method, "server_address": request.url.host}
        with self._tracing.span(request.method, kind=SpanKind.CLIENT, **attributes) as span:
            self._add_headers(request, trace_of(span.get_span_context()).headers())
            response = await self._inner.handle_async_request(request)
            span.set_attribute("http.response.status_code", response.status_code)
            if response.is_error:
                record_error(
                    span,
                    httpx2.HTTPStatusError(str(response.status_code), request=request, response=response),
                )
            return response

    def _add_headers(self, request: httpx2.Request, headers: dict[str, str]) -> None:
        request.headers.update(headers)
        request_id = current_context().get("request_id")
        if isinstance(request_id, str):
            request.headers.setdefault("X-Request-ID", request_id)

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._inner.aclose()


def create_http_client(tracing: Tracing, **options: Any) -> httpx2.AsyncClient:
    """Return a client for other services, with bounded waiting; the caller closes it.

    Args:
        tracing: What starts spans.
        options: Further arguments of `httpx2.AsyncClient`; `transport` and `mounts` are wrapped.

    """
    connecting = {name: options.pop(name) for name in _CONNECTING if name in options}
    transport = options.pop("transport", None) or httpx2.AsyncHTTPTransport(**connecting)
    mounts = options.pop("mounts", None) or {}
    return httpx2.AsyncClient(
        transport=TracingTransport(transport, tracing),
        mounts={pattern: mount and TracingTransport(mount, tracing) for pattern, mount in mounts.items()},
        timeout=options.pop("timeout", TIMEOUT),
        **options,
    )
