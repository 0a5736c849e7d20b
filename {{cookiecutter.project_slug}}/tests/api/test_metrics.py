"""The exposition over HTTP."""

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.adapters.metrics import Metrics
from app.api.application import create_app
from app.bootstrap import Services
from app.settings import Settings
from app.settings_groups import MetricsSettings


async def test_exposition(client: httpx2.AsyncClient) -> None:
    """The service's series, its process's and who it is are exposed in Prometheus's format."""
    await client.post("/orders", json={"sku": "T", "quantity": 1, "customer_email": "a@example.com"})
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    assert families["app_info"].samples[0].labels == {"service": "orders", "version": "1.2.3", "environment": "test"}
    assert "http_server_request_duration_seconds" in families
    # The scrape itself is in progress.
    assert {s.labels["method"]: s.value for s in families["http_server_active_requests"].samples} == {
        "GET": 1,
        "POST": 0,
    }
    assert {sample.labels["statement"] for sample in families["database_query_duration_seconds"].samples} >= {"INSERT"}


async def test_switched_off(settings: Settings, services: Services) -> None:
    """Without metrics there is no such path."""
    app = create_app(settings.model_copy(update={"metrics": MetricsSettings(enabled=False)}), services=services)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://service") as client:
        assert (await client.get("/metrics")).status_code == 404


async def test_start_of_the_service(settings: Settings, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the service starts it begins to tell other worker processes of itself."""
    started: list[Metrics] = []

    def start(metrics: Metrics) -> None:
        started.append(metrics)

    monkeypatch.setattr(Metrics, "start", start)
    app = create_app(settings, services=services)
    async with app.router.lifespan_context(app):
        assert started == [services.metrics]
