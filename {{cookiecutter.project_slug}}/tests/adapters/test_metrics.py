"""What a scrape shows."""

import re
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from app.adapters.delivery import Account
from app.adapters.logging import LogHealth
from app.adapters.metrics import Metrics
from app.core.connection_pool import PoolState
from app.core.metrics import LIMIT, OWN, gauge
from app.settings import Settings
from app.settings_groups import MetricsSettings


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
    metrics.request_finished("GET", "/orders", 200, 0.01)
    assert samples(metrics, "http_server_active_requests") == {'method="GET"': 1}


def test_outcomes_of_keyed_requests(metrics: Metrics) -> None:
    """Requests with a key are counted by what became of them."""
    for outcome in ("run", "replay", "replay"):
        metrics.idempotency(outcome)
    counted = {labels: value for labels, value in samples(metrics, "idempotency_requests_total").items() if value}
    assert counted == {'outcome="run"': 1, 'outcome="replay"': 2}


def test_log_lines(metrics: Metrics) -> None:
    """Log lines are counted by level."""
    metrics.log_record("info")
    assert samples(metrics, "log_records_total")['level="info"'] == 1


def test_statements(metrics: Metrics) -> None:
    """Statements are counted with their duration, by kind."""
    metrics.query_finished("SELECT", 0.001, 3)
    metrics.query_finished("SELECT", 0.2)
    metrics.query_finished("CREATE", 0.001, -1)
    select, create = 'statement="SELECT"', 'statement="CREATE"'
    assert samples(metrics, "database_query_duration_seconds_count") == {select: 2, create: 1}
    assert samples(metrics, "database_query_duration_seconds_sum")[select] == pytest.approx(0.201)
    assert samples(metrics, "database_query_duration_seconds_bucket")[f'le="0.005",{select}'] == 1
    assert samples(metrics, "database_rows_total") == {select: 3, create: 0}


def test_slow_and_failed_statements(metrics: Metrics) -> None:
    """Slow statements are counted by kind, from the first statement on; errors by reason, from the start."""
    assert samples(metrics, "database_errors_total")['reason="unavailable"'] == 0
    metrics.query_finished("SELECT", 1)
    assert samples(metrics, "database_slow_queries_total") == {'statement="SELECT"': 0}
    metrics.slow_query("SELECT")
    metrics.database_failed("timeout")
    assert samples(metrics, "database_slow_queries_total") == {'statement="SELECT"': 1}
    assert samples(metrics, "database_errors_total")['reason="timeout"'] == 1


def test_queries_of_requests(metrics: Metrics) -> None:
    """Statements of a request are counted under its method and route."""
    metrics.request_queries("GET", "/orders", 3)
    metrics.request_queries("GET", "/orders", 70)
    buckets = samples(metrics, "http_server_request_queries_bucket")
    assert [buckets[f'le="{le}",method="GET",route="/orders"'] for le in ("2.0", "5.0", "50.0", "100.0")] == [
        0,
        1,
        1,
        2,
    ]


def test_pool(metrics: Metrics) -> None:
    """The pool is read at the scrape: its connections, who waits, and who did in vain."""
    metrics.watch_pool(lambda: PoolState(in_use=3, idle=2, limit=15, waiting=4, timeouts=1))
    metrics.connection_awaited(0.002)
    assert samples(metrics, "database_pool_connections") == {'state="in_use"': 3, 'state="idle"': 2}
    assert samples(metrics, "database_pool_limit") == {"": 15}
    assert samples(metrics, "database_pool_waiting") == {"": 4}
    assert samples(metrics, "database_pool_timeouts_total") == {"": 1}
    assert samples(metrics, "database_pool_wait_seconds_count") == {"": 1}


