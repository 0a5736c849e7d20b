"""One engine that every event and every record of the process passes.

What the caller pays is here: a line is rendered and handed on. Redaction, other formats and writing come after.
"""

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import structlog

from ...core import logging as chain
from ...settings import Settings

Put = Callable[[bytes, bool], None]
_NUMBERS = {"notset": 0, "debug": 10, "info": 20, "warning": 30, "error": 40, "exception": 40, "critical": 50}
_ERROR = 40
# Libraries that are chatty at their own INFO, or that say what the access line says better.
_QUIET = {
    "alembic": "WARNING",
    "httpcore2": "WARNING",
    "httpx2": "WARNING",
    "uvicorn.access": "CRITICAL",
}


class Engine:
    """Takes events, and hands their lines on.

    Args:
        settings: Levels, and who is speaking.
        put: Takes a line, and whether it is an error.
        on_event: Called with the level of each event.

    """

    def __init__(self, settings: Settings, put: Put, on_event: Callable[[str], None] | None) -> None:
        identity = identity_of(settings)
        self.levels = chain.LevelFilter(settings.log.level, levels_of(settings))
        self._threshold = self.levels.threshold
        self._render = chain.LineRenderer(*identity).render
        self._processors: tuple[chain.Processor, ...] = (
            self.levels,
            chain.add_level,
            *([chain.count(on_event)] if on_event else []),
            chain.add_context,
            chain.add_timestamp,
            chain.add_exception,
            chain.redact_event,
            chain.add_service(*identity),
        )
        self._put = put
        self._on_event = on_event

    def is_enabled(self, name: str, number: int) -> bool:
        """Return whether a logger's events of a level are wanted."""
        return number >= self._threshold(name)

    def log(self, name: str, level: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
        """Take an event of a logger; never raises."""
        number = _NUMBERS[level]
        if number < self._threshold(name):
            return
        line = None if args or level == "exception" else self._render(name, level, event, fields)
        if line is None:
            self.process(name, level, {**fields, "event": _formatted(event, args), "logger": name})
            return
        try:
            if self._on_event is not None:
                self._on_event(level)
            self._put(line, number >= _ERROR)
        except Exception:  # noqa: BLE001 -- neither a counter nor a sink may break whoever logs
            say_lost(name)

    def process(self, name: str, level: str, event: chain.Event) -> None:
        """Take an event through the chain, the long way; never raises."""
        try:
            for processor in self._processors:
                event = processor(None, level, event)
            self._put(chain.to_json(event).encode() + b"\n", _NUMBERS[event["level"]] >= _ERROR)
        except structlog.DropEvent:
            return
        except Exception:  # noqa: BLE001 -- whoever logs is not to blame for what it is asked to show
            say_lost(name)


def identity_of(settings: Settings) -> tuple[str, str, str]:
    """Return who is speaking: the service, its environment, its version."""
    return settings.service_name, settings.environment, settings.service_version


def levels_of(settings: Settings) -> dict[str, str]:
    """Return the levels of single loggers, those of chatty libraries among them."""
    return {**_QUIET, **settings.log.levels}


def _formatted(event: Any, args: tuple[Any, ...]) -> Any:
    """Return the event with its arguments, as the standard library would put them in."""
    if not args:
        return event
    try:
        return str(event) % (args[0] if len(args) == 1 and isinstance(args[0], Mapping) else args)
    except Exception:  # noqa: BLE001 -- a wrong format string must not lose the event
        return f"{event} {args}"


def say_lost(name: str) -> None:
    """Say on standard error that a line was lost, but not what it said: it may not have passed the redaction."""
    with suppress(Exception):
        sys.stderr.write(f"a log line of {name!r} was lost\n")
