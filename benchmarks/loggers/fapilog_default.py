"""fapilog as `get_logger()` gives it: JSON on standard output, a bounded queue that drops when it is full."""

import asyncio

from fapilog import get_logger

from . import Opened


def open_logger(path: str) -> Opened:  # noqa: ARG001 -- it writes to standard output
    """Set it up."""
    logger = get_logger()
    return Opened(logger, close=lambda: asyncio.run(logger.stop_and_drain()))