def test_known_values_are_there_at_zero(metrics: Metrics) -> None:
    """Outcomes and levels that alerts watch are there before they happen: a rise from nothing is no rise."""
    assert samples(metrics, "idempotency_requests_total")['outcome="store_error"'] == 0
    assert samples(metrics, "log_records_total")['level="error"'] == 0
    assert samples(metrics, "error_reports_total")['outcome="failed",reporter="log"'] == 0


@pytest.mark.parametrize(
    ("count", "name", "labels"),
    [
        (
            lambda m: m.call_finished("GET", "api.example.com", 200, 0.1),
            "http_client_request_duration_seconds",
            'method="GET",server="api.example.com",status_code="200"',
        ),
        (
            lambda m: m.call_finished("GET", "api.example.com", None, 0.1),
            "http_client_request_duration_seconds",
            'method="GET",server="api.example.com",status_code="error"',
        ),
        (
            lambda m: m.cache_operation("orders", "get", "hit", 0.1),
            "cache_operation_duration_seconds",
            'cache="orders",operation="get",outcome="hit"',
        ),
        (
            lambda m: (m.task_started("t"), m.task_finished("t", "success", 0.1)),
            "task_duration_seconds",
            'outcome="success",task="t"',
        ),
    ],
)
def test_operations(metrics: Metrics, count: Callable[[Metrics], object], name: str, labels: str) -> None:
    """Operations of the service's parts are counted with their duration; until then they are no series."""
    assert name not in metrics.render().decode()
    count(metrics)
    count(metrics)
    assert samples(metrics, f"{name}_count") == {labels: 2}
    assert samples(metrics, f"{name}_sum")[labels] == pytest.approx(0.2)


def test_operations_in_progress(metrics: Metrics) -> None:
    """Tasks in progress go up and down."""
    metrics.task_started("t")
    assert samples(metrics, "task_active") == {'task="t"': 1}
    metrics.task_finished("t", "success", 0.1)
    assert samples(metrics, "task_active") == {'task="t"': 0}


def test_error_reports(metrics: Metrics) -> None:
    """Reports of errors are counted by destination and outcome."""
    metrics.error_reported("sentry", "failed")
    assert samples(metrics, "error_reports_total")['outcome="failed",reporter="sentry"'] == 1


def test_lost_log_lines(metrics: Metrics) -> None:
    """What became of log lines is read at the scrape; a new account that begins at 0 takes nothing back."""
    accounts = [Account(dropped=3, failed_writes=1, queued_bytes=10), Account(dropped=1)]
    metrics.watch_log(lambda: LogHealth({"stdout": accounts.pop(0)}))
    metrics.render()
    text = metrics.render().decode()
    assert 'log_lines_dropped_total{sink="stdout"} 4.0' in text
    assert 'log_write_failures_total{sink="stdout"} 1.0' in text
    assert 'log_queue_bytes{sink="stdout"} 0.0' in text


def test_too_many_routes(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of combinations beyond the limit count as one, and those in progress come back to zero."""
    monkeypatch.setattr(OWN, "limit", LIMIT)
    metrics = Metrics(settings.model_copy(update={"metrics": MetricsSettings(max_combinations=100)}))
    for number in range(103):
        metrics.request_started("GET")
        metrics.request_finished("GET", f"/{number}", 200, 0.1)
    other = 'method="_OTHER",route="_OTHER",status_code="_OTHER"'
    assert samples(metrics, "http_server_request_duration_seconds_count")[other] == 3
    assert samples(metrics, "http_server_active_requests") == {'method="GET"': 0}
    assert samples(metrics, "metrics_label_overflows_total") == {'metric="http_server_request_duration_seconds"': 3}
    assert OWN.limit == 100


def test_own_series_are_shown(metrics: Metrics) -> None:
    """Series of the service's own code stand beside the built-in ones."""
    gauge("shown_own_size", "Own.").set(3)
    assert samples(metrics, "shown_own_size") == {"": 3}


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
    assert samples(second, "idempotency_requests_total")['outcome="run"'] == 0
    assert {metric.name for metric in REGISTRY.collect()} == before
