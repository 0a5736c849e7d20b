"""`Idempotency-Key` over HTTP, on every store."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import StreamingResponse

from app.api.idempotency import idempotency
from app.bootstrap import Services
from app.core.errors import BusinessRuleError, NotFoundError, RateLimitError, ValidationError
from app.core.idempotency_errors import IdempotencyStoreError
from app.settings import Settings

from ..conftest import Log
from ..idempotency_stores import settings_for

ORDER = {"sku": "TEA-42", "quantity": 2, "customer_email": "ada@example.com"}
KEY = {"idempotency-key": "key-1"}


@pytest.fixture(params=["sql", "memory", "redis"])
def settings(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Settings]:
    """Run each test on every store."""
    with settings_for(request.param, settings) as chosen:
        yield chosen


async def count_orders(client: httpx2.AsyncClient) -> int:
    """Return how many orders there are."""
    return len((await client.get("/orders", params={"limit": 100})).json()["items"])


async def test_replay(client: httpx2.AsyncClient) -> None:
    """A repeated request gets the first answer, byte for byte, marked as a replay; the operation does not run."""
    first = await client.post("/orders", json=ORDER, headers=KEY)
    again = await client.post("/orders", json=ORDER, headers={"idempotency-key": '"key-1"'})
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert (again.headers["idempotent-replayed"], again.headers["cache-control"]) == ("true", "no-store")
    assert "idempotent-replayed" not in first.headers
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert await count_orders(client) == 1


async def test_without_key(client: httpx2.AsyncClient) -> None:
    """Without the header each request runs."""
    for _ in range(2):
        await client.post("/orders", json=ORDER)
    assert await count_orders(client) == 2


async def test_parallel(client: httpx2.AsyncClient) -> None:
    """Of many requests at once with one key, one runs and the rest are told to wait or get its answer."""
    responses = await asyncio.gather(*(client.post("/orders", json=ORDER, headers=KEY) for _ in range(30)))
    waiting = [r for r in responses if r.status_code == 409]
    assert {r.status_code for r in responses} <= {201, 409}
    assert all(r.json()["code"] == "IDEMPOTENCY_IN_PROGRESS" and "retry-after" in r.headers for r in waiting)
    assert await count_orders(client) == 1


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/orders", {"json": {**ORDER, "quantity": 3}}),
        ("/orders?x=1", {"json": ORDER}),
        ("/orders", {"content": "{}", "headers": {**KEY, "content-type": "application/json; charset=utf-8"}}),
    ],
)
async def test_key_of_another_request(client: httpx2.AsyncClient, path: str, options: dict[str, Any]) -> None:
    """A key that was used with another body, query or content type is refused."""
    await client.post("/orders", json=ORDER, headers=KEY)
    response = await client.post(path, **{"headers": KEY, **options})
    assert (response.status_code, response.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert await count_orders(client) == 1


async def test_key_on_another_path_of_the_route(client: httpx2.AsyncClient) -> None:
    """A key is bound to the path it was used with."""
    ids = [(await client.post("/orders", json=ORDER)).json()["id"] for _ in range(2)]
    assert (await client.post(f"/orders/{ids[0]}/cancel", headers=KEY)).status_code == 200
    assert (await client.post(f"/orders/{ids[1]}/cancel", headers=KEY)).status_code == 422


async def test_key_on_another_route(client: httpx2.AsyncClient) -> None:
    """The same key on another route is another key."""
    order = (await client.post("/orders", json=ORDER, headers=KEY)).json()
    assert (await client.post(f"/orders/{order['id']}/cancel", headers=KEY)).status_code == 200


@pytest.mark.parametrize("value", ["", '""', "a b", "x" * 256, "é", "a,b", '"open', "\x7f"])
async def test_malformed_key(client: httpx2.AsyncClient, value: str) -> None:
    """A key that is not 1 to 255 visible ASCII characters is refused."""
    response = await client.post("/orders", json=ORDER, headers=[(b"idempotency-key", value.encode())])
    assert (response.status_code, response.json()["code"]) == (400, "IDEMPOTENCY_KEY_INVALID")


async def test_repeated_header(client: httpx2.AsyncClient) -> None:
    """Two keys are no key."""
    headers = [("idempotency-key", "a"), ("idempotency-key", "b")]
    assert (await client.post("/orders", json=ORDER, headers=headers)).status_code == 400


async def test_get_ignores_the_header(client: httpx2.AsyncClient) -> None:
    """Only POST and PATCH look at the header."""
    assert (await client.get("/orders", headers={"idempotency-key": "a b"})).status_code == 200


@pytest.fixture
async def calls(app: FastAPI, client: httpx2.AsyncClient) -> list[str]:
    """Return the names of the endpoints that ran; each fails or answers in a way of its own."""
    ran: list[str] = []
    outcomes: dict[str, Any] = {
        "rule": BusinessRuleError(),
        "missing": NotFoundError(),
        "http": HTTPException(418, "teapot"),
        "crash": RuntimeError("broken"),
        "rate": RateLimitError(),
        "validation": ValidationError(),
        "returned-500": Response(status_code=500),
        "empty": Response(status_code=204),
        "cookie": Response(b"\x00\xff", headers={"set-cookie": "a=b", "etag": "v1"}, media_type="image/png"),
        "stream": StreamingResponse(iter(["a", "b"]), media_type="text/plain"),
        "large": Response(b"x" * 2_000_000),
    }

    @app.post("/does/{name}")
    async def does(name: str) -> Response:
        ran.append(name)
        outcome = outcomes[name]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome  # type: ignore[no-any-return]

    return ran


@pytest.mark.parametrize(("name", "status"), [("rule", 422), ("missing", 404), ("http", 418), ("empty", 204)])
async def test_stored_answers(client: httpx2.AsyncClient, calls: list[str], name: str, status: int) -> None:
    """What the operation answered is replayed, an error of the domain too."""
    responses = [await client.post(f"/does/{name}", headers=KEY) for _ in range(2)]
    assert [r.status_code for r in responses] == [status, status]
    assert responses[0].content == responses[1].content
    assert calls == [name]


@pytest.mark.parametrize("name", ["crash", "rate", "validation", "returned-500"])
async def test_answers_that_are_not_stored(client: httpx2.AsyncClient, calls: list[str], name: str) -> None:
    """After a failure, or a refusal before the operation, the key is free again."""
    responses = [await client.post(f"/does/{name}", headers=KEY) for _ in range(2)]
    assert calls == [name, name]
    assert "idempotent-replayed" not in responses[1].headers


async def test_headers_of_a_replay(client: httpx2.AsyncClient, calls: list[str]) -> None:
    """End-to-end headers are replayed, cookies are not, and bytes stay bytes."""
    first, again = [await client.post("/does/cookie", headers=KEY) for _ in range(2)]
    assert (again.content, again.headers["etag"], again.headers["content-type"]) == (b"\x00\xff", "v1", "image/png")
    assert "set-cookie" in first.headers
    assert "set-cookie" not in again.headers


@pytest.mark.parametrize(("name", "length"), [("stream", 2), ("large", 2_000_000)])
async def test_answer_that_cannot_be_kept(client: httpx2.AsyncClient, calls: list[str], name: str, length: int) -> None:
    """A streamed or very large answer arrives; a repetition is told that the operation ran, and does not run it."""
    first, again = [await client.post(f"/does/{name}", headers=KEY) for _ in range(2)]
    assert (first.status_code, len(first.content)) == (200, length)
    assert (again.status_code, again.json()["code"]) == (409, "IDEMPOTENCY_NOT_REPLAYABLE")
    assert calls == [name]


async def test_policy_of_a_route(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """A route can require the header, or ignore it."""
    ran: list[str] = []

    @app.post("/required")
    @idempotency(required=True)
    async def required() -> None:
        ran.append("required")

    @app.post("/ignored")
    @idempotency(enabled=False)
    async def ignored() -> None:
        ran.append("ignored")

    missing = await client.post("/required")
    assert (missing.status_code, missing.json()["code"]) == (400, "IDEMPOTENCY_KEY_MISSING")
    for _ in range(2):
        await client.post("/ignored", headers=KEY)
    assert ran == ["ignored", "ignored"]


@pytest.mark.parametrize(("on_failure", "status"), [("reject", 503), ("run", 201)])
async def test_store_failure(
    client: httpx2.AsyncClient,
    services: Services,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
    on_failure: str,
    status: int,
) -> None:
    """Without the store a request is refused, or runs unprotected with a warning, and is counted."""

    async def fails(*_: Any, **__: Any) -> None:
        raise IdempotencyStoreError

    monkeypatch.setattr(services.idempotency_store, "begin", fails)
    monkeypatch.setitem(services.settings.idempotency.__dict__, "on_store_failure", on_failure)
    response = await client.post("/orders", json=ORDER, headers=KEY)
    assert response.status_code == status
    assert 'idempotency_requests_total{outcome="store_error"} 1' in services.metrics.render().decode()
    assert ("retry-after" in response.headers) == (status == 503)
    assert len(log.named("idempotency.unprotected")) == (on_failure == "run")


async def test_outcomes_are_counted(client: httpx2.AsyncClient, services: Services) -> None:
    """Each outcome is counted."""
    for body in (ORDER, ORDER, {**ORDER, "quantity": 9}):
        await client.post("/orders", json=body, headers=KEY)
    text = services.metrics.render().decode()
    for outcome in ("run", "replay", "mismatch"):
        assert f'outcome="{outcome}"' + "} 1" in text


async def test_the_key_is_never_logged(client: httpx2.AsyncClient, log: Log) -> None:
    """The key is in no log line."""
    await client.post("/orders", json=ORDER, headers={"idempotency-key": "my-private-key-1"})
    assert "my-private-key-1" not in "".join(log)


async def test_replay_keeps_the_route(client: httpx2.AsyncClient, log: Log) -> None:
    """A replay is logged under the route that it replays."""
    for _ in range(2):
        await client.post("/orders", json=ORDER, headers=KEY)
    assert [line["route"] for line in log.named("http.request")] == ["/orders", "/orders"]
