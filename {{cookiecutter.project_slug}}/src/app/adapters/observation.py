"""What the outermost middleware does for a request, whichever framework it is of: ids, span, metrics, access line.

It runs for every request, so it is written for speed: no object that is not needed, nothing computed twice, and a
framework's middleware inherits it, for a further object in between would cost each request.
"""

import time
from collections.abc import Collection, Sequence
from typing import TypeVar

from opentelemetry.trace import Span, SpanKind, StatusCode

from ..core.access_log import METHODS, OTHER_METHOD, SERVER_ERROR, log_request
from ..core.queries import QueryCount
from ..core.query_warnings import ManyQueries
from ..core.tracing import Trace, accept_correlation_id, accept_request_id, continue_trace, read_trace
from .metrics import Metrics
from .tracing import Tracing, record_error

NOTHING: Sequence[str] = ()


class Exchange:
    """One request and what became of it.

    Args:
        method: Its method, as the caller sent it.
        trace: Its position.
        request_id: Its id.

    """

    __slots__ = (
        "correlation_id", "error", "label", "method", "parent", "request_id", "span", "started", "status_code", "trace",
        "user_agent",
    )  # fmt: skip

    def __init__(self, method: str, trace: Trace, request_id: str) -> None:
        self.method = method
        # One of a known few, or a caller could make as many series as it likes.
        self.label = method if method in METHODS else OTHER_METHOD
        self.trace = trace
        self.parent: Trace | None = None
        self.request_id = request_id
        self.correlation_id: str | None = None
        self.user_agent: str | None = None
        # What is recorded, if anything is.
        self.span: Span | None = None
        self.status_code = 0
        # What got past everything that answers errors.
        self.error: BaseException | None = None
        self.started = time.perf_counter()


AnExchange = TypeVar("AnExchange", bound=Exchange)


class Observation:
    """Gives requests their ids and reports on them when they end.

    Args:
        tracing: What starts spans.
        metrics: What counts requests.
        quiet_paths: Paths without an access line, such as probes.
        many_queries: More statements than this in one request are a warning; 0: never.

    """

    def __init__(
        self, *, tracing: Tracing, metrics: Metrics, quiet_paths: Collection[str] = (), many_queries: int = 0
    ) -> None:
        self.tracing = tracing
        self.metrics = metrics
        self._quiet_paths = frozenset(quiet_paths)
        self._many_queries = ManyQueries(many_queries)

    def begin(
        self,
        kind: type[AnExchange],
        method: str,
        traceparents: Sequence[str],
        tracestates: Sequence[str],
        request_ids: Sequence[str],
        correlation_ids: Sequence[str],
    ) -> AnExchange:
        """Return an exchange with its ids, counted as begun; whether it is recorded is the flag of its trace.

        Args:
            kind: Which exchange.
            method: The request's method.
            traceparents: The values of all headers of this name, and so on.
            tracestates: As above.
            request_ids: As above.
            correlation_ids: As above.

        """
        parent = read_trace(traceparents, tracestates)
        trace = self.tracing.decide(continue_trace(parent), parent)
        exchange = kind(method, trace, accept_request_id(request_ids))
        exchange.parent = parent
        if correlation_ids:
            exchange.correlation_id = accept_correlation_id(correlation_ids)
        self.metrics.request_started(exchange.label)
        return exchange

    def start_span(self, exchange: Exchange, path: str, scheme: str) -> Span:
        """Return the span of a request that is recorded."""
        label = exchange.label
        attributes = {"http.request.method": label, "url.path": path, "url.scheme": scheme}
        return self.tracing.start_at(exchange.trace, label, SpanKind.SERVER, exchange.parent, attributes)

    def finish(
        self,
        exchange: Exchange,
        route: str,
        path: str,
        client_ip: str | None,
        queries: QueryCount | None,
        answered: BaseException | None,
    ) -> None:
        """Report on a request that is over.

        Args:
            exchange: The request.
            route: The template that it matched.
            path: What it asked for.
            client_ip: Who asked.
            queries: The statements that it sent, if any.
            answered: The error that became its answer, if one did.

        """
        seconds = time.perf_counter() - exchange.started
        status_code = exchange.status_code or SERVER_ERROR
        error = exchange.error or answered
        self.metrics.request_finished(exchange.label, route, status_code, seconds)
        if exchange.span is not None:
            _finish_span(exchange.span, exchange.label, route, status_code, error)
        if queries is not None and queries.count:
            self._tell_queries(exchange.label, route, queries)
        # A probe that is answered 503 did its job; one that crashes is news.
        if path not in self._quiet_paths or status_code == SERVER_ERROR:
            log_request(
                exchange.method,
                route,
                status_code,
                seconds,
                path=path,
                client_ip=client_ip,
                user_agent=exchange.user_agent,
                queries=queries,
                error=error,
                is_broken=exchange.error is not None,
            )

    def _tell_queries(self, method: str, route: str, queries: QueryCount) -> None:
        self.metrics.request_queries(method, route, queries.count)
        if queries.count > self._many_queries.limit:
            self._many_queries.warn(f"{method} {route}", queries)


def _finish_span(span: Span, method: str, route: str, status_code: int, error: BaseException | None) -> None:
    """Say on the span what became of the request, and end it."""
    span.update_name(f"{method} {route}")
    span.set_attributes({"http.route": route, "http.response.status_code": status_code})
    if status_code >= SERVER_ERROR:
        span.set_status(StatusCode.ERROR)
        if error is not None:
            record_error(span, error)
    span.end()
