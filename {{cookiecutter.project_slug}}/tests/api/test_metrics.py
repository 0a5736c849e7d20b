"""The exposition over HTTP."""

import httpx2
from prometheus_client.parser import text_string_to_metric_families


async def test_exposition(client: httpx2.AsyncClient) -> None:
    """The service's series, its process's and who it is are exposed in Prometheus's format."""
    await client.post("/orders", json={"sku": "T", "quantity": 1, "customer_email": "a@example.com"})
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    assert families["app_info"].samples[0].labels == {"service": "orders", "version": "1.2.3", "environment": "test"}
    assert {"http_server_request_duration_seconds", "http_server_active_requests"} < set(families)
    assert {sample.labels["statement"] for sample in families["database_query_duration_seconds"].samples} >= {"INSERT"}
