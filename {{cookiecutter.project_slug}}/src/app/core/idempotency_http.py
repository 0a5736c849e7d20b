"""Idempotency over HTTP: the header `Idempotency-Key`, which answers are kept, and what of them a replay repeats.

The header follows the IETF draft (https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/), status
expired draft, revision 07.
"""

import re
from collections.abc import Iterable, Sequence

from .idempotency_errors import IdempotencyKeyError, IdempotencyKeyMissingError

HEADER = "idempotency-key"
METHODS = frozenset({"POST", "PATCH"})
MAX_LENGTH = 255
FAILED = 500
# What a replay says of itself, and the answers that have no body to tell the length of.
REPLAY_HEADERS = (("idempotent-replayed", "true"), ("cache-control", "no-store"))
BODILESS = frozenset({204, 304})
# Codes of problems that kept a request from reaching its operation.
REJECTED_CODES = frozenset({"VALIDATION_ERROR", "MALFORMED_REQUEST"})
# What most clients send: a bare token, without the comma of a list.
_TOKEN = re.compile(r'(?!")[\x21-\x2b\x2d-\x7e]{1,255}')
_BARE = re.compile(r"[\x21-\x7e]+")
# An sf-string, RFC 9651 section 3.3.3; the draft allows parameters to follow, which are ignored.
_PARAMETER = r';\x20*[a-z*][a-z0-9_.*-]*(?:=(?:"(?:[^"\\]|\\["\\])*"|[^\s";,]+))?'
_QUOTED = re.compile(rf'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"(?:{_PARAMETER})*')
_NOT_STORED = frozenset({401, 403, 406, 413, 415, 429})
_NOT_REPLAYED_HEADERS = frozenset(
    name.encode()
    for name in [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "date",
        "server",
        "set-cookie",
        "authorization",
        "x-request-id",
        "x-trace-id",
        "traceparent",
        "tracestate",
        "cache-control",
        "content-length",
        "idempotent-replayed",
    ]
)


def read_key(values: Sequence[str], *, required: bool = False) -> str | None:
    """Return the key of a request, the same for both forms of the header, or None when there is none.

    Args:
        values: The values of all `Idempotency-Key` headers.
        required: Whether the operation refuses requests without one.

    Raises:
        IdempotencyKeyError: The header is repeated, empty, too long or has other characters.

    """
    if not values:
        if required:
            raise IdempotencyKeyMissingError
        return None
    if len(values) > 1:
        raise IdempotencyKeyError
    if _TOKEN.fullmatch(values[0]):
        return values[0]
    key = _parse(values[0].strip(" \t"))
    if key is None or not 1 <= len(key) <= MAX_LENGTH:
        raise IdempotencyKeyError
    return key


def _parse(value: str) -> str | None:
    if value.startswith('"'):
        match = _QUOTED.fullmatch(value)
        unescaped = re.sub(r"\\(.)", r"\1", match.group(1)) if match else ""
        return unescaped if _BARE.fullmatch(unescaped) else None
    return value if _BARE.fullmatch(value) and "," not in value else None


def is_stored(status: int, *, rejected: bool) -> bool:
    """Return whether an answer is kept: what the operation said, not what kept it from running.

    Args:
        status: The answer's status.
        rejected: Whether the request was refused before the operation ran, as by validation.

    """
    return 200 <= status < 500 and status not in _NOT_STORED and not rejected


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """Return the headers that a replay repeats, as text.

    Args:
        headers: Those of the first answer, as they are sent.

    """
    kept = [(name, value) for name, value in headers if name.lower() not in _NOT_REPLAYED_HEADERS]
    return tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in kept])


def documentation_link(description: str, page: str | None) -> str:
    """Return a `Link` to what describes an operation and its keys, as the draft asks of a problem (section 2.7).

    Args:
        description: The path of the OpenAPI document.
        page: The path of the page that shows it, if there is one.

    """
    target, kind = (page, "text/html") if page else (description, "application/json")
    return f'<{target}>; rel="describedby"; type="{kind}"'
