"""The service's Prometheus series (https://prometheus.io/docs/instrumenting/exposition_formats/).

Every series has a registry of its own, so that two applications in one process, as in tests, do not share numbers.
"""

from functools import lru_cache

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from ..settings import Settings

# Seconds; the buckets that OpenTelemetry advises for HTTP
# (https://opentelemetry.io/docs/specs/semconv/http/http-metrics/).
DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


class Metrics:
    """All series of the service.

    Args:
        settings: Who is speaking.

    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, settings: Settings) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self._requests = Histogram(
            "http_server_request_duration_seconds",
            "How long requests took.",
            ["method", "route", "status_code"],
            registry=registry,
            buckets=DURATIONS,
        )
        self._active = Gauge("http_server_active_requests", "Requests in progress.", ["method"], registry=registry)
        self._idempotency = Counter(
            "idempotency_requests",
            "Requests with a key, by what became of them.",
            ["outcome"],
            registry=registry,
        )
        self._log_records = Counter("log_records", "Log lines written.", ["level"], registry=registry)
        self._queries = Histogram(
            "database_query_duration_seconds",
            "How long statements took.",
            ["statement"],
            registry=registry,
            buckets=DURATIONS,
        )
        info = Gauge("app_info", "Always 1.", ["service", "version", "environment"], registry=registry)
        info.labels(settings.service_name, settings.service_version, settings.environment).set(1)
        # A child is looked up once per combination: `labels()` costs more than the observation itself.
        self._request_child = lru_cache(maxsize=4096)(self._requests.labels)
        self._active_child = lru_cache(maxsize=64)(self._active.labels)
        self._log_child = lru_cache(maxsize=8)(self._log_records.labels)

    def request_started(self, method: str) -> None:
        """Count a request that is in progress.

        Args:
            method: The HTTP method, one of a known few.

        """
        self._active_child(method).inc()

    def request_finished(self, method: str, route: str, status_code: int, seconds: float) -> None:
        """Count a request.

        Args:
            method: The HTTP method, one of a known few.
            route: The route's template, never the raw path.
            status_code: What was answered.
            seconds: How long it took.

        """
        self._active_child(method).dec()
        self._request_child(method, route, status_code).observe(seconds)

    def idempotency(self, outcome: str) -> None:
        """Count a request with a key.

        Args:
            outcome: `run`, `replay`, `in_progress`, `mismatch` or `store_error`.

        """
        self._idempotency.labels(outcome).inc()

    def log_record(self, level: str) -> None:
        """Count a log line.

        Args:
            level: The level's name.

        """
        self._log_child(level).inc()

    def query_finished(self, statement: str, seconds: float) -> None:
        """Count a statement.

        Args:
            statement: Its kind, such as `SELECT`.
            seconds: How long it took.

        """
        self._queries.labels(statement).observe(seconds)

    def render(self) -> bytes:
        """Return the exposition of all series."""
        return generate_latest(self.registry)
