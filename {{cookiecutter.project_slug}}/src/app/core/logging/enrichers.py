"""Enrichers: functions that add a field to every line, and what is known of their values.

A cheap function is called for each event. What costs is refreshed in the background, and its value is redacted and
rendered when it comes, so that an event pays nothing for it. Whatever an enricher does, the event is logged: one that
fails leaves its field out, is counted, and is told once.
"""

import inspect
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..context import current_context
from ..redaction import redact_field
from .line import NO_FIELDS, Bound, Heads, LineRenderer
from .logger import get_logger
from .rendering import ORDER, to_json

# A call for an event that takes longer is slow; after so many slow ones in a row events do not wait for it any more.
SLOW_SECONDS = 0.005
SLOW_CALLS = 10
LEAST_REFRESH_SECONDS = 0.1
_TAKEN = frozenset(
    {*ORDER, "exc_info", "stack_info", "exception", "stack", "layer"}
    | {"request_id", "trace_id", "span_id", "user_id", "correlation_id"}
)
_log = get_logger(__name__)


@dataclass(eq=False, slots=True)
class Enricher:
    """A function, and how it does.

    Attributes:
        name: The field.
        function: Returns the value, or an awaitable of it.
        refresh_seconds: How old the value may get; None when the function is called for each event.
        failures: How often there was no value, because the function raised or was not waited for any longer.
        slow_calls: How many calls for events were slow, one after the other.
        value: The newest value, redacted; None before there is one.
        rendered: The field as JSON, preceded by a comma; empty when it is left out.

    """

    name: str
    function: Callable[[], Any]
    refresh_seconds: float | None = None
    failures: int = 0
    slow_calls: int = 0
    value: Any = None
    rendered: bytes = b""

    @property
    def is_per_event(self) -> bool:
        """Whether events ask it for a value."""
        return self.refresh_seconds is None and self.slow_calls < SLOW_CALLS


@dataclass(frozen=True, slots=True)
class Enrichment:
    """What the enrichers give, at one moment.

    Attributes:
        values: Values that are refreshed in the background.
        rendered: The same as JSON, each preceded by a comma.
        per_event: Enrichers that are called for each event.

    """

    values: Mapping[str, Any] = field(default_factory=dict)
    rendered: bytes = b""
    per_event: tuple[Enricher, ...] = ()


class Watcher(Protocol):
    """What brings values, and hands on what there is."""

    def added(self, enricher: Enricher) -> None:
        """Take note of an enricher."""

    def removed(self, enricher: Enricher) -> None:
        """Forget an enricher."""

    def changed(self, enrichment: Enrichment) -> None:
        """Take what the enrichers give from now on."""


