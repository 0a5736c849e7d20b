"""What idempotency tells a caller that it cannot serve."""

from .errors import AppError, ConfigurationFaultError, InfrastructureError, MalformedInputError, Severity


class IdempotencyKeyError(MalformedInputError):
    """The Idempotency-Key header is missing where it is required, or is not one valid key."""

    code = "IDEMPOTENCY_KEY_INVALID"
    default_message = "Idempotency-Key must be sent once, as 1 to 255 visible ASCII characters, quoted or not."


class IdempotencyKeyMissingError(IdempotencyKeyError):
    """The operation needs a key."""

    code = "IDEMPOTENCY_KEY_MISSING"
    default_message = "This operation requires the header Idempotency-Key."


class IdempotencyInProgressError(AppError):
    """The first request with this key is still running."""

    code = "IDEMPOTENCY_IN_PROGRESS"
    status = 409
    severity = Severity.LOW
    retryable = True
    default_message = "A request with this Idempotency-Key is still running; try again later."


class IdempotencyKeyReusedError(AppError):
    """The key was used for another request."""

    code = "IDEMPOTENCY_KEY_REUSED"
    status = 422
    severity = Severity.LOW
    default_message = "This Idempotency-Key was used for a request with another path, query or body."


class IdempotencyNotReplayableError(AppError):
    """The operation ran, but its answer was streamed or too large to keep."""

    code = "IDEMPOTENCY_NOT_REPLAYABLE"
    status = 409
    severity = Severity.LOW
    default_message = "The request with this Idempotency-Key succeeded; its answer was too large to be kept."


class IdempotencyStoreError(InfrastructureError):
    """The store of idempotency records failed."""

    code = "IDEMPOTENCY_STORE_UNAVAILABLE"


class IdempotencyUsageError(ConfigurationFaultError):
    """An idempotent function was called in a way, or returned what, idempotency cannot serve."""

    code = "IDEMPOTENCY_USAGE"
