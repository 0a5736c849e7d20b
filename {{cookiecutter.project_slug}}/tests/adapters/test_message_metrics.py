"""The series of messages."""

import pytest

from app.adapters.message_metrics import MessageMetrics
from app.adapters.metrics import Metrics
from app.settings import Settings


@pytest.fixture
def metrics(settings: Settings) -> Metrics:
    """Return the metrics of a service."""
    return Metrics(settings)


def lines(metrics: Metrics, name: str) -> list[str]:
    """Return the lines of a series that are not 0."""
    shown = metrics.render().decode().splitlines()
    return [line for line in shown if line.startswith(name) and not line.endswith(" 0.0") and "_bucket" not in line]


def test_in_progress(metrics: Metrics) -> None:
    """Messages in progress go up and down, and their duration is taken by type and outcome."""
    messages = MessageMetrics(metrics)
    for _ in range(2):
        messages.started("a", 2.0)
    assert lines(metrics, "message_active") == ['message_active{type="a"} 2.0']
    messages.finished("a", "success", 0.5)
    messages.finished("a", "retry", 0.25)
    assert lines(metrics, "message_active") == []
    assert sorted(lines(metrics, "message_duration_seconds")) == [
        'message_duration_seconds_count{outcome="retry",type="a"} 1.0',
        'message_duration_seconds_count{outcome="success",type="a"} 1.0',
        'message_duration_seconds_sum{outcome="retry",type="a"} 0.25',
        'message_duration_seconds_sum{outcome="success",type="a"} 0.5',
    ]
    assert lines(metrics, "message_wait_seconds_sum") == ['message_wait_seconds_sum{type="a"} 4.0']


def test_counted(metrics: Metrics) -> None:
    """What is sent, refused or given up is counted, from two places as one."""
    messages = MessageMetrics(metrics)
    messages.published("a", "sent")
    MessageMetrics(metrics).published("a", "sent")
    messages.published("a", "failed")
    messages.refused("a", "expired")
    messages.queries("a", 3)
    messages.backlog(5)
    assert sorted(lines(metrics, "message_published_total")) == [
        'message_published_total{outcome="failed",type="a"} 1.0',
        'message_published_total{outcome="sent",type="a"} 2.0',
    ]
    assert lines(metrics, "message_duration_seconds_count") == [
        'message_duration_seconds_count{outcome="expired",type="a"} 1.0'
    ]
    assert lines(metrics, "message_queries_sum") == ['message_queries_sum{type="a"} 3.0']
    assert lines(metrics, "message_backlog") == ["message_backlog 5.0"]


def test_dead_letters_from_the_start(metrics: Metrics) -> None:
    """Every reason is there at 0, so that an alert sees the first rise."""
    messages = MessageMetrics(metrics)
    assert "message_dead_letters_total{" not in metrics.render().decode()
    messages.watch_dead_letters()
    assert 'message_dead_letters_total{reason="expired"} 0.0' in metrics.render().decode()
    messages.given_up("expired")
    assert lines(metrics, "message_dead_letters") == ['message_dead_letters_total{reason="expired"} 1.0']


def test_too_many_types(settings: Settings) -> None:
    """Types beyond the limit count as one, and are remembered by nobody."""
    few = settings.model_copy(update={"metrics": settings.metrics.model_copy(update={"max_combinations": 100})})
    metrics = Metrics(few)
    messages = MessageMetrics(metrics)
    for number in range(150):
        messages.started(f"t{number}")
        messages.finished(f"t{number}", "success", 0.1)
    assert len(messages._active_of) <= 100
    assert len(messages._duration_of) <= 100
    assert lines(metrics, 'message_duration_seconds_count{outcome="_OTHER"') == [
        'message_duration_seconds_count{outcome="_OTHER",type="_OTHER"} 50.0'
    ]
