"""The exceptions of the service: one tree, each with what a caller may know of it.

    AppError
     ├─ ValidationError            422   the input breaks a rule of its own
     │   └─ MalformedInputError    400   the input could not be read at all
     ├─ BusinessRuleError          422   the input is fine, the domain refuses it
     ├─ NotFoundError              404
     ├─ AlreadyExistsError         409
     ├─ InvalidStateError          409   the resource is in a state that does not allow it
     │   └─ OperationNotAllowedError
     ├─ AuthenticationError        401
     ├─ PermissionDeniedError      403
     ├─ NotAcceptableError         406
     ├─ PayloadTooLargeError       413
     ├─ UnsupportedMediaTypeError  415
     ├─ RateLimitError             429   temporary
     ├─ SecurityError              403
     ├─ ConfigurationFaultError    500
     ├─ ExternalServiceError       502   temporary
     └─ InfrastructureError        503   temporary
         ├─ DatabaseError
         ├─ NetworkError
         └─ BrokerError

A message is for logs and error reports. What a caller sees is `public_message`, which names no internals.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

T = TypeVar("T")


class Severity(StrEnum):
    """How much attention an error needs."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class AppError(Exception):
    """The service cannot do what was asked.

    Args:
        message: What happened, for logs; the class's `public_message` when left out.
        public_message: What the caller is told instead of the class's own.
        details: What else is known. Callers see them as members of the problem document, unless the class says
            otherwise; error reports always have them.
        retry_after: Seconds after which trying again makes sense.

    """

    code: ClassVar[str] = "INTERNAL_ERROR"
    status: ClassVar[int] = 500
    severity: ClassVar[Severity] = Severity.HIGH
    retryable: ClassVar[bool] = False
    default_message: ClassVar[str] = "The service failed to handle the request."
    # From status 500 up nobody outside sees the details, whatever this says: they are internals.
    details_are_public: ClassVar[bool] = True

    def __init__(
        self,
        message: str | None = None,
        *,
        public_message: str | None = None,
        details: Mapping[str, object] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message or public_message or self.default_message)
        self.public_message = public_message or self.default_message
        self.details: Mapping[str, object] = MappingProxyType(dict(details or {}))
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross a process's border, as a task's errors do, whatever arguments a subclass takes."""
        return _restored, (type(self), self.args, {**vars(self), "details": dict(self.details)})


def _restored(kind: type[AppError], arguments: tuple[Any, ...], state: dict[str, Any]) -> AppError:
    """Return an error as it was, without making it anew."""
    error = kind.__new__(kind, *arguments)
    vars(error).update(state, details=MappingProxyType(state["details"]))
    return error


class ValidationError(AppError):
    """The input breaks a rule of its own.

    Args:
        message: As for any error.
        errors: What is wrong, one mapping per field: `loc` (a list, the way to the field), `msg` and `type`. Never the
            rejected value.
        options: As for any error.

    """

    code = "VALIDATION_ERROR"
    status = 422
    severity = Severity.LOW
    default_message = "The request has invalid fields."

    def __init__(
        self, message: str | None = None, *, errors: Sequence[Mapping[str, object]] = (), **options: Any
    ) -> None:
        super().__init__(message, **options)
        self.errors = tuple(errors)


class MalformedInputError(ValidationError):
    """The input could not be read."""

    code = "MALFORMED_REQUEST"
    status = 400
    default_message = "The request could not be read."


class BusinessRuleError(AppError):
    """The domain refuses a well-formed request."""

    code = "BUSINESS_RULE_VIOLATION"
    status = 422
    severity = Severity.LOW
    default_message = "The request breaks a rule of the domain."


class NotFoundError(AppError):
    """The resource does not exist, or is not visible to the caller."""

    code = "NOT_FOUND"
    status = 404
    severity = Severity.LOW
    default_message = "The resource does not exist."


class AlreadyExistsError(AppError):
    """A resource with this identity exists."""

    code = "ALREADY_EXISTS"
    status = 409
    severity = Severity.LOW
    default_message = "The resource exists already."


class InvalidStateError(AppError):
    """The resource is in a state that does not allow the operation."""

    code = "INVALID_STATE"
    status = 409
    severity = Severity.LOW
    default_message = "The state of the resource does not allow this."


class OperationNotAllowedError(InvalidStateError):
    """The operation is never possible on this resource."""

    code = "OPERATION_NOT_ALLOWED"
    default_message = "The operation is not possible on this resource."


class AuthenticationError(AppError):
    """The caller is not known."""

    code = "AUTHENTICATION_REQUIRED"
    status = 401
    severity = Severity.MEDIUM
    default_message = "The request needs valid credentials."
    # Why credentials were refused would tell an attacker which half to guess next.
    details_are_public = False


class PermissionDeniedError(AppError):
    """The caller is known and may not do this."""

    code = "PERMISSION_DENIED"
    status = 403
    severity = Severity.MEDIUM
    default_message = "The caller may not do this."


class NotAcceptableError(AppError):
    """The caller accepts none of the formats that the service can send."""

    code = "NOT_ACCEPTABLE"
    status = 406
    severity = Severity.LOW
    default_message = "The resource has no representation that the Accept header allows."


class PayloadTooLargeError(AppError):
    """The request's body is larger than the service reads."""

    code = "PAYLOAD_TOO_LARGE"
    status = 413
    severity = Severity.LOW
    default_message = "The request body is too large."


