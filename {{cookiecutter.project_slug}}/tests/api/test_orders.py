"""Orders over HTTP."""

import httpx2
import pytest

ORDER = {"sku": "TEA-42", "quantity": 2, "customer_email": "ada@example.com"}


async def test_place_order(client: httpx2.AsyncClient) -> None:
    """A placed order is pending and can be read where Location says."""
    placed = await client.post("/orders", json=ORDER)
    assert placed.status_code == 201
    assert set(placed.json()) == {"id", "sku", "quantity", "status", "created_at"}
    assert placed.json()["status"] == "pending"
    assert (await client.get(placed.headers["location"])).json() == placed.json()


async def test_newest_first(client: httpx2.AsyncClient) -> None:
    """A list has the newest order first, and no more than the limit."""
    ids = [(await client.post("/orders", json=ORDER)).json()["id"] for _ in range(3)]
    listed = (await client.get("/orders", params={"limit": 2})).json()["items"]
    assert [order["id"] for order in listed] == [ids[2], ids[1]]


@pytest.mark.parametrize("limit", ["0", "101", "x", "1.5"])
async def test_limit_out_of_range(client: httpx2.AsyncClient, limit: str) -> None:
    """A limit outside 1 to 100 is refused."""
    assert (await client.get("/orders", params={"limit": limit})).status_code == 422


async def test_cancel_once(client: httpx2.AsyncClient) -> None:
    """An order can be cancelled once."""
    order_id = (await client.post("/orders", json=ORDER)).json()["id"]
    assert (await client.post(f"/orders/{order_id}/cancel")).json()["status"] == "cancelled"
    again = await client.post(f"/orders/{order_id}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "ORDER_NOT_CANCELLABLE")


@pytest.mark.parametrize("order_id", ["0b7e3c52-5f0e-4a53-9c8e-0f6e2f4a9d11", "nope", "%00", "%F0%9F%9A%80"])
async def test_unknown_order(client: httpx2.AsyncClient, order_id: str) -> None:
    """An id that names no order is not found, whatever it looks like."""
    for response in (await client.get(f"/orders/{order_id}"), await client.post(f"/orders/{order_id}/cancel")):
        assert (response.status_code, response.json()["code"]) == (404, "ORDER_NOT_FOUND")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sku", ""),
        ("sku", "a\x00b"),
        ("sku", "x" * 65),
        ("sku", 7),
        ("quantity", 0),
        ("quantity", 1001),
        ("quantity", True),
        ("quantity", "2"),
        ("quantity", 1.5),
        ("quantity", 10**30),
        ("customer_email", "nobody"),
        ("customer_email", None),
        ("colour", "red"),
    ],
)
async def test_invalid_field(client: httpx2.AsyncClient, field: str, value: object) -> None:
    """A wrong or unknown field is named, and its value is not repeated."""
    response = await client.post("/orders", json={**ORDER, field: value})
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", field]
    assert set(response.json()["errors"][0]) == {"loc", "msg", "type"}


@pytest.mark.parametrize("email", ["ada+tag@example.co.uk", "o'brien@shop.test", "ü@exämple.de"])
async def test_unusual_address(client: httpx2.AsyncClient, email: str) -> None:
    """An address that is unusual and valid is taken."""
    assert (await client.post("/orders", json={**ORDER, "customer_email": email})).status_code == 201


async def test_integral_number(client: httpx2.AsyncClient) -> None:
    """JSON does not tell 2.0 from 2."""
    response = await client.post(
        "/orders",
        content='{"sku":"T","quantity":2.0,"customer_email":"a@example.com"}',
        headers={"content-type": "application/json"},
    )
    assert (response.status_code, response.json()["quantity"]) == (201, 2)
