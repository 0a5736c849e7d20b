"""Templates and methods of routes."""

import httpx2
from fastapi import APIRouter, FastAPI

from app.api.routing import allowed_methods, routes_of

from ..conftest import Log


async def test_template_of_nested_routers(client: httpx2.AsyncClient, app: FastAPI, log: Log) -> None:
    """A route of a router within a router is named with all its prefixes."""
    inner, outer = APIRouter(prefix="/{shop}"), APIRouter(prefix="/shops")

    @inner.get("/items/{item}")
    async def item(shop: str, item: str) -> None: ...

    outer.include_router(inner)
    app.include_router(outer)
    await client.get("/shops/7/items/8")
    assert log.named("http.request")[0]["route"] == "/shops/{shop}/items/{item}"


async def test_template_of_the_documentation(client: httpx2.AsyncClient, log: Log) -> None:
    """FastAPI's own routes are named too."""
    await client.get("/openapi.json")
    assert log.named("http.request")[0]["route"] == "/openapi.json"


async def test_unmatched(client: httpx2.AsyncClient, log: Log) -> None:
    """A path that nobody serves has one template for all."""
    await client.get("/nowhere/1")
    assert log.named("http.request")[0]["route"] == "unmatched"


def test_allowed_methods(app: FastAPI) -> None:
    """A path has the methods of all its routes."""
    assert allowed_methods(app, "/orders") == ["GET", "POST"]
    assert {"/orders", "/orders/{order_id}", "/livez", "/metrics"} < {route.template for route in routes_of(app)}
