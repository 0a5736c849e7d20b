"""Error reports as JSON lines in a file (https://jsonlines.org), which several processes may share.

A line is one write to a file that is opened for appending: it is never torn or mixed with another process's. A file
that has grown to its limit is moved aside under a name of its own, so that two processes that do it at the same moment
lose nothing, and the oldest of those files are deleted.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from ...core.logging import to_json
from ...core.reporting import ErrorReport

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
_ONLY_OWNER = 0o600


class FileReporter:
    """Appends to a file.

    Args:
        path: The file; its folder is made.
        identity: Who is speaking: service, environment, version.
        max_bytes: From which size on the file is moved aside.
        backups: How many of those that were moved aside are kept.

    """

    def __init__(self, path: Path, *, identity: Mapping[str, str], max_bytes: int, backups: int) -> None:
        self._path = path
        self._identity = identity
        self._max_bytes = max_bytes
        self._backups = backups
        self._torn = False
        path.parent.mkdir(parents=True, exist_ok=True)

    def report(self, report: ErrorReport) -> None:
        """Append a line.

        Raises:
            OSError: It could not be written.

        """
        line = to_json({**report.document(), **self._identity}).encode() + b"\n"
        # Opened anew each time: another process may have moved the file aside.
        descriptor = os.open(self._path, _APPEND, _ONLY_OWNER)
        try:
            self._write(descriptor, line)
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        if size >= self._max_bytes:
            self._rotate()

    def _write(self, descriptor: int, line: bytes) -> None:
        # After a full disk has cut a line, the next one begins on a line of its own.
        line = b"\n" + line if self._torn else line
        written = os.write(descriptor, line)
        self._torn = written < len(line)
        if self._torn:
            msg = f"wrote {written} of {len(line)} bytes to {self._path}; is the disk full?"
            raise OSError(msg)

    def _rotate(self) -> None:
        moment = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
        # Somebody else may have been faster: then the file is small or gone, and stays as it is.
        with suppress(FileNotFoundError):
            if self._path.stat().st_size >= self._max_bytes:
                self._path.rename(self._path.with_name(f"{self._path.name}.{moment}-{os.getpid()}"))
        aside = sorted(self._path.parent.glob(f"{self._path.name}.[0-9]*"))
        for old in aside[: len(aside) - self._backups] if len(aside) > self._backups else ():
            old.unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing stays open between two reports."""
