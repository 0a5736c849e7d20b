"""The beginning of what a task or message was given, for the line that says it failed: redacted and of bounded size."""

from collections.abc import Mapping
from typing import Any

from .logging import to_json
from .redaction import redact

PREVIEW_LENGTH = 500
# How many characters of one value, and how many of them, are looked at for a preview.
MAX_VALUE = 2000
MAX_VALUES = 20


def preview(given: Mapping[str, Any]) -> str:
    """Return the beginning of named values as JSON; nothing for what cannot be written as such.

    Args:
        given: The values by name, whatever they hold.

    """
    try:
        # Cut before, for a redaction looks at all of it, and after, since a secret must be seen as a whole.
        text = to_json(redact({name: _clipped(value) for name, value in list(given.items())[:MAX_VALUES]}))
    except Exception:  # noqa: BLE001 -- whatever is wrong with the values, the failure is told
        return ""
    return text if len(text) <= PREVIEW_LENGTH else f"{text[:PREVIEW_LENGTH]}…"


def _clipped(value: Any) -> Any:
    """Return a value of a size that can be looked at; of a larger one the kind, for a part may be half a secret."""
    if value is None or isinstance(value, bool | int | float):
        return value
    size = len(value) if isinstance(value, str) else len(to_json({"": value}))
    return value if size <= MAX_VALUE else f"<{type(value).__name__}, {size} characters>"
