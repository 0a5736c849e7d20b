"""Idempotency: what a key, a request and what the store knows of them mean together.

The header follows the IETF draft (https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/), status
expired draft, revision 07. Nothing here does I/O; stores claim atomically, drivers act on the decision.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from secrets import token_hex
from typing import Any, ClassVar, Protocol

from .errors import AppError, InfrastructureError, MalformedInputError, Severity

HEADER = "idempotency-key"
METHODS = frozenset({"POST", "PATCH"})
MAX_LENGTH = 255
ANONYMOUS = "anonymous"
RECORD_VERSION = 1
RETRY_AFTER = 1
_BARE = re.compile(r"[\x21-\x7e]+")
# An sf-string, RFC 9651 section 3.3.3; the draft allows parameters to follow, which are ignored.
_PARAMETER = r';\x20*[a-z*][a-z0-9_.*-]*(?:=(?:"(?:[^"\\]|\\["\\])*"|[^\s";,]+))?'
_QUOTED = re.compile(rf'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"(?:{_PARAMETER})*')
_NOT_STORED = frozenset({401, 403, 406, 413, 415, 429})
_NOT_REPLAYED_HEADERS = frozenset(
    [
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


class Outcome(StrEnum):
    """What a request with a key comes to."""

    RUN = "run"
    REPLAY = "replay"
    IN_PROGRESS = "in_progress"
    MISMATCH = "mismatch"
    NOT_REPLAYABLE = "not_replayable"
    STORE_ERROR = "store_error"


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored response: status, end-to-end headers and exact body; no body when it could not be kept."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes | None

    def dump(self) -> str:
        """Return the answer as text for a store."""
        body = None if self.body is None else base64.b64encode(self.body).decode()
        return json.dumps({"v": RECORD_VERSION, "status": self.status, "headers": self.headers, "body": body})

    @classmethod
    def load(cls, text: str) -> "Answer | None":
        """Return a stored answer, or None when the text is damaged or of a version that this code does not know."""
        try:
            data = json.loads(text)
            body = None if data["body"] is None else base64.b64decode(data["body"], validate=True)
            headers = tuple((str(name), str(value)) for name, value in data["headers"])
            answer = cls(int(data["status"]), headers, body)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return None
        return answer if data.get("v") == RECORD_VERSION and 200 <= answer.status < 500 else None


@dataclass(frozen=True, slots=True)
class Record:
    """What a store knows of a key. Times are the store's own, in seconds."""

    fingerprint: str
    lease_until: float
    expires_at: float
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run an operation once: only its owner may complete, renew or release the record."""

    key: str
    fingerprint: str
    owner: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a request, and the answer to send when it is a replay."""

    outcome: Outcome
    answer: Answer | None = None


class IdempotencyStore(Protocol):
    """Keeps records. Every method is atomic and measures time by the store's clock."""

    transactional: ClassVar[bool]
    """Whether `complete` can commit together with the operation's effect."""

    async def begin(self, claim: Claim, *, lease: float, ttl: float) -> Decision:
        """Take the claim, or say what stands in its way."""

    async def complete(self, claim: Claim, answer: Answer, *, ttl: float, transaction: Any = None) -> bool:
        """Keep the answer; False when the claim was lost to another owner."""

    async def renew(self, claim: Claim, *, lease: float) -> bool:
        """Extend the lease; False when the claim was lost."""

    async def release(self, claim: Claim) -> None:
        """Free the key, if the claim still holds it."""


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


def digest(*parts: bytes) -> str:
    """Return a hash of the parts that no other split of the same bytes has: each is preceded by its length.

    Args:
        parts: Anything.

    """
    joined = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hashlib.sha256(joined).hexdigest()


def new_claim(*, caller: str, method: str, route: str, key: str, fingerprint: str) -> Claim:
    """Return a claim of its own owner; the store sees the key only as a hash.

    Args:
        caller: The authenticated user, or `ANONYMOUS`.
        method: The HTTP method.
        route: The route's template.
        key: What the caller sent.
        fingerprint: What identifies the request.

    """
    scope = [part.encode() for part in (caller, method, route, key)]
    return Claim(digest(*scope), fingerprint, token_hex(16))


def is_over(record: Record, now: float) -> bool:
    """Return whether a record has no meaning any more: it expired, and nobody is running its operation.

    Args:
        record: What the store knows of a key.
        now: The store's time.

    """
    running = record.answer is None and record.lease_until > now
    return record.expires_at <= now and not running


def decide(record: Record | None, fingerprint: str, now: float) -> Decision:
    """Return what a request comes to, given what the store knows of its key.

    Args:
        record: The record of the key, if there is one.
        fingerprint: What identifies the request.
        now: The store's time.

    """
    if record is None or is_over(record, now):
        return Decision(Outcome.RUN)
    if record.answer is None:
        outcome = Outcome.RUN if record.lease_until <= now else Outcome.IN_PROGRESS
        return Decision(_unless_mismatch(record, fingerprint, outcome))
    answer = Answer.load(record.answer)
    if answer is None:
        # Damaged: the operation ran, so running it again in silence would be worse than refusing.
        return Decision(_unless_mismatch(record, fingerprint, Outcome.NOT_REPLAYABLE))
    outcome = Outcome.REPLAY if answer.body is not None else Outcome.NOT_REPLAYABLE
    return Decision(_unless_mismatch(record, fingerprint, outcome), answer)


def _unless_mismatch(record: Record, fingerprint: str, outcome: Outcome) -> Outcome:
    return outcome if record.fingerprint == fingerprint else Outcome.MISMATCH


REFUSALS: Mapping[Outcome, Callable[[], AppError]] = {
    Outcome.IN_PROGRESS: lambda: IdempotencyInProgressError(retry_after=RETRY_AFTER),
    Outcome.MISMATCH: IdempotencyKeyReusedError,
    Outcome.NOT_REPLAYABLE: IdempotencyNotReplayableError,
}


def is_stored(status: int, *, rejected: bool) -> bool:
    """Return whether an answer is kept: what the operation said, not what kept it from running.

    Args:
        status: The answer's status.
        rejected: Whether the request was refused before the operation ran, as by validation.

    """
    return 200 <= status < 500 and status not in _NOT_STORED and not rejected


def end_to_end(headers: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the headers that a replay repeats.

    Args:
        headers: Those of the first answer.

    """
    return tuple((name, value) for name, value in headers if name.lower() not in _NOT_REPLAYED_HEADERS)
