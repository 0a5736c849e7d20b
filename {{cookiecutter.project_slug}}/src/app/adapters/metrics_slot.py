"""A file of numbers that a process writes without a call to the system, and others read.

It grows by blocks, which are mapped into memory. A block holds records: which series and label values, then the numbers
of that combination. What was counted survives the process.
"""

import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from ..core.logging import get_logger
from ..core.metrics import Definition, Kind, Sample
from ..core.metrics.series import Cells, in_memory

log = get_logger(__name__)
# A multiple of every system's page size: a file grows, and is mapped, by so much.
BLOCK = 65536
_DOUBLE = 8
# The bytes of a record's head, which follow, and how many numbers come after that.
_LENGTHS = struct.Struct("=II")


@dataclass(frozen=True, slots=True)
class _Record:
    definition: Definition
    values: tuple[str, ...]
    start: int
    end: int


def _head(definition: Definition, values: tuple[str, ...]) -> bytes:
    """Return what says which series the numbers after it are of."""
    d = definition
    return orjson.dumps([d.kind.value, d.name, d.help, d.labels, d.buckets, d.across, values])


def _numbers_at(start: int, head_length: int) -> int:
    """Return where a record's numbers begin: at the next multiple of their size, so that each is written at once."""
    return start + -(-(_LENGTHS.size + head_length) // _DOUBLE) * _DOUBLE


def _records(block: memoryview) -> Iterator[_Record]:
    """Yield what stands in a block; a record that a process did not live to finish ends it."""
    start = 0
    while start + _LENGTHS.size <= len(block):
        length, width = _LENGTHS.unpack_from(block, start)
        numbers = _numbers_at(start, length)
        end = numbers + width * _DOUBLE
        if not length or end > len(block):
            return
        try:
            kind, name, text, labels, buckets, across, values = orjson.loads(
                block[start + _LENGTHS.size : start + _LENGTHS.size + length]
            )
        except ValueError:
            return
        definition = Definition(Kind(kind), name, text, tuple(labels), tuple(buckets), across)
        yield _Record(definition, tuple(values), numbers, end)
        start = end


class Slot:
    """A file that this process has to itself.

    Args:
        path: The file.
        lock: It, open, with its lock held.

    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        # Another one, because mapped memory keeps a copy of it open, and that would keep the lock.
        self._descriptor = os.open(path, os.O_RDWR)
        self._size = 0
        self._block = memoryview(b"")
        self._end = 0
        self._is_full = False
        self._free: dict[tuple[Definition, tuple[str, ...]], list[Cells]] = {}
        for _ in range(path.stat().st_size // BLOCK):
            self._map()
            for record in _records(self._block):
                self._take_over(record)

    def allocate(self, definition: Definition, values: tuple[str, ...]) -> Cells:
        """Return cells in the file: those of a dead predecessor, with what it counted, or new ones.

        Without room in the file system they are this process's alone, and other processes do not show them.

        Args:
            definition: What is counted.
            values: The values of its labels.

        """
        free = self._free.get((definition, values))
        if free:
            cells = free.pop()
            if definition.kind is Kind.GAUGE:
                _fill(cells, definition.initial)
            return cells
        try:
            return self._add(definition, values)
        except OSError as error:
            if not self._is_full:
                self._is_full = True
                log.warning("metrics.not_shared", metric=definition.name, exc_info=error)
            return in_memory(definition, values)

    def inherited(self) -> list[Sample]:
        """Return what a dead predecessor counted and this process has not begun to count on."""
        free = list(self._free.items())
        return [(definition, values, list(cells)) for (definition, values), kept in free for cells in list(kept)]

    def release(self) -> None:
        """Give the file to whoever comes next; its numbers stay."""
        os.close(self._descriptor)
        os.close(self._lock)

    def _take_over(self, record: _Record) -> None:
        self._end = record.end
        cells = _doubles(self._block, record.start, record.end)
        if record.definition.kind is Kind.GAUGE:
            _fill(cells, float("nan"))
        self._free.setdefault((record.definition, record.values), []).append(cells)

    def _add(self, definition: Definition, values: tuple[str, ...]) -> Cells:
        head = _head(definition, values)
        size = _numbers_at(0, len(head)) + definition.width * _DOUBLE
        if size > BLOCK:
            msg = f"the labels of {definition.name} take more than {BLOCK} bytes"
            raise OSError(msg)
        if self._end + size > len(self._block):
            self._grow()
        start, self._end = self._end, self._end + size
        cells = _doubles(self._block, _numbers_at(start, len(head)), self._end)
        _fill(cells, definition.initial)
        text = start + _LENGTHS.size
        self._block[text : text + len(head)] = head
        # Last: what has no length yet is not there for a reader.
        _LENGTHS.pack_into(self._block, start, len(head), definition.width)
        return cells

    def _grow(self) -> None:
        # Written, not only made longer: where there is no room this fails, and a write to the mapped memory would kill.
        if os.pwrite(self._descriptor, bytes(BLOCK), self._size) < BLOCK:
            os.ftruncate(self._descriptor, self._size)
            msg = "no room for a block of metrics"
            raise OSError(msg)
        self._map()

    def _map(self) -> None:
        self._block = memoryview(mmap.mmap(self._descriptor, BLOCK, offset=self._size))
        self._size += BLOCK
        self._end = 0


def _fill(cells: Cells, number: float) -> None:
    for index in range(len(cells)):
        cells[index] = number


def samples_of(data: bytes) -> Iterator[Sample]:
    """Yield every combination of label values in a file, with its numbers.

    Args:
        data: What the file holds.

    """
    for start in range(0, len(data), BLOCK):
        block = memoryview(data)[start : start + BLOCK]
        for record in _records(block):
            yield record.definition, record.values, list(_doubles(block, record.start, record.end))


def _doubles(block: memoryview, start: int, end: int) -> Cells:
    return block[start:end].cast("d")
