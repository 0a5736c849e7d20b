"""The outermost middleware: ids in and out, the span, the access line and the request's metrics in one pass.

What it does for a request is `adapters.observation`'s; here is how that meets Django, with and without a loop.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Token
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import FileResponse, HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.functional import LazyObject, empty

from ..adapters import observation
from ..adapters.observation import NOTHING, Observation
from ..core.access_log import CLIENT_CLOSED_REQUEST
from ..core.client_address import TrustedProxies
from ..core.context import Context, close_context, open_context
from ..core.tracing import close_trace, open_span, open_trace
from .bootstrap import Services, current_services
from .errors import report
from .request_state import error_of, mark_observed
from .routing import route_template
from .streaming import watch

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class Exchange(observation.Exchange):
    """One request and what became of it, and what is open while it is handled."""

    __slots__ = ("client_ip", "context", "opened", "position", "request")
    request: HttpRequest
    client_ip: str
    context: Context
    opened: Token[Any]
    position: Token[Any]

    def __enter__(self) -> None:
        self.opened = open_context(self.context)
        self.position = open_trace(self.trace) if self.span is None else open_span(self.span)

    def __exit__(self, *_: object) -> None:
        close_trace(self.position)
        close_context(self.opened)


class Observer(Observation):
    """What observes the requests of one process.

    Args:
        services: The process's parts.

    """

    def __init__(self, services: Services) -> None:
        settings = services.settings
        super().__init__(
            tracing=services.tracing,
            metrics=services.metrics,
            quiet_paths=settings.http.access_log_exclude,
            many_queries=settings.database.many_queries,
        )
        self.services = services
        self._proxies = TrustedProxies(settings.http.trusted_proxies)

    def start(self, request: HttpRequest) -> Exchange:
        """Return the exchange of a request, with its ids and what is to be opened around it."""
        meta = request.META
        exchange = self.begin(
            Exchange,
            request.method or "",
            # Django joins repeated headers by commas, which no valid value has: two of them are refused as they should.
            (meta["HTTP_TRACEPARENT"],) if "HTTP_TRACEPARENT" in meta else NOTHING,
            (meta["HTTP_TRACESTATE"],) if "HTTP_TRACESTATE" in meta else NOTHING,
            (meta["HTTP_X_REQUEST_ID"],) if "HTTP_X_REQUEST_ID" in meta else NOTHING,
            (meta["HTTP_X_CORRELATION_ID"],) if "HTTP_X_CORRELATION_ID" in meta else NOTHING,
        )
        exchange.request = request
        exchange.user_agent = meta.get("HTTP_USER_AGENT")
        exchange.client_ip = self._client_of(meta)
        trace = exchange.trace
        context = Context(request_id=exchange.request_id, trace_id=trace.trace_id, span_id=trace.span_id)
        if exchange.correlation_id is not None:
            context["correlation_id"] = exchange.correlation_id
        exchange.context = context
        if self.tracing.records and trace.sampled:
            exchange.span = self.start_span(exchange, request.path, request.scheme or "")
        mark_observed(request)
        return exchange

    def _client_of(self, meta: dict[str, Any]) -> str:
        peer: str = meta.get("REMOTE_ADDR", "")
        if "HTTP_X_FORWARDED_FOR" not in meta:
            return peer
        # Whoever asks Django for the address, as a limit of requests does, means the caller too.
        client = meta["REMOTE_ADDR"] = self._proxies.client_of(peer, meta["HTTP_X_FORWARDED_FOR"])
        return client

    def answer(self, exchange: Exchange, response: HttpResponseBase) -> None:
        """Put the ids on an answer, and report on the request when all of the answer is given."""
        exchange.status_code = response.status_code
        response.headers["X-Request-ID"] = exchange.request_id
        response.headers["X-Trace-ID"] = exchange.trace.trace_id
        if not response.streaming:
            self.end(exchange)
        elif isinstance(response, FileResponse) and response.file_to_stream is not None:
            # The server may read the file itself; closing the answer is what it does last.
            response._resource_closers.append(lambda: self._end_stream(exchange, None))  # type: ignore[attr-defined]  # noqa: SLF001
        else:
            watch(cast(StreamingHttpResponse, response), exchange, lambda error: self._end_stream(exchange, error))

    def _end_stream(self, exchange: Exchange, error: Exception | None) -> None:
        with exchange:
            if error is not None:
                # The answer had begun: nobody else hears of it.
                exchange.error = error
                report(exchange.request, error)
            self.end(exchange)

    def end(self, exchange: Exchange) -> None:
        """Report on a request that is over."""
        request, context = exchange.request, exchange.context
        if "user_id" not in context and (user_id := _user_id(request)) is not None:
            context.bind({"user_id": user_id})
        self.finish(
            exchange,
            route_template(request),
            request.path,
            exchange.client_ip or None,
            context.queries,
            error_of(request),
        )


def _user_id(request: HttpRequest) -> str | None:
    """Return the user when somebody has asked Django for it already: asking here would be a query of our own."""
    known = request.__dict__
    user = known.get("user")
    if isinstance(user, LazyObject):
        user = user._wrapped if user._wrapped is not empty else known.get("_acached_user")  # noqa: SLF001
    return str(user.pk) if user is not None and getattr(user, "is_authenticated", False) else None


class ObservabilityMiddleware:
    """Gives a request its ids and reports on it when it ends.

    Args:
        get_response: What is further in.

    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self._observer: Observer | None = None
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Handle one request."""
        if self._is_async:
            return self._answer_async(request)
        observer = self._current()
        exchange = observer.start(request)
        with exchange:
            try:
                response = cast(HttpResponseBase, self.get_response(request))
            except Exception as error:
                exchange.error = error
                observer.end(exchange)
                raise
            observer.answer(exchange, response)
        return response

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        observer = self._current()
        exchange = observer.start(request)
        with exchange:
            try:
                response = await cast(Awaitable[HttpResponseBase], self.get_response(request))
            except asyncio.CancelledError:
                # As Django says that the caller has gone.
                exchange.status_code = CLIENT_CLOSED_REQUEST
                observer.end(exchange)
                raise
            except Exception as error:
                exchange.error = error
                observer.end(exchange)
                raise
            observer.answer(exchange, response)
        return response

    def _current(self) -> Observer:
        """Return what observes with the process's parts, which are built after it has forked."""
        services = current_services()
        observer = self._observer
        if observer is None or observer.services is not services:
            observer = self._observer = Observer(services)
        return observer
