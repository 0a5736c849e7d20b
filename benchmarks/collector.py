"""A reader of a log that comes through a pipe, within a bounded time."""

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

CHUNK = 1 << 16


class NoEndError(Exception):
    """Whoever writes to the pipe did not end in time."""


@dataclass(slots=True)
class Collector:
    """Reads a pipe, when it is asked to.

    Attributes:
        source: The end to read from.
        sink: The end that a child gets as its standard output; to be closed once the child has it.
        taken: What was read.
    """

    source: int
    sink: int
    taken: bytearray

    def close_sink(self) -> None:
        """Leave the children the only ones that write, so that the pipe ends with them."""
        os.close(self.sink)
        self.sink = -1

    def wait(self, seconds: float) -> None:
        """Wait until there is something to read, or a time is over.

        Args:
            seconds: The time.
        """
        select.select([self.source], [], [], seconds)

    def read(self, seconds: float) -> bool:
        """Read for some time, and return whether the pipe has ended.

        Args:
            seconds: How long, at most.
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self.source], [], [], left)[0]:
                data = os.read(self.source, CHUNK)
                if not data:
                    return True
                self.taken += data
        return False

    def read_to_end(self, seconds: float) -> list[bytes]:
        """Read all that comes, and return the lines.

        Args:
            seconds: How long, at most.

        Raises:
            NoEndError: The pipe was still open then.
        """
        if not self.read(seconds):
            msg = f"the log did not end within {seconds:g} s"
            raise NoEndError(msg)
        return bytes(self.taken).splitlines()


@contextmanager
def collector() -> Iterator[Collector]:
    """Give a pipe whose buffer is as large as the system makes it, and close it with the block."""
    source, sink = os.pipe()
    opened = Collector(source, sink, bytearray())
    try:
        yield opened
    finally:
        os.close(source)
        if opened.sink >= 0:
            os.close(opened.sink)
