"""One engine that every event and every record of the process passes.

What the caller pays is here: a line is rendered and handed on. Redaction, other formats and writing come after.
"""

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import structlog

from ...core import logging as chain
from ...core.logging.enrichers import EnrichedLineRenderer, Enrichers, Enrichment
from ...settings import Settings

Put = Callable[[bytes, bool], None]
# Logger, level and `layer` field of an event to what takes its line.
Route = Callable[[str, int, object], Put]
_NUMBERS = {"notset": 0, "debug": 10, "info": 20, "warning": 30, "error": 40, "exception": 40, "critical": 50}
_ERROR = 40
_MAX_WAYS = 4096
# Libraries that are chatty at their own INFO, or that say what a line of ours says better.
_QUIET = {
    "aiormq": "CRITICAL",
    "alembic": "WARNING",
    "celery.app.trace": "CRITICAL",
    "celery.apps.worker": "WARNING",
    "celery.worker.request": "CRITICAL",
    "celery.worker.strategy": "WARNING",
    "django.server": "CRITICAL",
    "gunicorn.access": "CRITICAL",
    "httpcore2": "WARNING",
    "httpx2": "WARNING",
    "uvicorn.access": "CRITICAL",
}


class _Ways(dict[tuple[str, str], tuple[Put, bool, chain.Heads] | None]):
    """Logger and level to what takes the line, whether it is an error, and the heads of lines; None if not wanted."""

    def __init__(self, threshold: Callable[[str], int], route: Route, renderer: chain.LineRenderer) -> None:
        super().__init__()
        self._threshold = threshold
        self._route = route
        self._heads = renderer.heads

    def __missing__(self, key: tuple[str, str]) -> tuple[Put, bool, chain.Heads] | None:
        name, level = key
        number = _NUMBERS[level]
        if len(self) >= _MAX_WAYS:
            self.clear()
        wanted = number >= self._threshold(name)
        self[key] = way = (
            (self._route(name, number, None), number >= _ERROR, self._heads(name, level)) if wanted else None
        )
        return way


class Engine:
    """Takes events, and hands their lines on.

    Args:
        settings: Levels, layers, and who is speaking.
        route: Says what takes a line.
        on_event: Called with the level of each event.
        enrichers: What adds fields to every event.

    """

    def __init__(
        self,
        settings: Settings,
        route: Route,
        on_event: Callable[[str], None] | None = None,
        enrichers: Enrichers | None = None,
    ) -> None:
        identity = identity_of(settings)
        self.levels = chain.LevelFilter(settings.log.level, levels_of(settings))
        self._threshold = self.levels.threshold
        self._route = route
        self._has_layers = bool(settings.log.layers)
        self._identity = identity
        self._use(chain.LineRenderer(*identity))
        self._enrichers = enrichers or Enrichers()
        self._values: Mapping[str, Any] = {}
        self._processors: tuple[chain.Processor, ...] = (
            self.levels,
            chain.add_level,
            *([chain.count(on_event)] if on_event else []),
            chain.add_context,
            self._add_values,
            chain.add_timestamp,
            chain.add_exception,
            chain.redact_event,
            chain.add_service(*identity),
        )
        self._on_event = on_event

    def is_enabled(self, name: str, number: int) -> bool:
        """Return whether a logger's events of a level are wanted."""
        return number >= self._threshold(name)

    def log(
        self, name: str, level: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any], bound: chain.Bound
    ) -> None:
        """Take an event of a logger; never raises."""
        way = self._ways[name, level]
        if way is None:
            return
        put, is_error, heads = way
        line = None if args or level == "exception" else self._render(heads, event, fields, bound)
        if line is None:
            self._process(name, level, {**bound, **fields, "event": _formatted(event, args), "logger": name})
            return
        try:
            if self._on_event is not None:
                self._on_event(level)
            if self._has_layers and ("layer" in fields or "layer" in bound):
                put = self._route(name, _NUMBERS[level], {**bound, **fields}["layer"])
            put(line, is_error)
        except Exception:  # noqa: BLE001 -- neither a counter nor a sink may break whoever logs
            say_lost(name)

    def process(self, name: str, level: str, event: dict[str, Any]) -> None:
        """Take an event through the chain, the long way; never raises."""
        self._process(name, level, self._enrichers.add_to(event))

    def _process(self, name: str, level: str, event: chain.Event) -> None:
        try:
            layer = event.get("layer")
            for processor in self._processors:
                event = processor(None, level, event)
            number = _NUMBERS[event["level"]]
            put = self._route(name, number, layer)
            put(chain.to_json(event).encode() + b"\n", number >= _ERROR)
        except structlog.DropEvent:
            return
        except Exception:  # noqa: BLE001 -- whoever logs is not to blame for what it is asked to show
            say_lost(name)

    def enrich(self, enrichment: Enrichment) -> None:
        """Add these values to every event from now on, and send all events here.

        Args:
            enrichment: What the enrichers give; an engine of its own asks those that are called for each event.

        """
        self._values = enrichment.values
        enriched = EnrichedLineRenderer(self._identity, enrichment) if enrichment.values else None
        self._use(enriched or chain.LineRenderer(*self._identity))
        chain.install(AskingEngine(self, self._enrichers) if enrichment.per_event else self)

    def _use(self, renderer: chain.LineRenderer) -> None:
        self._ways = _Ways(self._threshold, self._route, renderer)
        self._render = renderer.render

    def _add_values(self, _logger: Any, _method: str, event: chain.Event) -> chain.Event:
        return {**self._values, **event} if self._values else event


class AskingEngine:
    """Asks the enrichers that are called for each event; there is one only while there are such enrichers.

    Args:
        engine: What takes the events.
        enrichers: What adds to them.

    """

    def __init__(self, engine: Engine, enrichers: Enrichers) -> None:
        self._engine = engine
        self._enrichers = enrichers
        self.is_enabled = engine.is_enabled

    def log(
        self, name: str, level: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any], bound: chain.Bound
    ) -> None:
        """Take an event of a logger; never raises."""
        if self.is_enabled(name, _NUMBERS[level]):
            own = self._enrichers.add_to({**bound, **fields})
            self._engine.log(name, level, event, args, own, chain.NO_FIELDS)


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
