"""The chain of pure steps that make an event: own events and the standard library's records pass the same.

An event becomes a mapping with the contract's fields, redacted; rendering and delivery come after.
"""

import logging
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import structlog

from ..context import current_context
from ..redaction import redact, redact_field, redact_text
from .exceptions import describe_exception, exception_of
from .rendering import ORDER

Event = MutableMapping[str, Any]
Processor = Callable[[Any, str, Event], Event]
_LEVELS = ("notset", "debug", "info", "warning", "error", "critical")
_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "color_message",
    "taskName",
}


class LevelFilter:
    """Drops events below the level of their logger, or of the nearest parent that has one.

    Args:
        default: The level of all other loggers.
        levels: Logger name to level.

    """

    def __init__(self, default: str, levels: Mapping[str, str]) -> None:
        numbers = logging.getLevelNamesMapping()
        self._default = numbers[default]
        self._levels = {name: numbers[level] for name, level in levels.items()}
        self.lowest = min([self._default, *self._levels.values()])
        self.threshold = lru_cache(maxsize=1024)(self._threshold)

    def _threshold(self, name: str) -> int:
        while name:
            if name in self._levels:
                return self._levels[name]
            name = name.rpartition(".")[0]
        return self._default

    def __call__(self, _logger: Any, method: str, event: Event) -> Event:
        """Pass the event on, or raise `structlog.DropEvent`."""
        level = logging.CRITICAL if method == "exception" else logging.getLevelNamesMapping()[method.upper()]
        if level < self.threshold(str(event.get("logger", ""))):
            raise structlog.DropEvent
        return event


def add_level(_logger: Any, method: str, event: Event) -> Event:
    """Add the level's name."""
    event["level"] = {"warn": "warning", "exception": "error"}.get(method, method)
    return event


def level_name(number: int) -> str:
    """Return the level that a number of the standard library counts as; libraries name their own as they like.

    Args:
        number: What the record has.

    """
    return _LEVELS[max(0, min(number // 10, 5))]


def count(on_event: Callable[[str], None]) -> Processor:
    """Return the step that tells a counter the level of each event.

    Args:
        on_event: Called with the level's name.

    """

    def tell(_logger: Any, _method: str, event: Event) -> Event:
        on_event(event["level"])
        return event

    return tell


def add_context(_logger: Any, _method: str, event: Event) -> Event:
    """Add the open context's fields, the ids of the request and of the current span among them; own fields win."""
    return {**current_context(), **event}


def add_timestamp(_logger: Any, _method: str, event: Event) -> Event:
    """Add the time, RFC 3339 in UTC with microseconds (https://www.rfc-editor.org/rfc/rfc3339)."""
    now = datetime.now(UTC)
    event["timestamp"] = f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond:06d}Z"
    return event


def add_exception(_logger: Any, method: str, event: Event) -> Event:
    """Turn `exc_info` into `exception`: a list of causes, innermost last, without local variables."""
    info = event.pop("exc_info", None)
    error = exception_of(info if info is not None else method == "exception")
    if error is not None:
        event["exception"] = describe_exception(error)
    stack = event.pop("stack_info", None)
    if stack is True:
        stack = _render_stack(None, method, {"stack_info": True})["stack"]
    if stack:
        event["stack"] = str(stack)
    return event


_render_stack = structlog.processors.StackInfoRenderer(additional_ignores=[__name__])


def redact_event(_logger: Any, _method: str, event: Event) -> Event:
    """Hide secrets in every field, and in names that come from data."""
    return {
        name if name.isidentifier() else redact_text(name): redact_field(name, value) for name, value in event.items()
    }


def add_service(service: str, environment: str, version: str) -> Processor:
    """Return the step that adds who is speaking and puts the fields in order.

    Args:
        service: The service's name.
        environment: Where it runs.
        version: The service's version.

    """
    identity = {"service": service, "environment": environment, "version": version}

    def add(_logger: Any, _method: str, event: Event) -> Event:
        named = {**event, **identity}
        ordered = {name: named[name] for name in ORDER if name in named}
        return {**ordered, **{name: value for name, value in named.items() if name not in ordered}}

    return add


def record_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return a standard library record as an event.

    Args:
        record: The record of a library, `print`-style arguments and `extra` fields included.

    """
    extra = {name: value for name, value in vars(record).items() if name not in _RECORD_FIELDS}
    return {
        **extra,
        "event": _message_of(record),
        "logger": record.name,
        "exc_info": record.exc_info,
        "stack_info": record.stack_info,
    }


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 -- a wrong format string in a library must not lose its record
        return f"{redact(record.msg)} {redact(record.args)}"


def redacted_record(record: logging.LogRecord) -> logging.LogRecord:
    """Return a record of the same for a handler that knows no redaction: its exception is text, without an object.

    Args:
        record: What a library logs.

    """
    fields = record_fields(record)
    shown = logging.makeLogRecord(vars(record))
    shown.msg, shown.args = redact_text(str(fields.pop("event"))), None
    error = exception_of(fields.pop("exc_info"))
    text = "".join(traceback.format_exception(error)) if error is not None else record.exc_text
    shown.exc_info, shown.exc_text = None, redact_text(text.rstrip("\n")) if text else None
    shown.stack_info = redact_text(record.stack_info) if record.stack_info else None
    del fields["logger"], fields["stack_info"]
    vars(shown).update((name, redact_field(name, value)) for name, value in fields.items())
    return shown
