"""Why work was given up, as its dead letter says it: for a task and for a message the same."""

from datetime import UTC, datetime
from typing import Any

from .errors import AppError
from .redaction import redact_text
from .retry import Reason

MAX_MESSAGE = 500


def explain(
    reason: Reason, error: BaseException, *, queue: str, attempts: int, name: str | None = None
) -> dict[str, Any]:
    """Return why work was given up: plain values, redacted, of bounded size.

    Args:
        reason: In one word.
        error: What it failed with.
        queue: Where it was.
        attempts: How often it was tried.
        name: What the error is called, where that is not its class.

    """
    return {
        "reason": reason.value,
        "error": name or type(error).__name__,
        "code": error.code if isinstance(error, AppError) else AppError.code,
        "message": redact_text(str(error))[:MAX_MESSAGE],
        "attempts": attempts,
        "queue": queue,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
