"""hydra-logger, synchronous, to a file of JSON lines."""

from hydra_logger import (  # type: ignore[import-untyped]
    LogDestination,
    LoggingConfig,
    LogLayer,
    create_logger,
)

from . import Opened


def open_logger(path: str) -> Opened:
    """Set it up."""
    file = LogDestination(type="file", path=path, format="json-lines")
    logger = create_logger(LoggingConfig(layers={"default": LogLayer(destinations=[file])}), logger_type="sync")
    return Opened(logger, logger.close, extra=True)
