"""What a report says: which fault it is, what was raised, and what the process was doing."""

import sysconfig
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from types import CodeType
from typing import Any
from uuid import uuid4

from ..context import current_context
from ..errors import AppError, Severity
from ..logging import describe_exception, to_json
from ..redaction import REDACTED, redact, redact_field, redact_text

SERVER_ERROR = 500
# How many of the innermost own frames tell two faults apart.
OWN_FRAMES = 3
# Characters of a text, of the context and of all causes: a report must not cost more than the fault.
MAX_TEXT = 8192
MAX_CONTEXT = 32 * 1024
MAX_EXCEPTION = 96 * 1024
_MARK = "__app_error_report__"
_OWN_PACKAGE = str(Path(__file__).parents[2])
_FOREIGN = (*(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")), "<frozen ")


@dataclass(frozen=True, slots=True)
class ErrorContext:
    """What the process was doing when it failed; the open log context is added to it.

    Args:
        operation: What was attempted, such as `payments.charge`.
        entity: On what, such as `order 7`.
        user_id: For whom; that of the log context when left out.
        severity: How much attention the error needs, instead of its own severity.
        code: What the caller was told, for an error that has no code of its own.
        extra: What else helps; redacted like a log line.

    """

    operation: str | None = None
    entity: str | None = None
    user_id: str | None = None
    severity: Severity | None = None
    code: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)

    def with_fields(self, fields: Mapping[str, Any]) -> "ErrorContext":
        """Return the context with further fields; those that it has a place for go there, the rest is extra.

        Args:
            fields: Names and values.

        """
        own = {name: value for name, value in fields.items() if name in _PLACES}
        rest = {name: value for name, value in fields.items() if name not in _PLACES}
        return replace(self, **own, extra={**self.extra, **rest}) if fields else self


_PLACES = ("operation", "entity", "user_id", "severity", "code")


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """An error as reporters get it: plain data, redacted, of bounded size."""

    id: str
    fingerprint: str
    timestamp: datetime
    error_type: str
    code: str
    severity: Severity
    retryable: bool
    message: str
    exception: list[dict[str, Any]]
    context: Mapping[str, Any]
    extra: Mapping[str, Any]
    # How many reports of this fault the cap held back since the last one.
    suppressed: int

    def document(self) -> dict[str, Any]:
        """Return the report as it is written to a file: what identifies it first."""
        return {
            "timestamp": f"{self.timestamp:%Y-%m-%dT%H:%M:%S}.{self.timestamp.microsecond:06d}Z",
            "report_id": self.id,
            "fingerprint": self.fingerprint,
            "error_type": self.error_type,
            "code": self.code,
            "severity": self.severity.value,
            "retryable": self.retryable,
            "message": self.message,
            "suppressed": self.suppressed,
            "context": self.context,
            "extra": self.extra,
            "exception": self.exception,
        }


def is_expected(error: BaseException) -> bool:
    """Return whether an error is an answer that the caller asked for, and no fault of the service.

    Args:
        error: What was raised.

    """
    return isinstance(error, AppError) and error.status < SERVER_ERROR


def fingerprint_of(error: BaseException, operation: str | None = None) -> str:
    """Return what is the same for two occurrences of one fault: its type and where it was raised, not its message.

    Args:
        error: What was raised. Of its frames the innermost own ones count, by file and function, so that a new line
            above them changes nothing.
        operation: What tells errors apart that were never raised.

    """
    own: deque[str] = deque(maxlen=OWN_FRAMES)
    any_frame = ""
    entry = error.__traceback__
    while entry is not None:
        any_frame = _place(entry.tb_frame.f_code)
        if is_own(entry.tb_frame.f_code.co_filename) and any_frame not in own:
            own.append(any_frame)
        entry = entry.tb_next
    places = [*own] or [any_frame or operation or ""]
    return sha256("\n".join([_type_of(error), *places]).encode("utf-8", "replace")).hexdigest()[:32]


def _place(code: CodeType) -> str:
    """Return where a frame is, the same on every machine."""
    return f"{Path(code.co_filename).name}:{code.co_qualname}"


def is_own(filename: str) -> bool:
    """Return whether a file is the service's own, and no library's.

    Args:
        filename: As it stands in a frame.

    """
    return filename.startswith(_OWN_PACKAGE) or not filename.startswith(_FOREIGN)


def _type_of(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def mark(error: BaseException, report_id: str | None) -> None:
    """Note on an exception that it was reported, so that whoever catches it next does not report it again.

    Args:
        error: What was reported.
        report_id: Its report; None when the cap held it back.

    """
    # An exception may refuse attributes, as frozen dataclasses do: then it is reported twice.
    with suppress(Exception):
        setattr(error, _MARK, (current_context().get("request_id"), report_id))


def report_id_of(error: BaseException) -> tuple[bool, str | None]:
    """Return whether an exception was reported in this request, and the report's id.

    Args:
        error: What was caught. One object that is raised in each of many requests is reported in each.

    """
    request_id, report_id = getattr(error, _MARK, (_MARK, None))
    return request_id == current_context().get("request_id"), report_id


def build_report(error: BaseException, context: ErrorContext, *, fingerprint: str, suppressed: int = 0) -> ErrorReport:
    """Return the report of an error, redacted.

    Args:
        error: What was raised.
        context: What the process was doing.
        fingerprint: Which fault it is.
        suppressed: How many reports of it were held back.

    """
    known = error if isinstance(error, AppError) else None
    causes = _causes(error)
    details = {"details": dict(known.details)} if known and known.details else {}
    return ErrorReport(
        id=uuid4().hex,
        fingerprint=fingerprint,
        timestamp=datetime.now(UTC),
        error_type=_type_of(error),
        code=known.code if known else str(context.code or AppError.code),
        severity=_severity(context.severity, known.severity if known else Severity.HIGH),
        retryable=known.retryable if known else False,
        message=causes[0]["message"],
        exception=causes,
        context=_bounded({**current_context(), **_named(context)}),
        extra=_bounded({**details, **context.extra}),
        suppressed=suppressed,
    )


def _severity(wanted: object, otherwise: Severity) -> Severity:
    """Return what the caller wants, also as text; a word that is none must not cost the report."""
    return Severity(wanted) if isinstance(wanted, str) and wanted in set(Severity) else otherwise


def _named(context: ErrorContext) -> dict[str, Any]:
    named = {"operation": context.operation, "entity": context.entity, "user_id": context.user_id}
    return {name: value for name, value in named.items() if value is not None}


def _causes(error: BaseException) -> list[dict[str, Any]]:
    """Return an exception and its causes as redacted data, the first ones of a group that is too large."""
    # Cut to twice what is shown before the redaction, which has to see a secret as a whole to know it.
    found = redact(_clipped(describe_exception(error), 2 * MAX_TEXT))
    shown: list[dict[str, Any]] = _clipped(found, MAX_TEXT) if isinstance(found, list) else []
    if shown and len(to_json({"": shown})) > MAX_EXCEPTION:
        shown = [{name: value for name, value in shown[0].items() if name != "exceptions"}]
    return shown or [{"type": _type_of(error), "message": REDACTED, "frames": []}]


def _clipped(value: Any, length: int) -> Any:
    """Return plain data, without cycles, whose texts are no longer than this."""
    if isinstance(value, str):
        return value[:length]
    if isinstance(value, dict):
        return {name: _clipped(item, length) for name, item in value.items()}
    return [_clipped(item, length) for item in value] if isinstance(value, list) else value


def _bounded(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return fields as redacted, plain data; what is too large is left out, and said so."""
    cut = {name: value[: 2 * MAX_TEXT] if isinstance(value, str | bytes) else value for name, value in fields.items()}
    shown: Mapping[str, Any] = {redact_text(str(name)): redact_field(str(name), value) for name, value in cut.items()}
    size = len(to_json(shown))
    return shown if size <= MAX_CONTEXT else {"omitted": f"{size} bytes, more than {MAX_CONTEXT}"}
