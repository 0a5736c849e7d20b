"""The standard library with python-json-logger's formatter."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

from . import Opened


def open_logger(path: str) -> Opened:  # noqa: ARG001 -- it writes to standard output
    """Set it up."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    return Opened(logging.getLogger("benchmark"), logging.shutdown, extra=True)
