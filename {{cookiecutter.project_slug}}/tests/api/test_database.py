"""A database that goes away costs requests an answer that says so, and is used again without anybody's help."""

from collections.abc import Iterator

import httpx2
import pytest

from app.adapters.database_connection import database_address
from app.api.application import create_app
from app.bootstrap import bootstrap
from app.migrations import migrate
from app.settings import Settings
from app.settings_groups import DatabaseSettings

from ..servers import Server, private_postgresql, silent_server


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a PostgreSQL that may be stopped, with the service's tables."""
    with private_postgresql() as own:
        migrate(database_address(Settings(database_url=own.url)))
        yield own


async def test_service_outlives_its_database(server: Server, settings: Settings) -> None:
    """While the database is away requests are answered 503 with a time to try again; then they work, without help."""
    own = settings.model_copy(update={"database_url": server.url})
    services = bootstrap(own)
    app = create_app(own, services=services)
    transport = httpx2.ASGITransport(app=app)
    order = {"sku": "TEA-42", "quantity": 2, "customer_email": "@".join(["ada", "example.com"])}
    async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport, base_url="http://s") as client:
        assert (await client.post("/orders", json=order)).status_code == 201
        server.stop()
        for method, body in (("POST", order), ("GET", None)):
            away = await client.request(method, "/orders", json=body)
            assert (away.status_code, away.json()["code"]) == (503, "DATABASE_ERROR")
            assert int(away.headers["retry-after"]) >= 1
        server.start()
        assert (await client.post("/orders", json=order)).status_code == 201
        exposition = (await client.get("/metrics")).text
    assert 'database_errors_total{reason="unavailable"} 2.0' in exposition


async def test_service_with_a_silent_database(settings: Settings) -> None:
    """A database that says nothing costs a request the time to connect, not more, and is an outage too."""
    with silent_server() as port:
        own = settings.model_copy(
            update={
                "database_url": f"postgresql+psycopg://me@127.0.0.1:{port}/x",
                "database": DatabaseSettings(connect_timeout=0.05),
            }
        )
        app = create_app(own, services=bootstrap(own))
        transport = httpx2.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url="http://s") as client,
        ):
            away = await client.get("/orders")
    assert (away.status_code, "retry-after" in away.headers) == (503, True)
