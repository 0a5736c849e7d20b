"""One tree of exceptions, each with its status, code and what a caller may know."""

import re
from collections.abc import Iterator

import pytest

from app.core import errors
from app.core.errors import AppError, Severity

# Name, parent, status, code, severity, retryable: callers depend on each of them.
TREE = [
    ("AppError", "Exception", 500, "INTERNAL_ERROR", "high", False),
    ("ValidationError", "AppError", 422, "VALIDATION_ERROR", "low", False),
    ("MalformedInputError", "ValidationError", 400, "MALFORMED_REQUEST", "low", False),
    ("BusinessRuleError", "AppError", 422, "BUSINESS_RULE_VIOLATION", "low", False),
    ("NotFoundError", "AppError", 404, "NOT_FOUND", "low", False),
    ("AlreadyExistsError", "AppError", 409, "ALREADY_EXISTS", "low", False),
    ("InvalidStateError", "AppError", 409, "INVALID_STATE", "low", False),
    ("OperationNotAllowedError", "InvalidStateError", 409, "OPERATION_NOT_ALLOWED", "low", False),
    ("AuthenticationError", "AppError", 401, "AUTHENTICATION_REQUIRED", "medium", False),
    ("PermissionDeniedError", "AppError", 403, "PERMISSION_DENIED", "medium", False),
    ("NotAcceptableError", "AppError", 406, "NOT_ACCEPTABLE", "low", False),
    ("PayloadTooLargeError", "AppError", 413, "PAYLOAD_TOO_LARGE", "low", False),
    ("UnsupportedMediaTypeError", "AppError", 415, "UNSUPPORTED_MEDIA_TYPE", "low", False),
    ("RateLimitError", "AppError", 429, "RATE_LIMIT_EXCEEDED", "low", True),
    ("SecurityError", "AppError", 403, "SECURITY_VIOLATION", "critical", False),
    ("ConfigurationFaultError", "AppError", 500, "CONFIGURATION_ERROR", "critical", False),
    ("ExternalServiceError", "AppError", 502, "EXTERNAL_SERVICE_ERROR", "high", True),
    ("InfrastructureError", "AppError", 503, "INFRASTRUCTURE_ERROR", "high", True),
    ("DatabaseError", "InfrastructureError", 503, "DATABASE_ERROR", "high", True),
    ("NetworkError", "InfrastructureError", 503, "NETWORK_ERROR", "high", True),
]


def tree() -> Iterator[type[AppError]]:
    """Yield every exception of the module."""
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, AppError):
            yield value


@pytest.mark.parametrize(("name", "parent", "status", "code", "severity", "retryable"), TREE, ids=[x[0] for x in TREE])
def test_kind(name: str, parent: str, status: int, code: str, severity: str, retryable: bool) -> None:
    """Each kind of error has its place in the tree, status, code, severity and whether trying again helps."""
    kind = getattr(errors, name)
    assert kind.__base__.__name__ == parent
    assert (kind.status, kind.code, kind.retryable) == (status, code, retryable)
    assert kind.severity is Severity(severity)
    assert kind.default_message.endswith(".")


def test_tree_is_complete() -> None:
    """The table above and the drawing in the module's docstring name every exception."""
    names = {kind.__name__ for kind in tree()}
    assert {row[0] for row in TREE} == names
    assert set(re.findall(r"\w+Error", str(errors.__doc__))) == names


def test_codes_are_unique() -> None:
    """No two kinds of error share a code."""
    codes = [kind.code for kind in tree()]
    assert sorted(codes) == sorted(set(codes))


def test_message_is_for_logs() -> None:
    """The message is what the log says; the caller is told the class's own sentence."""
    error = errors.NotFoundError("row 7 of table orders is gone")
    assert str(error) == "row 7 of table orders is gone"
    assert error.public_message == "The resource does not exist."


def test_message_by_default() -> None:
    """Without a message the log says what the caller is told."""
    assert str(errors.NotFoundError()) == "The resource does not exist."
    assert str(errors.NotFoundError(public_message="No such tea.")) == "No such tea."


def test_details_are_a_copy() -> None:
    """Details cannot be changed from outside, nor by whoever catches the error."""
    details = {"limit": 10}
    error = errors.BusinessRuleError(details=details)
    details["limit"] = 99
    assert error.details == {"limit": 10}
    with pytest.raises(TypeError):
        error.details["limit"] = 5  # type: ignore[index]
