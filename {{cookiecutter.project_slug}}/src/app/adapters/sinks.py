"""What takes log lines at last: a file descriptor, a stream without one, or a file that is rotated."""

import json
import os
import re
import select
import stat
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Protocol, TextIO

try:
    import fcntl

    HAS_FILE_LOCKS = True
except ImportError:  # Windows
    HAS_FILE_LOCKS = False

# One write of at most this much is never torn or mixed with another process's, POSIX promises for pipes.
PIPE_BUF = 4096
CHUNK = 1024 * 1024
# The owner writes, the group may read, others see nothing.
FILE_MODE = 0o640


class Sink(Protocol):
    """Where lines end up."""

    def write(self, lines: list[bytes]) -> None:
        """Write whole lines, each with its line feed; may block; raises OSError when it cannot.

        Tried again with the same list, it goes on where it failed.
        """


def chunks(lines: list[bytes], size: int) -> list[bytes]:
    """Return the lines joined to pieces of at most this size; a longer line is a piece of its own.

    Args:
        lines: Whole lines.
        size: Bytes.

    """
    ends = list(accumulate(map(len, lines)))
    pieces: list[bytes] = []
    start = filled = 0
    while start < len(lines):
        end = max(start + 1, bisect_right(ends, filled + size))
        pieces.append(b"".join(lines[start:end]))
        start, filled = end, ends[end - 1]
    return pieces


class _Batch:
    """What is left of the lines of a write, so that a second try repeats nothing."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lines: list[bytes] | None = None
        self._left: deque[bytes] = deque()

    def pieces(self, lines: list[bytes]) -> deque[bytes]:
        """Return the pieces that are still to be written; the caller takes out what it has written."""
        if lines is not self._lines or not self._left:
            self._lines = lines
            self._left = deque(chunks(lines, self._size))
        return self._left


class FileDescriptorSink:
    """Writes to a descriptor, such as that of standard output.

    Args:
        descriptor: An open file descriptor; it is not closed.

    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        mode = os.fstat(descriptor).st_mode
        self._batch = _Batch(PIPE_BUF if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else CHUNK)

    def write(self, lines: list[bytes]) -> None:
        """Write the lines in as few calls as keep each whole."""
        pieces = self._batch.pieces(lines)
        while pieces:
            self._write_some(pieces)

    def _write_some(self, pieces: deque[bytes]) -> None:
        try:
            written = os.write(self._descriptor, pieces[0])
        except BlockingIOError:
            # Somebody made the descriptor non-blocking; waiting here blocks nobody else.
            select.select([], [self._descriptor], [], 1.0)
            return
        rest = pieces.popleft()[written:]
        if rest:
            pieces.appendleft(rest)


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


class FileSink:
    """Appends to a file, and begins a new one when it is full.

    Processes may share the file: whoever writes holds a lock on a file beside it, so lines stay whole and exactly one
    process rotates. A file that something else renamed or removed, as logrotate does, is begun anew. Not for network
    file systems, where appending is not atomic.

    Args:
        path: The file; the folders above it are made.
        max_bytes: How large it gets before it becomes `<path>.1`; 0 when it is never rotated.
        backup_count: How many old files are kept.

    Raises:
        OSError: The file cannot be opened, or rotation is asked for where no process can lock a file.

    """

    def __init__(self, path: Path, *, max_bytes: int = 0, backup_count: int = 5) -> None:
        if max_bytes and not HAS_FILE_LOCKS:
            msg = "rotation needs file locks, which this system has not; set max_bytes to 0"
            raise OSError(msg)
        self._path = path
        self._max_bytes = max_bytes
        self._backup_count = backup_count
        self._batch = _Batch(min(CHUNK, max_bytes or CHUNK))
        self._file = self._open(path)
        # In a file of its own: a lock on the log file would move away with it.
        self._lock = self._open(path.with_name(f".{path.name}.lock"))

    def __del__(self) -> None:
        for name in ("_file", "_lock"):
            if name in vars(self):
                os.close(getattr(self, name))

    def write(self, lines: list[bytes]) -> None:
        """Write the lines; a piece that cannot be written whole is not written at all."""
        pieces = self._batch.pieces(lines)
        while pieces:
            with self._locked():
                self._find_file()
                self._rotate_before(len(pieces[0]))
                self._append(pieces[0])
            pieces.popleft()

    @staticmethod
    def _open(path: Path) -> int:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, FILE_MODE)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            msg = "not a regular file"
            raise OSError(msg)
        return descriptor

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes out; unlike `flock`, this lock is not shared with a child that was forked meanwhile."""
        if not HAS_FILE_LOCKS:
            yield
            return
        fcntl.lockf(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)

    def _find_file(self) -> None:
        """Open the file anew when the path no longer leads to the one that is open."""
        try:
            is_there = os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except FileNotFoundError:
            is_there = False
        if not is_there:
            self._reopen()

    def _reopen(self) -> None:
        opened = self._open(self._path)
        os.close(self._file)
        self._file = opened

    def _rotate_before(self, size: int) -> None:
        """Put the file aside if so many bytes more are too much for it."""
        filled = os.fstat(self._file).st_size
        if not self._max_bytes or not filled or filled + size <= self._max_bytes:
            return
        for number in range(self._backup_count - 1, 0, -1):
            if os.path.exists(self._backup(number)):
                os.replace(self._backup(number), self._backup(number + 1))
        os.replace(self._path, self._backup(1))
        self._reopen()

    def _backup(self, number: int) -> str:
        return f"{self._path}.{number}"

    def _append(self, piece: bytes) -> None:
        before = os.fstat(self._file).st_size
        left = memoryview(piece)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            # On a full disk half a line would stay, and the next one would continue it.
            if len(left) < len(piece) and HAS_FILE_LOCKS:
                os.ftruncate(self._file, before)
            raise
