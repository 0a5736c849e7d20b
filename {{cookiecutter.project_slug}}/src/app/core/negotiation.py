"""What a caller accepts (https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1)."""

import re
from collections.abc import Iterable

_JSON_RANGES = frozenset({"*/*", "application/*", "application/json"})
_WEIGHT = re.compile(r"[01](\.[0-9]{0,9})?")
_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_JSON_TYPES = frozenset({"application/json", "application/problem+json"})


def accepts_json(values: Iterable[str]) -> bool:
    """Return whether a caller takes JSON: `Accept` is not sent, or names a range that JSON is in.

    Args:
        values: The values of all `Accept` headers.

    """
    sent = [value for value in values if value.strip()]
    ranges = [_read(item) for value in sent for item in value.split(",")]
    return not sent or any(media_range in _JSON_RANGES and weight > 0 for media_range, weight in ranges)


def prefers_html(accept: str) -> bool:
    """Return whether a caller wants a page, as browsers do: it names HTML, and nothing like JSON as much.

    Args:
        accept: The values of all `Accept` headers, joined by commas.

    """
    ranges = [_read(item) for item in accept.split(",")]
    html = max((weight for media_range, weight in ranges if media_range in _HTML_TYPES), default=0.0)
    json = max((weight for media_range, weight in ranges if media_range in _JSON_TYPES), default=0.0)
    return html > json


def _read(item: str) -> tuple[str, float]:
    """Return a media range and its weight; one whose weight makes no sense counts fully."""
    media_range, *parameters = (part.strip().lower() for part in item.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return media_range, _weight(value.strip())
    return media_range, 1.0


def _weight(value: str) -> float:
    if value == "":
        return 0.0
    return float(value) if _WEIGHT.fullmatch(value) else 1.0
