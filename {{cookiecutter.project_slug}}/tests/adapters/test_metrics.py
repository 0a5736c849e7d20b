"""What a scrape shows."""

import re

import pytest
from prometheus_client import REGISTRY

from app.adapters.metrics import Metrics
from app.settings import Settings


@pytest.fixture
def metrics(settings: Settings) -> Metrics:
    """Return series of the test's own."""
    return Metrics(settings)


def samples(metrics: Metrics, name: str) -> dict[str, float]:
    """Return the samples of a series by their labels."""
    found = re.findall("^" + name + r"(?:\{(.*)\})? (\S+)$", metrics.render().decode(), re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def test_who_is_speaking(metrics: Metrics) -> None:
    """One series says which service, version and environment this is."""
    assert samples(metrics, "app_info") == {'environment="test",service="orders",version="1.2.3"': 1}


def test_requests(metrics: Metrics) -> None:
    """A request is counted with its duration, under its method, route and status."""
    metrics.request_finished("GET", "/orders/{id}", 200, 0.02)
    metrics.request_finished("GET", "/orders/{id}", 200, 0.2)
    metrics.request_finished("GET", "/orders/{id}", 404, 0.2)
    ok = 'method="GET",route="/orders/{id}",status_code="200"'
    assert samples(metrics, "http_server_request_duration_seconds_count")[ok] == 2
    assert samples(metrics, "http_server_request_duration_seconds_sum")[ok] == pytest.approx(0.22)
    buckets = samples(metrics, "http_server_request_duration_seconds_bucket")
    assert [buckets[f'le="{le}",{ok}'] for le in ("0.005", "0.025", "0.25", "+Inf")] == [0, 1, 2, 2]


def test_active_requests(metrics: Metrics) -> None:
    """Requests in progress go up and down."""
    metrics.request_started("GET")
    metrics.request_started("GET")
    metrics.request_finished("GET", "/", 200, 0.02)
    assert samples(metrics, "http_server_active_requests") == {'method="GET"': 1}


def test_outcomes_of_keyed_requests(metrics: Metrics) -> None:
    """Requests with a key are counted by what became of them."""
    for outcome in ("run", "replay", "replay"):
        metrics.idempotency(outcome)
    assert samples(metrics, "idempotency_requests_total") == {'outcome="run"': 1, 'outcome="replay"': 2}


def test_log_lines(metrics: Metrics) -> None:
    """Log lines are counted by level."""
    metrics.log_record("info")
    assert samples(metrics, "log_records_total") == {'level="info"': 1}


def test_statements(metrics: Metrics) -> None:
    """Statements are counted with their duration, by kind."""
    metrics.query_finished("SELECT", 0.001)
    assert samples(metrics, "database_query_duration_seconds_count") == {'statement="SELECT"': 1}


def test_process(metrics: Metrics) -> None:
    """The process and the interpreter report on themselves."""
    text = metrics.render().decode()
    assert "python_info{" in text
    assert "python_gc_collections_total{" in text


def test_no_creation_times(metrics: Metrics) -> None:
    """No series is doubled by the time it was made."""
    metrics.idempotency("run")
    assert "_created" not in metrics.render().decode()


def test_label_values_are_escaped(metrics: Metrics) -> None:
    """A value with quotes or line breaks does not break the exposition."""
    metrics.idempotency('a"b\nc\\')
    assert r'outcome="a\"b\nc\\"' in metrics.render().decode()


def test_two_applications_in_one_process(settings: Settings) -> None:
    """Each has numbers of its own, and nothing goes into the library's global registry."""
    before = {metric.name for metric in REGISTRY.collect()}
    first, second = Metrics(settings), Metrics(settings)
    first.idempotency("run")
    assert samples(second, "idempotency_requests_total") == {}
    assert {metric.name for metric in REGISTRY.collect()} == before
