"""One tree of exceptions, each with its status, code and what a caller may know."""

import copy
import pickle
import re
from collections.abc import Iterator
from functools import partial

import pytest

from app.core import errors
from app.core.errors import AppError, Severity, ensure, ensure_not_none, invalid_field

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
    ("BrokerError", "InfrastructureError", 503, "BROKER_ERROR", "high", True),
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


def test_details_that_stay_inside() -> None:
    """Why somebody was not let in is nobody's business outside."""
    hidden = {kind.__name__ for kind in tree() if not kind.details_are_public}
    assert hidden == {"AuthenticationError", "SecurityError"}


class Quota(errors.BusinessRuleError):
    """An error with arguments of its own, as an owner writes it."""

    def __init__(self, used: int) -> None:
        super().__init__(f"{used} used", details={"used": used})


@pytest.mark.parametrize(
    "error",
    [
        errors.RateLimitError("x", public_message="Slow down.", details={"limit": 10}, retry_after=7),
        errors.ValidationError(errors=[{"loc": ["a"], "msg": "m", "type": "t"}]),
        Quota(7),
    ],
)
def test_errors_cross_processes(error: AppError) -> None:
    """An error is the same after pickling and copying, whatever arguments its class takes."""
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(same) is type(error)
        assert (str(same), vars(same)) == (str(error), vars(error))
        with pytest.raises(TypeError):
            same.details["limit"] = 5  # type: ignore[index]


def test_ensure() -> None:
    """A condition that does not hold raises the error, its class, or what a function makes."""
    ensure(1, errors.InvalidStateError)
    for error in (
        errors.InvalidStateError("shipped"),
        errors.InvalidStateError,
        partial(errors.InvalidStateError, "shipped"),
    ):
        with pytest.raises(errors.InvalidStateError):
            ensure(0, error)


def test_ensure_not_none() -> None:
    """What was found is returned, though it may be empty; for None the error says what was looked for."""
    assert ensure_not_none(0) == 0
    with pytest.raises(errors.NotFoundError) as missing:
        ensure_not_none(None, resource="product", resource_id=7)
    assert str(missing.value) == "The resource does not exist. resource='product', resource_id=7"
    assert missing.value.public_message == "The resource does not exist."
    assert missing.value.details == {"resource": "product", "resource_id": 7}


def test_ensure_not_none_with_another_error() -> None:
    """The error may be another class, or one that is ready."""
    with pytest.raises(errors.ConfigurationFaultError, match=r"^The service failed to handle the request.$"):
        ensure_not_none(None, errors.ConfigurationFaultError)
    ready = errors.InvalidStateError("no rate")
    with pytest.raises(errors.InvalidStateError) as raised:
        ensure_not_none(None, ready)
    assert raised.value is ready


def test_invalid_field() -> None:
    """One field that breaks a rule is a validation error with one entry."""
    error = invalid_field("body", "lines", 0, "sku", msg="Not in the catalogue", kind="unknown_sku")
    assert str(error) == "body.lines.0.sku: Not in the catalogue"
    assert error.errors == ({"loc": ["body", "lines", 0, "sku"], "msg": "Not in the catalogue", "type": "unknown_sku"},)
