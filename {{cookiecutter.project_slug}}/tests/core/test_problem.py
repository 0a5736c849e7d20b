"""Errors as problem documents."""

import pytest

from app.core import errors, problem

IDS = {"instance": "/orders/1", "trace_id": "0af7651916cd43dd8448eb211c80319c", "request_id": "r1"}


def test_document() -> None:
    """A document has the members of RFC 9457 and those that find the error in the log."""
    assert problem.from_error(errors.NotFoundError("row 7")).document(**IDS) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "The resource does not exist.",
        "instance": "/orders/1",
        "code": "NOT_FOUND",
        "trace_id": IDS["trace_id"],
        "request_id": "r1",
    }


def test_details_are_members_and_replace_none() -> None:
    """An error's details are members of the document, but none that the document has itself."""
    error = errors.BusinessRuleError(details={"limit": 10, "status": 200, "code": "FINE", "trace_id": "x"})
    document = problem.from_error(error).document(**IDS)
    assert document["limit"] == 10
    assert (document["status"], document["code"]) == (422, "BUSINESS_RULE_VIOLATION")
    assert document["trace_id"] == IDS["trace_id"]


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (errors.NotFoundError(), {}),
        (errors.NotFoundError(retry_after=5), {"retry-after": "5"}),
        (errors.AuthenticationError(), {"www-authenticate": "Bearer"}),
        (errors.RateLimitError(), {"retry-after": "1"}),
        (errors.RateLimitError(retry_after=7), {"retry-after": "7"}),
        (errors.RateLimitError(retry_after=0), {"retry-after": "1"}),
        (errors.RateLimitError(retry_after=2.1), {"retry-after": "3"}),
        (errors.RateLimitError(retry_after=-5), {"retry-after": "1"}),
        (errors.InfrastructureError(), {"retry-after": "1"}),
    ],
)
def test_headers(error: errors.AppError, headers: dict[str, str]) -> None:
    """A status brings the headers that it needs."""
    assert problem.from_error(error).headers == headers


@pytest.mark.parametrize(
    ("status", "code", "detail"),
    [
        (404, "NOT_FOUND", "Not Found."),
        (405, "METHOD_NOT_ALLOWED", "Method Not Allowed."),
        (413, "PAYLOAD_TOO_LARGE", "Content Too Large."),
        (418, "REQUEST_ERROR", "I'm a Teapot."),
        (422, "VALIDATION_ERROR", "Unprocessable Content."),
        (499, "REQUEST_ERROR", "Error."),
        (500, "INTERNAL_ERROR", "Internal Server Error."),
        (503, "INFRASTRUCTURE_ERROR", "Service Unavailable."),
        (599, "INTERNAL_ERROR", "Error."),
    ],
)
def test_status_of_a_framework(status: int, code: str, detail: str) -> None:
    """A status that a framework answered with has a code and the phrase of RFC 9110."""
    found = problem.from_status(status)
    assert (found.status, found.code, found.detail) == (status, code, detail)


@pytest.mark.parametrize(
    "kind", [errors.AppError, errors.DatabaseError, errors.ExternalServiceError, errors.AuthenticationError]
)
def test_details_that_stay_inside(kind: type[errors.AppError]) -> None:
    """Details of a fault of the service, or of a refused login, are not shown."""
    assert problem.from_error(kind(details={"table": "users"})).members == {}


def test_own_validation_errors() -> None:
    """Validation errors of the domain are listed as the framework's are, without further members, and not endlessly."""
    one = {"loc": ["a"], "msg": "m", "type": "t", "input": "hidden"}
    found = problem.from_error(errors.ValidationError(errors=[one] * 1000, details={"hint": "x"}))
    assert found.members == {"hint": "x", "errors": [{"loc": ["a"], "msg": "m", "type": "t"}] * problem.MAX_ERRORS}


def test_detail_of_a_framework() -> None:
    """A framework's own sentence and headers are kept; from 500 up the sentence may hold internals and is not."""
    found = problem.from_status(409, "taken", {"x-why": "because"})
    assert (found.detail, found.headers) == ("taken", {"x-why": "because"})
    assert problem.from_status(500, "row 7 of table users").detail == "Internal Server Error."
    assert problem.from_status(503, headers={"retry-after": "9"}).headers == {"retry-after": "9"}


def test_unexpected_error_tells_nothing() -> None:
    """An error that nobody foresaw has one sentence for all of them."""
    found = problem.unexpected()
    assert (found.status, found.code, found.headers, found.members) == (500, "INTERNAL_ERROR", {}, {})
    assert found.detail == "The service failed to handle the request."


def test_validation_errors() -> None:
    """Validation errors are listed without the rejected values."""
    found = problem.from_validation(
        [
            {"loc": ("body", "quantity"), "msg": "Input should be positive", "type": "greater_than", "input": "hidden"},
            {"loc": ("body", "x"), "msg": "Value error, 'hidden' is odd", "type": "value_error", "input": "hidden"},
            {"loc": ("body", "y"), "msg": "Assertion failed, hidden", "type": "assertion_error", "input": "hidden"},
            {"loc": ("body", "z"), "msg": "Extra inputs: hidden", "type": "extra_forbidden", "input": "hidden"},
        ]
    )
    assert (found.status, found.code) == (422, "VALIDATION_ERROR")
    assert found.members["errors"] == [
        {"loc": ["body", "quantity"], "msg": "Input should be positive", "type": "greater_than"},
        {"loc": ["body", "x"], "msg": "Value is not allowed", "type": "value_error"},
        {"loc": ["body", "y"], "msg": "Value is not allowed", "type": "assertion_error"},
        {"loc": ["body", "z"], "msg": "Field is not allowed", "type": "extra_forbidden"},
    ]


def test_body_that_is_no_json() -> None:
    """A body that cannot be parsed is malformed, not invalid."""
    found = problem.from_validation([{"loc": ("body", 1), "msg": "JSON decode error", "type": "json_invalid"}])
    assert (found.status, found.code) == (400, "MALFORMED_REQUEST")


def test_number_of_errors_is_bounded() -> None:
    """A body with thousands of wrong members gets an answer of bounded size."""
    errors = [{"loc": ("body", str(number)), "msg": "m", "type": "t"} for number in range(1000)]
    listed = problem.from_validation(errors).members["errors"]
    assert isinstance(listed, list)
    assert len(listed) == problem.MAX_ERRORS
