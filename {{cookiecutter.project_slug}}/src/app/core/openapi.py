"""The OpenAPI document: every error that an operation can answer is declared, as a problem document."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from .problem import MEDIA_TYPE, phrase

# What any operation can answer, whoever wrote it.
ALWAYS = (400, 413, 500)
# What reading a body adds.
WITH_BODY = (415, 422)
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds after which to try again.",
        "schema": {"type": "integer", "minimum": 0},
    }
}
_CORRELATION = {
    "X-Request-ID": {
        "description": "The id of this request.",
        "schema": {"type": "string", "maxLength": 128},
    },
    "X-Trace-ID": {
        "description": "The id of the trace that this request belongs to.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    },
}


class FieldError(BaseModel):
    """What is wrong with one field; the rejected value is not repeated."""

    loc: list[str | int]
    msg: str
    type: str


class Problem(BaseModel):
    """An error, as RFC 9457 describes it."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["about:blank"])
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    instance: str
    code: str = Field(pattern="^[A-Z][A-Z0-9_]*$")
    trace_id: str
    request_id: str
    errors: list[FieldError] | None = None


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what declares that an operation can answer with these errors.

    Args:
        statuses: The HTTP statuses; those that any operation can answer are added.

    """
    return {status: _response(status) for status in sorted({*statuses, *ALWAYS})}


def _response(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    headers = _RETRY_AFTER if status in (429, 503) else {}
    return {
        "description": phrase(status),
        "content": {MEDIA_TYPE: {"schema": schema}},
        "headers": headers,
    }


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """Add to a document what no framework knows: the problem's schema, and the headers that every response has.

    Args:
        document: An OpenAPI document; it is changed and returned.

    """
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}), Problem=problem)
    for path in document["paths"].values():
        for operation in path.values():
            for response in operation["responses"].values():
                response["headers"] = {**_CORRELATION, **response.get("headers", {})}
    return document
