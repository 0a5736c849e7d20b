"""What takes log lines at last: a file descriptor or a stream without one."""

import json
import os
import re
import select
import stat
import threading
from typing import Protocol, TextIO

# One write of at most this much is never torn or mixed with another process's, POSIX promises for pipes.
PIPE_BUF = 4096
CHUNK = 256 * 1024


class Sink(Protocol):
    """Where lines end up."""

    def write(self, lines: list[bytes]) -> None:
        """Write whole lines, each with its line feed; may block; raises OSError when it cannot."""


def chunks(lines: list[bytes], size: int) -> list[bytes]:
    """Return the lines joined to pieces of at most this size; a longer line is a piece of its own.

    Args:
        lines: Whole lines.
        size: Bytes.

    """
    pieces: list[list[bytes]] = [[]]
    filled = 0
    for line in lines:
        if filled and filled + len(line) > size:
            pieces.append([])
            filled = 0
        pieces[-1].append(line)
        filled += len(line)
    return [b"".join(piece) for piece in pieces if piece]


class FileDescriptorSink:
    """Writes to a descriptor, such as that of standard output.

    Args:
        descriptor: An open file descriptor; it is not closed.

    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        mode = os.fstat(descriptor).st_mode
        self._size = PIPE_BUF if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else CHUNK

    def write(self, lines: list[bytes]) -> None:
        """Write the lines in as few calls as keep each whole."""
        for piece in chunks(lines, self._size):
            self._write_all(memoryview(piece))

    def _write_all(self, piece: memoryview) -> None:
        while piece:
            try:
                piece = piece[os.write(self._descriptor, piece) :]
            except BlockingIOError:
                # Somebody made the descriptor non-blocking; waiting here blocks nobody else.
                select.select([], [self._descriptor], [], 1.0)


class StreamSink:
    """Writes to a text stream that has no descriptor.

    Args:
        stream: Where to write.

    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def write(self, lines: list[bytes]) -> None:
        """Write the lines in one call."""
        text = b"".join(lines).decode()
        with self._lock:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self._stream.write(re.sub(r"[^\x00-\x7f]", lambda match: json.dumps(match.group())[1:-1], text))
            self._stream.flush()
