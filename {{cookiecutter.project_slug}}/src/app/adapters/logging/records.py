"""The standard library's logging, taken over: libraries' records pass the engine that own events pass.

Handlers that are there are removed. One that a library adds later, with `basicConfig`, `dictConfig` or by hand, cannot
be kept away, but it can be kept from showing what was not redacted: every record passes `Logger.callHandlers`, which is
replaced for that reason. There each record goes to the engine, whatever handlers its logger has and whether or not it
propagates. Late handlers that write to standard output or error are left out, for the line is there already; all others
get a redacted copy.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ...core import logging as chain
from .engine import Engine, say_lost


class RecordHandler(logging.Handler):
    """Sends the standard library's records through the engine that own events pass.

    Args:
        engine: What takes them.
        levels: Logger name to level.

    """

    def __init__(self, engine: Engine, levels: Mapping[str, str]) -> None:
        super().__init__()
        self._engine = engine
        self._levels = levels
        self._levels_before: dict[str, int] = {}

    def set_levels(self) -> None:
        """Set the loggers' levels: a library's own would drop what is asked for."""
        for name, level in self._levels.items():
            self._levels_before[name] = logging.getLogger(name).level
            logging.getLogger(name).setLevel(level)

    def restore_levels(self) -> None:
        """Give the loggers back the levels that they had, unless somebody set another one since."""
        for name, level in self._levels_before.items():
            logger = logging.getLogger(name)
            if logging.getLevelName(logger.level) == self._levels[name]:
                logger.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record; one about an exception that is in the log already is left out."""
        if chain.is_reported(record.exc_info[1] if record.exc_info else None):
            return
        try:
            fields = chain.record_fields(record)
        except Exception:  # noqa: BLE001 -- what a library passes must never break the caller that logs it
            say_lost(record.name)
            return
        self._engine.process(record.name, chain.level_name(record.levelno), fields)


class _Taken:
    """What takes all records now; None until the standard library's logging was taken over."""

    handler: RecordHandler | None = None


def take_over_standard_library(handler: RecordHandler, level: int) -> None:
    """Send the records of every logger to a handler, so that no library writes past the redaction.

    Args:
        handler: What takes them, instead of all handlers that there are.
        level: The lowest level that is wanted, as the standard library numbers it.

    """
    if _Taken.handler is None:
        # Once only: what others, such as a tracer, lay around it later stays.
        logging.Logger.callHandlers = _call_handlers  # type: ignore[assignment, method-assign]
    else:
        _Taken.handler.restore_levels()
    _Taken.handler = handler
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.disabled = False
    handler.set_levels()
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level)
    logging.captureWarnings(capture=True)


def _call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
    """Bring a record to the engine, and a redacted copy of it to handlers that came late."""
    if _Taken.handler is not None:
        _Taken.handler.emit(record)
    late = [handler for handler in _late_handlers(logger) if record.levelno >= handler.level]
    if not late:
        return
    try:
        shown = chain.redacted_record(record)
    except Exception:  # noqa: BLE001 -- what cannot be redacted is in no other log, and breaks nobody
        say_lost(record.name)
        return
    for handler in late:
        handler.handle(shown)


def _late_handlers(logger: logging.Logger) -> Iterator[logging.Handler]:
    """Yield the handlers that a record of the logger would meet, but for those that would show the line again."""
    current: logging.Logger | None = logger
    while current is not None:
        for handler in current.handlers:
            if not isinstance(handler, RecordHandler) and not _shows_on_a_standard_stream(handler):
                yield handler
        current = current.parent if current.propagate else None


def _shows_on_a_standard_stream(handler: logging.Handler) -> bool:
    stream: Any = getattr(handler, "stream", None)
    if stream is None:
        return False
    if stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        return True
    try:
        return stream.fileno() in (1, 2)
    except (AttributeError, OSError, ValueError):
        return False
