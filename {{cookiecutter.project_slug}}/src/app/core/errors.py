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
         └─ NetworkError

A message is for logs. What a caller sees is `public_message`, which names no internals.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar


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
        details: Members that are added to the problem document and the log line.
        retry_after: Seconds after which trying again makes sense.

    """

    code: ClassVar[str] = "INTERNAL_ERROR"
    status: ClassVar[int] = 500
    severity: ClassVar[Severity] = Severity.HIGH
    retryable: ClassVar[bool] = False
    default_message: ClassVar[str] = "The service failed to handle the request."

    def __init__(
        self,
        message: str | None = None,
        *,
        public_message: str | None = None,
        details: Mapping[str, object] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message or public_message or self.default_message)
        self.public_message = public_message or self.default_message
        self.details: Mapping[str, object] = MappingProxyType(dict(details or {}))
        self.retry_after = retry_after


class ValidationError(AppError):
    """The input breaks a rule of its own."""

    code = "VALIDATION_ERROR"
    status = 422
    severity = Severity.LOW
    default_message = "The request has invalid fields."


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
