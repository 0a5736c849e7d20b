"""Hide secrets in finished spans, a batch at a time, on the thread that exports them.

One look at the texts of a whole batch tells almost always that there is nothing to hide; only then is a span looked at
by itself.
"""

from collections.abc import Sequence
from typing import Any

from .redaction import REDACTED, may_hold_secret, redact_field, redact_text
from .spans import Attributes, RecordedSpan

# A name of which nobody is sure hides a value that a machine made, such as this one.
_MACHINE_MADE = "q7Zx0mKd2VwR9tLs4YbN"
_SHORTEST_CARD = 10**13
# Containers and objects are always walked: in place of their content stands a word that is looked at more closely.
_CONTAINER = "password"


def redact_spans(spans: Sequence[RecordedSpan]) -> None:
    """Hide, in place, what must not leave the process.

    Args:
        spans: Finished spans.

    """
    names = {name for span in spans for attributes in _all_attributes(span) for name in attributes}
    hidden = frozenset(name for name in names if redact_field(name, _MACHINE_MADE) != _MACHINE_MADE)
    if not hidden and not may_hold_secret("\n".join([*names, *map(_text, spans)])):
        return
    for span in spans:
        if _names_one(span, hidden) or may_hold_secret(_text(span) + _names_text(span)):
            _redact(span)


def _all_attributes(span: RecordedSpan) -> Sequence[Attributes]:
    if not span.events and not span.links:
        return (span.attributes,)
    return (span.attributes, *(event.attributes for event in span.events), *(link.attributes for link in span.links))


def _names_one(span: RecordedSpan, hidden: frozenset[str]) -> bool:
    return bool(hidden) and any(not hidden.isdisjoint(attributes) for attributes in _all_attributes(span))


def _names_text(span: RecordedSpan) -> str:
    return "".join(f"\n{name}" for attributes in _all_attributes(span) for name in attributes)


def _text(span: RecordedSpan) -> str:
    """Return the texts of a span as one line of pieces, the way that the look at them knows lines of JSON."""
    parts = [span.name, *[_shown(value) for value in span.attributes.values()]]
    if span.trace.state or span.status_message or span.events or span.links:
        parts += [span.trace.state, span.status_message]
        parts += [event.name for event in span.events]
        parts += [_shown(value) for attributes in _all_attributes(span)[1:] for value in attributes.values()]
    return '"'.join(parts)


def _shown(value: Any) -> str:
    """Return what is looked at of a value."""
    if value.__class__ is str:
        return str(value)
    if value.__class__ is bool or value.__class__ is float:
        return ""
    if value.__class__ is int:
        return "" if abs(value) < _SHORTEST_CARD else str(value)
    return _CONTAINER


def _redact(span: RecordedSpan) -> None:
    try:
        _redact_parts(span)
    except Exception:  # noqa: BLE001 -- what could not be looked at must not be shown; the span itself still counts
        span.name, span.attributes, span.events, span.links, span.status_message = REDACTED, {}, (), (), ""


def _redact_parts(span: RecordedSpan) -> None:
    span.name = redact_text(span.name)
    span.status_message = redact_text(span.status_message)
    if redact_text(span.trace.state) != span.trace.state:
        span.trace = span.trace._replace(state="")
    span.attributes = _redacted(span.attributes)
    span.events = tuple(
        event._replace(name=redact_text(event.name), attributes=_redacted(event.attributes)) for event in span.events
    )
    span.links = tuple(link._replace(attributes=_redacted(link.attributes)) for link in span.links)


def _redacted(attributes: Attributes) -> Attributes:
    return {redact_text(name): redact_field(name, value) for name, value in attributes.items()}
