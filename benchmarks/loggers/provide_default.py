"""provide-foundation as JSON, its emoji and its sanitizing on, as they are by default."""

import os

from . import Opened


def open_logger(path: str) -> Opened:  # noqa: ARG001 -- it writes to standard error
    """Set it up by its environment variables, which it reads when it is imported."""
    os.environ.update(PROVIDE_LOG_LEVEL="INFO", PROVIDE_LOG_CONSOLE_FORMATTER="json")
    os.dup2(1, 2)
    from provide.foundation import get_logger

    return Opened(get_logger("benchmark"), close=lambda: None)
