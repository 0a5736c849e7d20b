"""The API describes itself, errors included."""

import json
from typing import Any

import pytest

from .server import Service

Document = dict[str, Any]
Operation = tuple[str, str]
OPERATIONS = {
    ("post", "/orders"): {"201", "400", "409", "413", "415", "422", "500", "503"},
    ("get", "/orders"): {"200", "406", "422", "500", "503"},
    ("get", "/orders/{}"): {"200", "404", "406", "500", "503"},
    ("post", "/orders/{}/cancel"): {"200", "400", "404", "409", "422", "500", "503"},
    ("get", "/livez"): {"200"},
    ("get", "/readyz"): {"200", "503"},
}


@pytest.fixture(scope="module")
def document(service: Service) -> Document:
    """The service's OpenAPI document."""
    response = service.get("/openapi.json")
    assert response.status == 200
    parsed: Document = response.json()
    return parsed


def _operation(document: Document, method: str, template: str) -> Document:
    paths = {_bare(path): item for path, item in document["paths"].items()}
    operation: Document = paths[template][method]
    return operation


def _bare(path: str) -> str:
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def test_docs(service: Service) -> None:
    """The description is there for humans too."""
    response = service.get("/docs")
    assert response.status == 200
    assert (response.header("Content-Type") or "").startswith("text/html")


def test_version(document: Document) -> None:
    """The document is OpenAPI 3 and names the service."""
    assert document["openapi"].startswith("3.")
    assert document["info"]["title"]


@pytest.mark.parametrize(("operation", "statuses"), OPERATIONS.items(), ids=[" ".join(name) for name in OPERATIONS])
def test_responses_are_declared(document: Document, operation: Operation, statuses: set[str]) -> None:
    """Every response that can occur is declared."""
    assert statuses <= set(_operation(document, *operation)["responses"])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_errors_are_problems(document: Document, operation: Operation) -> None:
    """Every declared error is a problem document."""
    for status, response in _operation(document, *operation)["responses"].items():
        if status >= "400" and operation[1] != "/readyz":
            assert list(response["content"]) == ["application/problem+json"], status


@pytest.mark.parametrize("path", ["/orders", "/orders/{}/cancel"])
def test_key_is_declared(document: Document, path: str) -> None:
    """Operations that take an Idempotency-Key say so, as a parameter or in words."""
    operation = _operation(document, "post", path)
    names = [parameter["name"] for parameter in operation.get("parameters", [])]
    assert "Idempotency-Key" in names or "Idempotency-Key" in operation["description"]


def test_no_framework_leftovers(document: Document) -> None:
    """The framework's own error shape is not described: the service never answers with it."""
    assert "HTTPValidationError" not in json.dumps(document)
