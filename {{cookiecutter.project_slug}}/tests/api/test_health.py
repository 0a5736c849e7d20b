"""Liveness and readiness over HTTP."""

import httpx2

from app.bootstrap import Services, bootstrap
from app.core.health import Check
from app.settings import Settings
from app.settings_groups import HealthSettings


async def fails() -> None:
    """Stand for a dependency that is away."""
    raise ConnectionError


async def test_live(client: httpx2.AsyncClient, services: Services) -> None:
    """Liveness asks no dependency: to start the process anew would mend none."""
    asked: list[str] = []

    async def probe() -> None:
        asked.append("queue")

    services.health.register(Check("queue", probe))
    response = await client.get("/livez")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert asked == []


async def test_ready(client: httpx2.AsyncClient) -> None:
    """Readiness tells name, status and duration of each check."""
    response = await client.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "ok")
    (check,) = response.json()["checks"]
    assert (check["name"], check["status"]) == ("database", "ok")
    assert check["duration"] >= 0
    assert response.headers["cache-control"] == "no-store"


async def test_not_ready(client: httpx2.AsyncClient, services: Services) -> None:
    """A required dependency that fails makes the service unready, and is named."""
    services.health.register(Check("queue", fails))
    response = await client.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (503, "failed")
    assert {check["name"]: check["status"] for check in response.json()["checks"]}["queue"] == "failed"


async def test_degraded(client: httpx2.AsyncClient, services: Services) -> None:
    """Without something that it can do without, the service is ready, and says what is missing."""
    services.health.register(Check("cache", fails, required=False))
    response = await client.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    assert {check["name"]: check["required"] for check in response.json()["checks"]} == {
        "database": True,
        "cache": False,
    }


async def test_shutting_down(client: httpx2.AsyncClient, services: Services) -> None:
    """A service that is about to stop is not ready, however healthy, and still lives."""
    services.health.shutting_down = True
    assert (await client.get("/readyz")).status_code == 503
    assert (await client.get("/livez")).status_code == 200


async def test_settings_reach_the_checks(settings: Settings) -> None:
    """How long a check may take and how long its result serves again are settings."""
    services = bootstrap(settings.model_copy(update={"health": HealthSettings(timeout=0.05, cache=60)}))
    assert (services.health.timeout, services.health.cache) == (0.05, 60)
    await services.aclose()