class UnsupportedMediaTypeError(AppError):
    """The request's body has a format that the operation does not read."""

    code = "UNSUPPORTED_MEDIA_TYPE"
    status = 415
    severity = Severity.LOW
    default_message = "The request body must be application/json."


class RateLimitError(AppError):
    """The caller asked too often."""

    code = "RATE_LIMIT_EXCEEDED"
    status = 429
    severity = Severity.LOW
    retryable = True
    default_message = "Too many requests."


class SecurityError(AppError):
    """The request looks like an attack."""

    code = "SECURITY_VIOLATION"
    status = 403
    severity = Severity.CRITICAL
    default_message = "The request was refused."
    details_are_public = False


class ConfigurationFaultError(AppError):
    """The service was set up wrongly, and only this request showed it."""

    code = "CONFIGURATION_ERROR"
    severity = Severity.CRITICAL


class ExternalServiceError(AppError):
    """A service that this one calls failed."""

    code = "EXTERNAL_SERVICE_ERROR"
    status = 502
    retryable = True
    default_message = "A service that this one depends on failed."


class InfrastructureError(AppError):
    """Something that the service runs on failed."""

    code = "INFRASTRUCTURE_ERROR"
    status = 503
    retryable = True
    default_message = "The service is temporarily unavailable."


class DatabaseError(InfrastructureError):
    """The database failed or could not be reached."""

    code = "DATABASE_ERROR"


class NetworkError(InfrastructureError):
    """A connection failed."""

    code = "NETWORK_ERROR"


class BrokerError(InfrastructureError):
    """The broker did not take a message or does not answer: nothing was sent, or nothing that is known of."""

    code = "BROKER_ERROR"


def ensure(condition: object, error: AppError | Callable[[], AppError]) -> None:
    """Raise an error unless a condition holds.

    Args:
        condition: What must be true.
        error: What is raised otherwise: an error, its class, or a function that makes it.

    Raises:
        AppError: The condition does not hold.

    """
    if not condition:
        raise error if isinstance(error, AppError) else error()


def ensure_not_none(value: T | None, error: AppError | type[AppError] | None = None, /, **details: object) -> T:
    """Return a value that must be there.

    Args:
        value: What was found, or None.
        error: What is raised for None; a `NotFoundError` when left out.
        details: What was looked for, for an error that is made here: `resource="product", resource_id=7`.

    Raises:
        AppError: The value is None.

    """
    if value is not None:
        return value
    if isinstance(error, AppError):
        raise error
    kind = error or NotFoundError
    looked_for = ", ".join(f"{name}={found!r}" for name, found in details.items())
    raise kind(f"{kind.default_message} {looked_for}".rstrip(), public_message=kind.default_message, details=details)


def invalid_field(*loc: str | int, msg: str, kind: str = "value_error") -> ValidationError:
    """Return the error of one field that breaks a rule; the caller raises it.

    Args:
        loc: The way to the field, such as `"body", "email"`.
        msg: What is wrong with it, without its value.
        kind: A stable name of the rule.

    """
    return ValidationError(f"{'.'.join(map(str, loc))}: {msg}", errors=[{"loc": list(loc), "msg": msg, "type": kind}])
