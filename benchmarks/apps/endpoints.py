"""The two endpoints that every application serves, and their neighbours."""

from fastapi import FastAPI
from pydantic import BaseModel


class NewItem(BaseModel):
    """What a caller sends."""

    name: str
    price: float
    tags: list[str] = []


class Item(BaseModel):
    """What a caller gets."""

    item_id: int
    name: str
    price: float
    q: str | None = None


async def read_item(item_id: int, q: str | None = None) -> Item:
    """Return an item from a path and a query parameter."""
    return Item(item_id=item_id, name="Green tea", price=12.5, q=q)


async def create_item(item: NewItem) -> Item:
    """Return what was sent."""
    return Item(item_id=42, name=item.name, price=item.price)


async def neighbour() -> dict[str, str]:
    """Return little: nobody calls it."""
    return {"status": "ok"}


def add_endpoints(app: FastAPI) -> FastAPI:
    """Put the endpoints before all other routes, so that no application pays for routes that another lacks.

    Args:
        app: An application, with routes of its own or without.
    """
    before = list(app.router.routes)
    app.add_api_route("/items/{item_id}", read_item)
    app.add_api_route("/items", create_item, methods=["POST"], status_code=201)
    for name in ("first", "second", "third"):
        app.add_api_route(f"/neighbours/{name}", neighbour)
    own = [route for route in app.router.routes if route not in before]
    app.router.routes[:] = [*own, *before]
    return app
