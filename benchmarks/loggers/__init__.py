"""The loggers side by side: one module each, set up as its own documentation does for JSON lines in production.

`open_logger` of a module takes the path of the log file, which is also this process's standard output.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

EVENT = "Request completed"


@dataclass(frozen=True, slots=True)
class Opened:
    """A logger that is ready.

    Attributes:
        log: What has `info` and `error`.
        close: Delivers what is waiting, and stops.
        extra: Whether fields are passed as `extra={…}`, not as keywords.
        health: What it says of itself, if it does.
    """

    log: Any
    close: Callable[[], object]
    extra: bool = False
    health: Callable[[], Any] | None = None

    def info(self, fields: dict[str, Any]) -> None:
        """Log the event, where nothing is timed."""
        self.log.info(EVENT, **({"extra": fields} if self.extra else fields))

    def error(self, fields: dict[str, Any]) -> None:
        """Log the event as an error."""
        self.log.error(EVENT, **({"extra": fields} if self.extra else fields))


def open_logger(name: str, path: str) -> Opened:
    """Set up a logger.

    Args:
        name: The module's name.
        path: The log file.
    """
    opened: Opened = import_module(f"benchmarks.loggers.{name}").open_logger(path)
    return opened
