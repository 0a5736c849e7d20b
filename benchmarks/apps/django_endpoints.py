"""The two endpoints on Django Ninja, for code with an event loop and without one."""

from typing import Any

from django.http import HttpRequest
from ninja import NinjaAPI, Router

from .endpoints import Item, NewItem


def read_item(request: HttpRequest, item_id: int, q: str | None = None) -> Item:  # noqa: ARG001 -- as Ninja calls it
    """Return an item from a path and a query parameter."""
    return Item(item_id=item_id, name="Green tea", price=12.5, q=q)


def create_item(request: HttpRequest, item: NewItem) -> tuple[int, Item]:  # noqa: ARG001 -- as Ninja calls it
    """Return what was sent."""
    return 201, Item(item_id=42, name=item.name, price=item.price)


async def read_item_async(request: HttpRequest, item_id: int, q: str | None = None) -> Item:
    """Do the same on an event loop."""
    return read_item(request, item_id, q)


async def create_item_async(request: HttpRequest, item: NewItem) -> tuple[int, Item]:
    """Do the same on an event loop."""
    return create_item(request, item)


def router() -> Router:
    """Return the endpoints under /items and, for an event loop, under /async/items."""
    made = Router()
    for prefix, read, create in (("", read_item, create_item), ("/async", read_item_async, create_item_async)):
        made.get(f"{prefix}/items/{'{'}item_id{'}'}", response=Item)(read)
        made.post(f"{prefix}/items", response={201: Item})(create)
    return made


def bare(**options: Any) -> NinjaAPI:
    """Return Django Ninja as it comes, with the endpoints."""
    api = NinjaAPI(urls_namespace="bare", openapi_url=None, **options)
    api.add_router("", router())
    return api
