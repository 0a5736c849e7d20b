"""The logger that callers hold: structlog's interface, without structlog's price.

A logger knows its name and nothing else; what happens to an event is the engine's concern, which is installed when the
process is configured. So a logger made at import follows whatever configuration comes later. `structlog.get_logger()`
goes through the same engine.
"""

import logging
from typing import Any, Protocol

from .line import NO_FIELDS, Bound


class Engine(Protocol):
    """What takes events."""

    def log(
        self, name: str, level: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any], bound: Bound
    ) -> None:
        """Take an event; never raises."""

    def is_enabled(self, name: str, number: int) -> bool:
        """Return whether a logger's events of a level are wanted."""


class _StandardLibrary:
    """Before anything is configured, events go to the standard library's logging, as a library's would."""

    def log(
        self, name: str, level: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any], bound: Bound
    ) -> None:
        fields = {**bound, **fields}
        exc_info = fields.pop("exc_info", level == "exception")
        number = logging.getLevelNamesMapping().get(level.upper(), logging.ERROR)
        message = f"{event} {fields}" if fields else str(event)
        logging.getLogger(name).log(number, message, *args, exc_info=exc_info)

    def is_enabled(self, name: str, number: int) -> bool:
        return logging.getLogger(name).isEnabledFor(number)


class _Installed:
    engine: Engine = _StandardLibrary()


def install(engine: Engine) -> None:
    """Send all events of this process to an engine.

    Args:
        engine: What takes them from now on.

    """
    _Installed.engine = engine


class Logger:
    """Takes events whose fields are keywords.

    Args:
        name: The logger's name; levels are set per name.
        bound: Bound of every event.

    """

    __slots__ = ("_bound", "name")

    def __init__(self, name: str, bound: Bound = NO_FIELDS) -> None:
        self.name = name
        self._bound = bound

    def bind(self, **fields: Any) -> "Logger":
        """Return a logger that adds fields to every event."""
        return Logger(self.name, Bound({**self._bound, **fields}))

    def unbind(self, *names: str) -> "Logger":
        """Return a logger without some of the bound fields."""
        return Logger(self.name, Bound({name: value for name, value in self._bound.items() if name not in names}))

    def is_enabled_for(self, number: int) -> bool:
        """Return whether events of a level, as the standard library numbers it, are wanted."""
        return _Installed.engine.is_enabled(self.name, number)

    def debug(self, event: Any, /, *args: Any, **fields: Any) -> None:
        """Log at level debug."""
        _Installed.engine.log(self.name, "debug", event, args, fields, self._bound)

    def info(self, event: Any, /, *args: Any, **fields: Any) -> None:
        """Log at level info."""
        _Installed.engine.log(self.name, "info", event, args, fields, self._bound)

    def warning(self, event: Any, /, *args: Any, **fields: Any) -> None:
        """Log at level warning."""
        _Installed.engine.log(self.name, "warning", event, args, fields, self._bound)

    def error(self, event: Any, /, *args: Any, **fields: Any) -> None:
        """Log at level error."""
        _Installed.engine.log(self.name, "error", event, args, fields, self._bound)

    def critical(self, event: Any, /, *args: Any, **fields: Any) -> None:
        """Log at level critical."""
        _Installed.engine.log(self.name, "critical", event, args, fields, self._bound)

    def exception(self, event: Any, /, *args: Any, **fields: Any) -> None:
        """Log at level error, with the exception that is being handled."""
        _Installed.engine.log(self.name, "exception", event, args, fields, self._bound)


def get_logger(name: str) -> Logger:
    """Return a logger whose events take fields as keywords: `log.info("order.placed", order_id=…)`.

    Args:
        name: The logger's name, usually `__name__`; levels are set per name.

    """
    return Logger(name)
