"""The emitted project's logging, with redaction by field name and by value, as it is by default."""

import sys

from app.adapters import logging as adapter
from app.core.logging import get_logger

from ..apps.emitted import settings
from . import Opened


def open_logger(path: str) -> Opened:  # noqa: ARG001 -- it writes to standard output
    """Set it up as the entry point does."""
    adapter.configure_logging(settings())
    close = getattr(adapter, "close_logging", sys.stdout.flush)
    return Opened(get_logger("benchmark"), close, health=getattr(adapter, "log_health", None))
