"""The API's description."""

from typing import Any

import httpx2
import pytest


@pytest.fixture
async def document(client: httpx2.AsyncClient) -> dict[str, Any]:
    """Return the OpenAPI document."""
    described: dict[str, Any] = (await client.get("/openapi.json")).json()
    return described


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return each operation with its path."""
    return [(path, operation) for path, item in document["paths"].items() for operation in item.values()]


def test_errors_are_problems(document: dict[str, Any]) -> None:
    """Every error that is declared is a problem document, but for readiness, which lists its checks."""
    reference = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    declared = [
        response["content"]
        for path, operation in operations(document)
        for status, response in operation["responses"].items()
        if int(status) >= 400 and (path, status) != ("/readyz", "503")
    ]
    assert declared
    assert all(content == reference for content in declared)


def test_orders_declare_what_can_happen(document: dict[str, Any]) -> None:
    """Placing an order declares each status that it can answer with."""
    declared = set(document["paths"]["/orders"]["post"]["responses"])
    assert declared == {"201", "400", "406", "409", "413", "415", "422", "500", "503"}


def test_correlation_headers(document: dict[str, Any]) -> None:
    """Every response declares the ids that it carries."""
    for _, operation in operations(document):
        for response in operation["responses"].values():
            assert {"X-Request-ID", "X-Trace-ID"} <= set(response["headers"])


def test_bounds_are_described(document: dict[str, Any]) -> None:
    """A field's bounds stand in the schema in the words of JSON Schema."""
    quantity = document["components"]["schemas"]["NewOrder"]["properties"]["quantity"]
    assert (quantity["type"], quantity["minimum"], quantity["maximum"]) == ("integer", 1, 1000)


async def test_docs(client: httpx2.AsyncClient) -> None:
    """The description has a page to read it on."""
    response = await client.get("/docs")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
