"""loguru with `serialize=True`."""

import sys

from loguru import logger

from . import Opened


def open_logger(path: str) -> Opened:  # noqa: ARG001 -- it writes to standard output
    """Set it up."""
    logger.remove()
    logger.add(sys.stdout, serialize=True)
    return Opened(logger, logger.complete)
