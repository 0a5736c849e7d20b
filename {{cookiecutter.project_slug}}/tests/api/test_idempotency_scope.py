"""Whom a key belongs to, which operations look at it, and what a refusal says."""

from collections.abc import Awaitable
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import middleware
from app.api.application import create_app
from app.api.idempotency import Routes, idempotency
from app.api.routing import routes_of
from app.bootstrap import Services
from app.core.context import set_user_id
from app.core.idempotency import ANONYMOUS
from app.settings import Settings
from app.settings_groups import HttpSettings

ORDER = {"sku": "TEA-42", "quantity": 2, "customer_email": "ada@example.com"}
KEY = {"idempotency-key": "key-1"}


class CallerMiddleware:
    """Names the caller, as an authentication of the service's own would."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one request."""
        users = [value.decode() for name, value in scope.get("headers", ()) if name == b"x-user"]
        if users:
            set_user_id(users[0])
        return self.app(scope, receive, send)


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Name the caller of each request before its key is looked at."""
    monkeypatch.setattr(
        middleware, "BUILDERS", {**middleware.BUILDERS, "caller": lambda _services: Middleware(CallerMiddleware)}
    )
    order = ("observability", "errors", "body_limit", "transaction", "caller", "idempotency")
    return settings.model_copy(update={"http": HttpSettings(middleware=order)})


async def place(client: httpx2.AsyncClient, user: str | None) -> tuple[str, bool]:
    """Return the id of an order placed under one key, and whether it was replayed."""
    response = await client.post("/orders", json=ORDER, headers={**KEY, **({"x-user": user} if user else {})})
    return response.json()["id"], "idempotent-replayed" in response.headers


async def test_callers_are_apart(client: httpx2.AsyncClient) -> None:
    """Each caller has keys of its own, and never sees the answer that another one got."""
    callers = ["ada", "bob", None, "anonymous", "None", "ad"]
    first = [await place(client, caller) for caller in callers]
    assert len({order for order, _ in first}) == len(callers)
    assert not any(replayed for _, replayed in first)
    assert [await place(client, caller) for caller in callers] == [(order, True) for order, _ in first]


def test_nobody_is_called_like_the_anonymous() -> None:
    """No user can have the name under which callers without one share their keys."""
    assert ANONYMOUS == ""


@pytest.mark.parametrize("status", [400, 409, 422])
async def test_refusals_link_to_the_documentation(client: httpx2.AsyncClient, app: FastAPI, status: int) -> None:
    """A problem about a key says where the operation and its keys are described, which can be read there."""
    responses: list[httpx2.Response] = []

    @app.post("/act")
    @idempotency(required=True)
    async def act(body: dict[str, str]) -> None:
        if not responses:
            responses.append(await client.post("/act", json=body, headers=KEY))

    if status == 400:
        responses.append(await client.post("/act", json={}))
    else:
        await client.post("/act", json={}, headers=KEY)
        responses.append(await client.post("/act", json={"a": "b"}, headers=KEY))
    response = responses[0] if status == 409 else responses[-1]
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert response.headers["link"] == '</docs>; rel="describedby"; type="text/html"'
    assert (await client.get("/docs")).status_code == 200


@pytest.mark.parametrize(
    ("urls", "link"),
    [
        ({"docs_url": None}, '</openapi.json>; rel="describedby"; type="application/json"'),
        ({"openapi_url": None}, None),
    ],
)
async def test_link_without_pages(client: httpx2.AsyncClient, app: FastAPI, urls: dict[str, Any], link: str) -> None:
    """Where no page describes the service the link is to its description, or left out."""
    for name, value in urls.items():
        setattr(app, name, value)
    assert (await client.post("/orders", headers={"idempotency-key": "a b"})).headers.get("link") == link


async def test_malformed_key_of_an_unknown_path(client: httpx2.AsyncClient) -> None:
    """What nothing serves is not found, whatever its key."""
    assert (await client.post("/unknown", headers={"idempotency-key": "a b"})).status_code == 404


async def test_required_key_of_one_route(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """That one route requires a key does not concern the others."""

    @app.post("/required/{name}")
    @idempotency(required=True)
    async def required(name: str) -> None: ...

    assert (await client.post("/required/a")).status_code == 400
    assert (await client.post("/orders", json=ORDER)).status_code == 201


async def test_policy_of_the_route_that_runs(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """A route that ignores the key does so, even if a later route that heeds it fits the path too."""
    ran: list[str] = []

    @app.post("/items/special")
    @idempotency(enabled=False)
    async def special() -> None:
        ran.append("special")

    @app.post("/items/{name}")
    @idempotency(required=True)
    async def any_item(name: str) -> None:
        ran.append(name)

    for _ in range(2):
        await client.post("/items/special", headers=KEY)
    assert (await client.post("/items/other")).status_code == 400
    for _ in range(2):
        await client.post("/items/other", headers=KEY)
    assert ran == ["special", "special", "other"]


async def test_route_that_hides_a_later_one(app: FastAPI) -> None:
    """A path without a parameter belongs to the first route that fits, as for the router."""

    @app.post("/items/{name}")
    async def any_item(name: str) -> None: ...

    @app.post("/items/special")
    async def special() -> None: ...

    found = Routes(routes_of(app)).find({"method": "POST", "path": "/items/special"})
    assert found is not None
    assert found[0].template == "/items/{name}"


async def test_service_below_a_path(services: Services) -> None:
    """Behind a proxy that serves it below a path, a service treats keys as everywhere."""
    app = create_app(services.settings, services=services)
    app.root_path = "/shop"
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        for path in ("/orders", "/shop/orders"):
            key = {"idempotency-key": f"key {path}".replace(" ", "-")}
            first, again = [await client.post(path, json=ORDER, headers=key) for _ in range(2)]
            assert (first.status_code, again.json()) == (201, first.json())
            assert again.headers["idempotent-replayed"] == "true"
        refused = await client.post("/shop/orders", headers={"idempotency-key": "a b"})
        assert refused.headers["link"].startswith("</shop/docs>")


async def test_time_of_a_route(client: httpx2.AsyncClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """A route can have a time to live and a lease of its own."""
    store = app.state.services.idempotency_store
    begin, seen = store.begin, []

    async def watched(claim: Any, *, lease: float, ttl: float) -> Any:
        seen.append((lease, ttl))
        return await begin(claim, lease=lease, ttl=ttl)

    @app.post("/act")
    @idempotency(lease=7, ttl=70)
    async def act() -> None: ...

    monkeypatch.setattr(store, "begin", watched)
    await client.post("/act", headers=KEY)
    await client.post("/orders", json=ORDER, headers=KEY)
    settings = app.state.services.settings.idempotency
    assert seen == [(7, 70), (settings.lease, settings.ttl)]


@pytest.mark.parametrize("options", [{"ttl": 0}, {"lease": -1.0}])
def test_times_that_are_refused(options: dict[str, float]) -> None:
    """A duration of a route must be above zero."""
    with pytest.raises(ValueError, match=r"received (ttl=0|lease=-1.0); allowed: seconds above zero"):
        idempotency(**options)  # type: ignore[arg-type]


async def test_put_and_delete_ignore_the_key(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """On methods that are idempotent by themselves a key means nothing, however it is written."""

    async def act() -> None: ...

    methods = ["GET", "HEAD", "PUT", "DELETE"]
    app.add_api_route("/act", act, methods=methods)
    for method in methods:
        for _ in range(2):
            response = await client.request(method, "/act", headers={"idempotency-key": "a b"})
            assert (response.status_code, "idempotent-replayed" in response.headers) == (200, False)
