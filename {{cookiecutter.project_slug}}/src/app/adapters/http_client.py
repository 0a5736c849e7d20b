"""Outgoing HTTP: each call is a span of its own and carries the trace and the request id to the next service.

Spans follow OpenTelemetry's conventions (https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client).
"""

import time
from collections.abc import Callable
from typing import Any
from urllib.request import getproxies

import httpx2
from opentelemetry.trace import Span, SpanKind, StatusCode

from ..core.access_log import METHODS, OTHER_METHOD
from ..core.context import current_context
from ..core.tracing import position_of
from .tracing import Tracing

# Method, host, status code or None without an answer, seconds.
OnCall = Callable[[str, str, int | None, float], None]
TIMEOUT = httpx2.Timeout(10.0, connect=2.0)
# A client that is given a transport ignores these: they belong to the transport.
_CONNECTING = ("verify", "cert", "http1", "http2", "limits", "proxy", "trust_env")
# What the other side is told of the request that is being worked on.
_IDS = {"request_id": "X-Request-ID", "correlation_id": "X-Correlation-ID"}
_PORTS = {"http": 80, "https": 443}


class TracingTransport(httpx2.AsyncBaseTransport):
    """Wraps a transport so that each request is traced and counted.

    Args:
        inner: What sends the request.
        tracing: What starts spans.
        propagate: Whether the other side is told the trace and the ids of the request.
        on_call: Called when an answer began or none came, for the metrics.

    """

    def __init__(
        self,
        inner: httpx2.AsyncBaseTransport,
        tracing: Tracing,
        *,
        propagate: bool = True,
        on_call: OnCall | None = None,
    ) -> None:
        self._inner = inner
        self._tracing = tracing
        self._propagate = propagate
        self._on_call = on_call

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request in a span of kind client."""
        method = request.method if request.method in METHODS else OTHER_METHOD
        with self._tracing.span("HTTP" if method == OTHER_METHOD else method, kind=SpanKind.CLIENT) as span:
            if span.is_recording():
                _describe(span, request, method)
            if self._propagate:
                _add_headers(request, span)
            response = await self._send(request, method)
            if span.is_recording():
                _describe_answer(span, response)
            return response

    async def _send(self, request: httpx2.Request, method: str) -> httpx2.Response:
        started = time.perf_counter()
        status_code = None
        try:
            response = await self._inner.handle_async_request(request)
            status_code = response.status_code
            return response
        finally:
            if self._on_call is not None:
                self._on_call(method, request.url.host, status_code, time.perf_counter() - started)

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._inner.aclose()


def _describe(span: Span, request: httpx2.Request, method: str) -> None:
    url = request.url
    # Without a user and password, which a log of addresses must not have; the rest is redacted as all of a span is.
    address = f"{url.scheme}://{url.netloc.decode('ascii')}{url.raw_path.decode('ascii')}"
    span.set_attributes(
        {
            "http.request.method": method,
            "server.address": url.host,
            "server.port": url.port or _PORTS.get(url.scheme, 0),
            "url.full": address,
        }
    )
    if method == OTHER_METHOD:
        span.set_attribute("http.request.method_original", request.method)


def _describe_answer(span: Span, response: httpx2.Response) -> None:
    span.set_attribute("http.response.status_code", response.status_code)
    if response.is_error:
        span.set_attribute("error.type", str(response.status_code))
        span.set_status(StatusCode.ERROR)


def _add_headers(request: httpx2.Request, span: Span) -> None:
    trace = position_of(span)
    if trace is not None:
        request.headers.update(trace.headers())
    context = current_context()
    for field, header in _IDS.items():
        value = context.get(field)
        if isinstance(value, str):
            request.headers.setdefault(header, value)


def create_http_client(
    tracing: Tracing, *, propagate: bool = True, on_call: OnCall | None = None, **options: Any
) -> httpx2.AsyncClient:
    """Return a client for other services, with bounded waiting; the caller closes it.

    Proxies are taken from `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, unless `trust_env` is false.

    Args:
        tracing: What starts spans.
        propagate: Whether the other side is told the trace and the ids of the request; not for services of others.
        on_call: Called for each request when an answer began or none came, for the metrics.
        options: Further arguments of `httpx2.AsyncClient`; `transport` and `mounts` are wrapped.

    """
    connecting = {name: options.pop(name) for name in _CONNECTING if name in options}
    transport = options.pop("transport", None)
    by_environment = transport is None and not connecting.get("proxy") and connecting.get("trust_env", True)
    proxies = _proxies(connecting) if by_environment else {}
    mounts = {**proxies, **(options.pop("mounts", None) or {})}

    def wrapped(inner: httpx2.AsyncBaseTransport) -> TracingTransport:
        return TracingTransport(inner, tracing, propagate=propagate, on_call=on_call)

    return httpx2.AsyncClient(
        transport=wrapped(transport or httpx2.AsyncHTTPTransport(**connecting)),
        mounts={pattern: mount and wrapped(mount) for pattern, mount in mounts.items()},
        timeout=options.pop("timeout", TIMEOUT),
        trust_env=connecting.get("trust_env", True),
        **options,
    )


def _proxies(connecting: dict[str, Any]) -> dict[str, httpx2.AsyncBaseTransport | None]:
    """Return the transports for what the environment wants proxied, and None for what it does not."""
    named = getproxies()
    excluded = [host.strip() for host in named.get("no", "").split(",") if host.strip()]
    if "*" in excluded:
        return {}
    mounts: dict[str, httpx2.AsyncBaseTransport | None] = {}
    for scheme in ("http", "https", "all"):
        if address := named.get(scheme):
            address = address if "://" in address else f"http://{address}"
            mounts[f"{scheme}://"] = httpx2.AsyncHTTPTransport(**{**connecting, "proxy": address})
    # Without proxies there is nothing to be excluded from.
    return mounts | ({_pattern(host): None for host in excluded} if mounts else {})


def _pattern(host: str) -> str:
    """Return the pattern for a member of `NO_PROXY`: a domain stands for those below it too."""
    if "://" in host:
        return host
    if ":" in host and not host.startswith("["):
        return f"all://[{host}]"
    is_address = host.replace(".", "").isdecimal() or host.startswith("[") or host.lower() == "localhost"
    return f"all://{host}" if is_address else f"all://*{host.removeprefix('*')}"