class Enrichers:
    """The enrichers of a process, and their values."""

    def __init__(self) -> None:
        # Held for a moment only, never while an enricher's function runs.
        self.lock = threading.RLock()
        self.current = Enrichment()
        self._enrichers: dict[str, Enricher] = {}
        self._watcher: Watcher | None = None
        self._inside = threading.local()

    @property
    def failures(self) -> dict[str, int]:
        """How often each enricher failed, by name."""
        with self.lock:
            return {name: enricher.failures for name, enricher in self._enrichers.items()}

    def watch(self, watcher: Watcher) -> None:
        """Tell a watcher of every enricher there is and will be.

        Args:
            watcher: Who is told from now on, instead of any before.

        """
        with self.lock:
            self._watcher = watcher
            for enricher in self._enrichers.values():
                watcher.added(enricher)
            watcher.changed(self.current)

    def unwatch(self, watcher: Watcher) -> None:
        """Tell a watcher nothing more; it forgets every enricher.

        Args:
            watcher: Who was told until now.

        """
        with self.lock:
            if self._watcher is watcher:
                self._watcher = None
            for enricher in self._enrichers.values():
                watcher.removed(enricher)

    def add(self, enricher: Enricher) -> None:
        """Add an enricher, instead of the one of the same name."""
        with self.lock:
            self.remove(enricher.name)
            self._enrichers[enricher.name] = enricher
            self._changed()
            if self._watcher is not None:
                self._watcher.added(enricher)

    def remove(self, name: str) -> None:
        """Take an enricher out; one that there is not is no error."""
        with self.lock:
            enricher = self._enrichers.pop(name, None)
            self._changed()
            if enricher is not None and self._watcher is not None:
                self._watcher.removed(enricher)

    def store(self, enricher: Enricher, value: Any) -> None:
        """Take a new value of an enricher; one that cannot be shown counts as a failure.

        Args:
            enricher: Whose it is.
            value: What its function returned.

        """
        try:
            shown = redact_field(enricher.name, value)
            rendered = b"," + to_json({enricher.name: shown})[1:-1].encode()
        except Exception as error:  # noqa: BLE001 -- whatever the value is, the lines go on without it
            self.fail(enricher, error)
            return
        with self.lock:
            enricher.value, enricher.rendered = shown, rendered
            self._changed()

    def fail(self, enricher: Enricher, error: Exception) -> None:
        """Count a failure, leave the field out, and tell it the first time.

        Args:
            enricher: Whose it is.
            error: What happened.

        """
        with self.lock:
            enricher.failures += 1
            is_first = enricher.failures == 1
            enricher.rendered = b""
            self._changed()
        if is_first:
            _log.warning("enricher.failed", enricher=enricher.name, exc_info=error)

    def add_to(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of an event with those of the enrichers that are called for each; the event's own win."""
        # An enricher may log: that event goes without those that are being asked.
        if not self.current.per_event or getattr(self._inside, "calling", False):
            return fields
        self._inside.calling = True
        values: dict[str, Any] = {}
        try:
            context = current_context()
            for enricher in self.current.per_event:
                if enricher.name not in fields and enricher.name not in context:
                    self._call(enricher, values)
        finally:
            self._inside.calling = False
        return {**values, **fields}

    def _call(self, enricher: Enricher, values: dict[str, Any]) -> None:
        started = time.perf_counter()
        try:
            values[enricher.name] = _value_of(enricher)
        except Exception as error:  # noqa: BLE001 -- whatever an enricher does, the event is logged
            self.fail(enricher, error)
        is_slow = time.perf_counter() - started > SLOW_SECONDS
        enricher.slow_calls = enricher.slow_calls + 1 if is_slow else 0
        if enricher.slow_calls == SLOW_CALLS:
            self._changed()
            _log.warning("enricher.suspended", enricher=enricher.name, remedy="register it with refresh_seconds")

    def _changed(self) -> None:
        with self.lock:
            known = [enricher for enricher in self._enrichers.values() if enricher.rendered]
            changed = Enrichment(
                {enricher.name: enricher.value for enricher in known},
                b"".join(enricher.rendered for enricher in known),
                tuple(enricher for enricher in self._enrichers.values() if enricher.is_per_event),
            )
            if (changed.rendered, changed.per_event) != (self.current.rendered, self.current.per_event):
                self.current = changed
                if self._watcher is not None:
                    self._watcher.changed(changed)


class EnrichedLineRenderer(LineRenderer):
    """Renders plain events with values that are rendered already.

    Args:
        identity: Service, environment and version.
        enrichment: The values.

    """

    def __init__(self, identity: tuple[str, str, str], enrichment: Enrichment) -> None:
        super().__init__(*identity, rendered=enrichment.rendered)
        self._names = enrichment.values.keys()

    def render(self, heads: Heads, event: Any, fields: dict[str, Any], bound: Bound = NO_FIELDS) -> bytes | None:
        """Return the line with its line feed, or None when the event needs the chain: to override a value, too."""
        overridden = any(not self._names.isdisjoint(names) for names in (fields, bound, current_context()))
        return None if overridden else super().render(heads, event, fields, bound)


def _value_of(enricher: Enricher) -> Any:
    value = enricher.function()
    if inspect.isawaitable(value):
        close = getattr(value, "close", None)
        if close is not None:
            close()
        msg = f"the enricher {enricher.name!r} returned an awaitable, which no event waits for; give refresh_seconds"
        raise TypeError(msg)
    return value


enrichers = Enrichers()


def register_enricher(name: str, function: Callable[[], Any], *, refresh_seconds: float | None = None) -> None:
    """Add a field to every line; a field of the same name that an event or its context has wins.

    Args:
        name: The field. An enricher that had it before is replaced.
        function: Returns its value. Without `refresh_seconds` it is called for each event, by whoever logs, so it must
            be cheap and do no I/O.
        refresh_seconds: How old the value may get. The function, which may be an `async def`, is then called in the
            background, in a thread, or on the loop that it was registered on. `math.inf`: once.

    Raises:
        ValueError: The name is taken, or the refresh is too frequent or missing.

    """
    if not name.isidentifier() or name in _TAKEN:
        msg = f"an enricher's field {name!r}: allowed is an identifier other than {', '.join(sorted(_TAKEN))}"
        raise ValueError(msg)
    if refresh_seconds is None and inspect.iscoroutinefunction(function):
        msg = f"the enricher {name!r} is an async function, which no event waits for; give refresh_seconds"
        raise ValueError(msg)
    if refresh_seconds is not None and not refresh_seconds >= LEAST_REFRESH_SECONDS:
        msg = f"refresh_seconds of the enricher {name!r}: received {refresh_seconds}; allowed: at least 0.1, or None"
        raise ValueError(msg)
    enrichers.add(Enricher(name, function, refresh_seconds))


def remove_enricher(name: str) -> None:
    """Take an enricher's field out of the lines; a name that no enricher has is no error.

    Args:
        name: The field.

    """
    enrichers.remove(name)
