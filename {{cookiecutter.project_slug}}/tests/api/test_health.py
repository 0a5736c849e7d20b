"""Liveness and readiness over HTTP."""

import httpx2

from app.bootstrap import Services
from app.core.health import Check


async def fails() -> None:
    """Stand for a dependency that is away."""
    raise ConnectionError


async def test_live(client: httpx2.AsyncClient, services: Services) -> None:
    """Liveness asks no dependency."""
    services.health.register(Check("queue", fails))
    response = await client.get("/livez")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_ready(client: httpx2.AsyncClient) -> None:
    """Readiness tells name, status and duration of each check."""
    response = await client.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "ok")
    (check,) = response.json()["checks"]
    assert (check["name"], check["status"]) == ("database", "ok")
    assert check["duration"] >= 0


async def test_not_ready(client: httpx2.AsyncClient, services: Services) -> None:
    """A required dependency that fails makes the service unready, and is named."""
    services.health.register(Check("queue", fails))
    response = await client.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (503, "failed")
    assert {check["name"]: check["status"] for check in response.json()["checks"]}["queue"] == "failed"


async def test_shutting_down(client: httpx2.AsyncClient, services: Services) -> None:
    """A service that is about to stop is not ready, however healthy, and still lives."""
    services.health.shutting_down = True
    assert (await client.get("/readyz")).status_code == 503
    assert (await client.get("/livez")).status_code == 200
