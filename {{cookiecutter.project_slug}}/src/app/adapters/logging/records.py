"""The standard library's logging, taken over: libraries' records pass the engine that own events pass."""

import logging
from collections.abc import Mapping

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

    def install(self) -> None:
        """Make this the only handler, and set the loggers' levels: a library's own would drop what is asked for."""
        for handler in logging.root.handlers:
            if isinstance(handler, RecordHandler):
                handler.restore_levels()
        for name, level in self._levels.items():
            self._levels_before[name] = logging.getLogger(name).level
            logging.getLogger(name).setLevel(level)
        logging.root.handlers[:] = [self]

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


def take_over_standard_library(handler: RecordHandler, level: int) -> None:
    """Make the root logger the only one with a handler, so that no library writes past the redaction."""
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.disabled = False
    handler.install()
    logging.root.setLevel(level)
    logging.captureWarnings(capture=True)
