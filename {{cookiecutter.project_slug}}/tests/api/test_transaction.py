"""One request, one transaction."""

import httpx2
import pytest
from fastapi import FastAPI, Response
from sqlalchemy.exc import OperationalError

from app.adapters.unit_of_work import UnitOfWork
from app.api.dependencies import Orders
from app.core.errors import BusinessRuleError

ORDER = {"sku": "TEA-42", "quantity": 2, "customer_email": "ada@example.com"}


async def ids(client: httpx2.AsyncClient) -> list[str]:
    """Return the ids of all orders."""
    return [order["id"] for order in (await client.get("/orders")).json()["items"]]


@pytest.mark.parametrize("key", [None, "key-1"])
async def test_an_error_undoes_the_work(client: httpx2.AsyncClient, app: FastAPI, key: str | None) -> None:
    """What was done before an error is undone, with and without a key."""

    @app.post("/half")
    async def half(orders: Orders) -> None:
        await orders.place("T", 1, "ada@example.com")
        raise BusinessRuleError

    await client.post("/half", headers={"idempotency-key": key} if key else {})
    assert await ids(client) == []


async def test_a_server_error_undoes_the_work(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """An answer from 500 up undoes the work too."""

    @app.post("/half")
    async def half(orders: Orders) -> Response:
        await orders.place("T", 1, "ada@example.com")
        return Response(status_code=500)

    await client.post("/half")
    assert await ids(client) == []


@pytest.mark.parametrize("key", [None, "key-1"])
async def test_a_failed_commit_is_never_a_success(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    """When the commit fails the caller hears of a failure, nothing was done, and the key is free again."""
    headers = {"idempotency-key": key} if key else {}

    async def fails(_self: UnitOfWork) -> None:
        statement = "COMMIT"
        raise OperationalError(statement, {}, Exception("gone"))

    with monkeypatch.context() as patch:
        patch.setattr(UnitOfWork, "commit", fails)
        response = await client.post("/orders", json=ORDER, headers=headers)
    assert (response.status_code, response.json()["code"]) == (503, "DATABASE_ERROR")
    assert await ids(client) == []
    assert (await client.post("/orders", json=ORDER, headers=headers)).status_code == 201


async def test_the_answer_is_kept_with_the_effect(
    client: httpx2.AsyncClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order and the key's completion are one commit: when it fails, neither is there."""
    commits: list[str] = []
    commit = UnitOfWork.commit

    async def counted(self: UnitOfWork) -> None:
        commits.append("commit")
        await commit(self)

    monkeypatch.setattr(UnitOfWork, "commit", counted)
    await client.post("/orders", json=ORDER, headers={"idempotency-key": "key-1"})
    assert commits == ["commit"]
