"""Errors as problem documents, RFC 9457 (https://www.rfc-editor.org/rfc/rfc9457).

The `type` is `about:blank`, so the `title` is the phrase of the status, and `code` tells two problems of one status
apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from math import ceil
from typing import Any

from .errors import AppError, ValidationError

MEDIA_TYPE = "application/problem+json"
DEFAULT_RETRY_AFTER = 1
# A body of thousands of wrong members must not get an answer many times its size.
MAX_ERRORS = 50
STATUSES_WITH_RETRY_AFTER = (429, 503)
# Python names these by older standards than RFC 9110, section 15.5.
PHRASES = {413: "Content Too Large", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
CODES = {
    400: "MALFORMED_REQUEST",
    401: "AUTHENTICATION_REQUIRED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    406: "NOT_ACCEPTABLE",
    409: "INVALID_STATE",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "VALIDATION_ERROR",
    429: "RATE_LIMIT_EXCEEDED",
    502: "EXTERNAL_SERVICE_ERROR",
    503: "INFRASTRUCTURE_ERROR",
}
INTERNAL_ERROR = "INTERNAL_ERROR"


@dataclass(frozen=True, slots=True)
class Problem:
    """What a caller is told of an error: a status, a stable code, a sentence, headers and further members."""

    status: int
    code: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, object] = field(default_factory=dict)

    def document(self, *, instance: str, trace_id: str, request_id: str) -> dict[str, object]:
        """Return the problem document.

        Args:
            instance: The path of the request that failed.
            trace_id: The request's trace, 32 hexadecimal digits.
            request_id: The request's own id.

        """
        return {
            **self.members,
            "type": "about:blank",
            "title": phrase(self.status),
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "trace_id": trace_id,
            "request_id": request_id,
        }


def phrase(status: int) -> str:
    """Return the reason phrase of a status as RFC 9110 has it."""
    try:
        return PHRASES.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def from_error(error: AppError) -> Problem:
    """Translate an error of the service.

    Args:
        error: What was raised.

    """
    headers: dict[str, str] = {}
    if error.retry_after is not None or error.status in STATUSES_WITH_RETRY_AFTER:
        headers["retry-after"] = str(max(DEFAULT_RETRY_AFTER, ceil(error.retry_after or 0)))
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return Problem(error.status, error.code, error.public_message, headers, _members(error))


def _members(error: AppError) -> Mapping[str, object]:
    """Return what a caller may know of an error besides its code and its sentence."""
    is_public = error.details_are_public and error.status < HTTPStatus.INTERNAL_SERVER_ERROR
    members = dict(error.details) if is_public else {}
    if isinstance(error, ValidationError) and error.errors:
        members["errors"] = [
            {name: one.get(name) for name in ("loc", "msg", "type")} for one in error.errors[:MAX_ERRORS]
        ]
    return members


def from_status(status: int, detail: str | None = None, headers: Mapping[str, str] | None = None) -> Problem:
    """Translate a status that a framework answered with.

    Args:
        status: The HTTP status.
        detail: A sentence for the caller; the phrase of the status when left out. Never used from 500 up.
        headers: The headers that the status needs, such as `Allow`.

    """
    code = CODES.get(status, INTERNAL_ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "REQUEST_ERROR")
    sentence = detail if detail and status < HTTPStatus.INTERNAL_SERVER_ERROR else f"{phrase(status)}."
    added = {"retry-after": str(DEFAULT_RETRY_AFTER)} if status in STATUSES_WITH_RETRY_AFTER else {}
    return Problem(status, code, sentence, {**added, **(headers or {})})


def unexpected() -> Problem:
    """Return the problem of an error that nobody foresaw: it tells nothing of what it was."""
    return Problem(500, INTERNAL_ERROR, AppError.default_message)


def from_validation(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """Translate pydantic's errors, without the values that were rejected.

    Args:
        errors: What `ValidationError.errors()` returns.

    """
    if any(error["type"] == "json_invalid" for error in errors):
        return Problem(400, "MALFORMED_REQUEST", "The request body is not valid JSON.")
    listed = [{"loc": list(e["loc"]), "msg": _message(e), "type": e["type"]} for e in errors[:MAX_ERRORS]]
    return Problem(422, "VALIDATION_ERROR", "The request has invalid fields.", {}, {"errors": listed})


def _message(error: Mapping[str, Any]) -> str:
    """Return pydantic's message; those of own validators and e-mail checks may quote the value: replaced."""
    if error["type"] in ("value_error", "assertion_error"):
        return "Value is not allowed"
    if error["type"] == "extra_forbidden":
        return "Field is not allowed"
    return str(error["msg"])
