"""
What every error response has in common (RFC 9457, https://www.rfc-editor.org/rfc/rfc9457).

Status of the standard: Proposed Standard, July 2023.
"""

import re
from typing import Any

from .wire import Response

CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
REQUEST_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
TYPE = re.compile(r"about:blank|[a-z][a-z0-9+.-]*:\S+|/\S*")
URI_REFERENCE = re.compile(r"([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
INTERNALS = ("Traceback", 'File "', "site-packages", "sqlalchemy", "sqlite3", "psycopg", "django.")


def assert_correlated(response: Response) -> None:
    """The response says by which ids its request is found in the logs."""
    assert REQUEST_ID.fullmatch(response.header("X-Request-ID") or ""), response.headers
    assert TRACE_ID.fullmatch(response.header("X-Trace-ID") or ""), response.headers


def assert_problem(response: Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The response is a complete problem document; returns it."""
    assert response.status == status, (response.status, response.body[:500])
    assert response.header("Content-Type") == "application/problem+json"
    assert_correlated(response)
    problem: dict[str, Any] = response.json()
    _assert_members(problem, status)
    assert problem["trace_id"] == response.header("X-Trace-ID")
    assert problem["request_id"] == response.header("X-Request-ID")
    assert code in (None, problem["code"]), problem
    assert not [word for word in INTERNALS if word in response.body.decode()], problem
    return problem


def _assert_members(problem: dict[str, Any], status: int) -> None:
    assert TYPE.fullmatch(problem["type"]), problem
    assert problem["status"] == status, problem
    assert CODE.fullmatch(problem["code"]), problem
    for member in ("title", "detail", "instance"):
        assert isinstance(problem[member], str), problem
        assert problem[member], problem
    assert URI_REFERENCE.fullmatch(problem["instance"]), problem


def assert_validation(response: Response) -> list[dict[str, Any]]:
    """The response lists what is wrong with the input; returns that list."""
    errors: list[dict[str, Any]] = assert_problem(response, 422)["errors"]
    assert errors
    for error in errors:
        assert set(error) == {"loc", "msg", "type"}, error
        assert isinstance(error["loc"], list), error
        assert isinstance(error["msg"], str), error
        assert isinstance(error["type"], str), error
    return errors


def assert_retry_after(response: Response) -> None:
    """The response says in seconds when to come back."""
    seconds = response.header("Retry-After") or ""
    assert seconds.isdigit(), response.headers
    assert int(seconds) > 0, response.headers
