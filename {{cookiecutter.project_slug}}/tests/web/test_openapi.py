"""The API's description."""

from typing import Any

import pytest
from django.test import Client

from app.web.bootstrap import Services

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def document(client: Client) -> dict[str, Any]:
    """Return the OpenAPI document."""
    response = client.get("/openapi.json")
    assert response["content-type"] == "application/json"
    described: dict[str, Any] = response.json()
    return described


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return each operation with its path."""
    return [(path, operation) for path, item in document["paths"].items() for operation in item.values()]


def test_version(document: dict[str, Any], services: Services) -> None:
    """The document says which OpenAPI it speaks, and whose it is."""
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"]
    assert document["info"]["version"]


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
    responses = document["paths"]["/orders"]["post"]["responses"]
    assert set(responses) == {"201", "400", "406", "409", "413", "415", "422", "500", "503"}
    assert "Retry-After" in responses["503"]["headers"]


def test_correlation_headers(document: dict[str, Any]) -> None:
    """Every response declares the ids that it carries."""
    for _, operation in operations(document):
        for response in operation["responses"].values():
            assert {"X-Request-ID", "X-Trace-ID"} <= set(response["headers"])


def test_names(document: dict[str, Any]) -> None:
    """Each operation has a tag, a description and a name of its own by which generated clients call it."""
    found = [operation for _, operation in operations(document)]
    assert all(operation["tags"] and operation["description"] and operation["summary"] for operation in found)
    names = [operation["operationId"] for operation in found]
    assert {"place_order", "list_orders", "get_order", "cancel_order"} <= set(names)
    assert len(set(names)) == len(names)


def test_bounds_are_described(document: dict[str, Any]) -> None:
    """A field's bounds stand in the schema in the words of JSON Schema."""
    quantity = document["components"]["schemas"]["NewOrder"]["properties"]["quantity"]
    assert (quantity["type"], quantity["minimum"], quantity["maximum"]) == ("integer", 1, 1000)


def test_made_once(client: Client, document: dict[str, Any]) -> None:
    """Asking again gives the same document."""
    assert client.get("/openapi.json").json() == document


def test_docs(client: Client) -> None:
    """The description has a page to read it on."""
    response = client.get("/docs")
    assert (response.status_code, response["content-type"]) == (200, "text/html; charset=utf-8")
