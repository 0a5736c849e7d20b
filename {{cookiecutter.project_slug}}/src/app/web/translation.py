"""What a caller is told of each kind of error: the service's own, Ninja's and Django's."""

import httpx2
from django.conf import settings
from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestAborted,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.db import InterfaceError, OperationalError
from django.http import Http404, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from ninja import errors as ninja

from ..core import problem
from ..core.access_log import CLIENT_CLOSED_REQUEST
from ..core.errors import (
    AppError,
    AuthenticationError,
    DatabaseError,
    ExternalServiceError,
    MalformedInputError,
    NetworkError,
    PayloadTooLargeError,
    PermissionDeniedError,
    RateLimitError,
)
from ..core.problem import Problem

# What Ninja says where nobody has said anything: the phrase of the status says it as well.
_TEXTS_OF_NINJA = frozenset({"Unauthorized", "Forbidden", "Too many requests.", "Cannot parse request body"})
_NOT_READABLE = (BadRequest, SuspiciousOperation, MultiPartParserError)
_GONE = (RequestAborted, UnreadablePostError)
_OUTAGES = (OperationalError, InterfaceError)


def problem_of(error: BaseException) -> Problem:
    """Return what the caller is told of an error.

    Args:
        error: What was raised.

    """
    if isinstance(error, AppError):
        return problem.from_error(error)
    if isinstance(error, ninja.ValidationError):
        return problem.from_validation(error.errors)
    if isinstance(error, ninja.HttpError):
        return _from_ninja(error)
    if isinstance(error, Http404):
        return problem.from_status(404)
    if isinstance(error, _GONE):
        return problem.from_status(CLIENT_CLOSED_REQUEST)
    known = _known(error)
    return problem.from_error(known) if known is not None else problem.unexpected()


def _known(error: BaseException) -> AppError | None:
    """Return an error of Django's or of a client's as one of the service."""
    if isinstance(error, PermissionDenied):
        return PermissionDeniedError()
    if isinstance(error, RequestDataTooBig):
        return too_large()
    if isinstance(error, _NOT_READABLE):
        return MalformedInputError()
    if isinstance(error, _OUTAGES):
        return DatabaseError()
    if isinstance(error, ConnectionError):
        return NetworkError()
    return ExternalServiceError() if isinstance(error, httpx2.HTTPError) else None


def _from_ninja(error: ninja.HttpError) -> Problem:
    if isinstance(error.__cause__, AppError):
        # Whatever reading the body raises, Ninja turns it into a 400 of its own.
        return problem.from_error(error.__cause__)
    if isinstance(error, ninja.Throttled):
        return problem.from_error(RateLimitError(retry_after=error.wait))
    detail = None if error.message in _TEXTS_OF_NINJA else error.message
    if error.status_code == AuthenticationError.status:
        return problem.from_error(AuthenticationError(public_message=detail))
    return problem.from_status(error.status_code, detail)


def too_large() -> PayloadTooLargeError:
    """Return the error of a body that is larger than the service reads."""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return PayloadTooLargeError(public_message=f"The request body is larger than {limit} bytes.")
