"""The numbers of several processes, summed: each has a file that it maps into memory, and reads those of the others.

A process takes the first file in the folder whose lock is free, and holds the lock while it lives. So whoever comes
after a dead process goes on counting where that one stopped: nothing counted is lost, no file is left over, and however
often a process restarts there are as many files as processes. The gauges of a dead one do not count. When nobody holds
a lock, what lies in the folder is of a former run, and is removed.
"""

import fcntl
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from ..core.logging import get_logger
from ..core.metrics import Registry, Source
from ..core.metrics.series import Allocate, in_memory
from ..settings import ConfigurationError
from .metrics_slot import Slot, samples_of

log = get_logger(__name__)
REFRESH_SECONDS = 1.0


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let no two processes look for a file at the same time."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _slots(folder: Path) -> list[Path]:
    return sorted(folder.glob("slot-*.metrics"))


def _is_alive(descriptor: int) -> bool:
    """Return whether the process that a file is of holds its lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def claim(folder: Path) -> Slot:
    """Return a file that no living process has.

    Args:
        folder: Where the processes that are summed have their files.

    Raises:
        ConfigurationError: Nothing can be written there.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            _remove_former_run(folder)
            return next(slot for number in count() if (slot := _claim(folder / f"slot-{number:04}.metrics")))
    except OSError as error:
        msg = f"PROMETHEUS_MULTIPROC_DIR: received {str(folder)!r}; allowed: a folder to write to ({error.strerror})"
        raise ConfigurationError(msg) from error


def _remove_former_run(folder: Path) -> None:
    if not any(source.is_alive for source in read(folder)):
        for path in _slots(folder):
            path.unlink()


def _claim(path: Path) -> Slot | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return Slot(path, descriptor)


def read(folder: Path, *, without: Path | None = None) -> Iterator[Source]:
    """Yield what each process counted.

    Args:
        folder: Where the files are.
        without: The file that is left out: the reader's own.

    """
    for path in _slots(folder):
        if path != without:
            # One that goes away while it is looked at belonged to a run that has ended.
            with suppress(FileNotFoundError), path.open("rb") as file:
                is_alive = _is_alive(file.fileno())
                yield Source(list(samples_of(file.read())), is_alive=is_alive)


class Sharing:
    """Lets the series of this process count where all processes see them.

    Args:
        folder: Where the processes that are summed have their files.
        registries: The series.

    """

    def __init__(self, folder: Path, registries: Sequence[Registry]) -> None:
        self._folder = folder
        self._registries = registries
        self._stopped = threading.Event()
        self._refreshes = False
        self._slot = claim(folder)
        self._move_to(self._slot.allocate)
        own = weakref.WeakMethod(self._after_fork)
        os.register_at_fork(after_in_child=lambda: (method := own()) and method())

    def others(self) -> Iterator[Source]:
        """Yield what the other processes counted, and what the one before this one did."""
        yield Source(self._slot.inherited(), is_alive=False)
        yield from read(self._folder, without=self._slot.path)

    def start(self) -> None:
        """Keep up to date what others see of this process and what is only read at a scrape."""
        self._refreshes = True
        threading.Thread(target=self._refresh, name="metrics-refresh", daemon=True).start()

    def close(self) -> None:
        """Leave what was counted in the file, for another process to go on with; what comes now only this one sees."""
        self._stopped.set()
        self._move_to(in_memory, keep=False)
        self._slot.release()

    def _move_to(self, allocate: Allocate, *, keep: bool = True) -> None:
        for registry in self._registries:
            registry.move(allocate, keep=keep)

    def _refresh(self) -> None:
        while not self._stopped.wait(REFRESH_SECONDS):
            for registry in self._registries:
                registry.refresh()

    def _after_fork(self) -> None:
        """Give a forked child a file of its own: what its parent counted stays its parent's."""
        if self._stopped.is_set():
            return
        self._slot.release()
        try:
            self._slot = claim(self._folder)
        except ConfigurationError as error:
            # Counted for nobody to see is better than counted in the parent's file, by two at a time.
            self._stopped.set()
            self._move_to(in_memory, keep=False)
            log.warning("metrics.not_shared", exc_info=error)
            return
        self._move_to(self._slot.allocate, keep=False)
        if self._refreshes:
            self.start()
