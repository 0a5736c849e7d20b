"""A log that takes a millisecond per write, whoever writes: through `os`, or through standard output's text layer.

The delay is where a slow disk's would be: in the call that writes, with the interpreter's lock given up.
"""

import io
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SECONDS = 0.001


@dataclass(slots=True)
class Delays:
    """How many writes were delayed: none, with lines in the log, would mean that something wrote past it."""

    count: int = 0

    def one(self) -> None:
        """Wait as long as one write takes."""
        self.count += 1
        time.sleep(SECONDS)


class SlowOutput(io.FileIO):
    """Standard output's file, slow to write.

    Args:
        delays: What waits.
    """

    def __init__(self, delays: Delays) -> None:
        super().__init__(1, "w", closefd=False)
        self._delays = delays

    def write(self, data: Any, /) -> int:
        """Write after the delay."""
        self._delays.one()
        return super().write(data)


def install() -> Delays:
    """Make every write to the file behind standard output slow; before a logger is set up or imports `os.write`."""
    delays = Delays()
    os.write = _slow(os.write, delays)
    os.writev = _slow(os.writev, delays)
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(SlowOutput(delays)), encoding="utf-8")
    return delays


def _slow(write: Callable[..., int], delays: Delays) -> Callable[..., int]:
    log = _identity(1)

    def slow_write(descriptor: int, *arguments: Any) -> int:
        if _identity(descriptor) == log:
            delays.one()
        return write(descriptor, *arguments)

    return slow_write


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
