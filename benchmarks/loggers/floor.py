"""The least that a JSON line can cost: one dict, one `orjson.dumps`, one `os.write` per event."""

import os
import time
from typing import Any

import orjson

from . import Opened


class Floor:
    """Writes an event and does nothing else."""

    def info(self, event: str, **fields: Any) -> None:
        """Write one line."""
        line = {"timestamp": time.time(), "level": "info", "event": event, **fields}
        os.write(1, orjson.dumps(line) + b"\n")


def open_logger(path: str) -> Opened:  # noqa: ARG001 -- it writes to standard output
    """Return it; there is nothing to set up."""
    return Opened(Floor(), close=lambda: None)
