"""A file of numbers holds what was counted, whatever became of the process that counted."""

import fcntl
import math
import os
from pathlib import Path

import pytest

from app.adapters.metrics_slot import BLOCK, Slot, samples_of
from app.core.metrics import Kind, Sample, define

from ..conftest import Log

ORDERS = define(Kind.COUNTER, "orders_total", "Orders.", ["channel"])
LENGTH = define(Kind.GAUGE, "length", "Length.")
SIZES = define(Kind.HISTOGRAM, "size_bytes", "Sizes.", ["kind"], buckets=[1, 10])


def opened(path: Path) -> Slot:
    """Return a file, open and locked."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return Slot(path, lock)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the file is."""
    return tmp_path / "slot"


def samples(path: Path) -> list[Sample]:
    """Return what stands in the file."""
    return list(samples_of(path.read_bytes()))


def test_numbers_are_in_the_file_at_once(path: Path) -> None:
    """A reader sees each number as soon as it is set, with all that says what it is of."""
    slot = opened(path)
    slot.allocate(ORDERS, ("grüße",))[0] += 2
    sizes = slot.allocate(SIZES, ("x",))
    sizes[1] += 1
    sizes[-1] += 5.5
    assert samples(path) == [(ORDERS, ("grüße",), [2]), (SIZES, ("x",), [0, 1, 0, 5.5])]
    assert [definition.help for definition, _, _ in samples(path)] == ["Orders.", "Sizes."]
    slot.release()


def test_many_series(path: Path) -> None:
    """The file grows by blocks, and none of what was in it moves."""
    slot = opened(path)
    cells = [slot.allocate(SIZES, (str(number),)) for number in range(2000)]
    for number, numbers in enumerate(cells):
        numbers[0] = number
    assert path.stat().st_size > 3 * BLOCK
    assert samples(path) == [(SIZES, (str(number),), [number, 0, 0, 0]) for number in range(2000)]
    slot.release()


def test_successor(path: Path) -> None:
    """Who takes over the file goes on counting; its gauges are no numbers until they are set."""
    slot = opened(path)
    slot.allocate(ORDERS, ("web",))[0] = 2
    slot.allocate(LENGTH, ())[0] = 7
    slot.release()
    slot = opened(path)
    assert math.isnan({d.name: numbers for d, _, numbers in samples(path)}["length"][0])
    assert list(slot.allocate(ORDERS, ("web",))) == [2]
    assert list(slot.allocate(LENGTH, ())) == [0]
    slot.allocate(ORDERS, ("app",))[0] = 1
    assert [numbers for _, _, numbers in samples(path)] == [[2], [0], [1]]
    slot.release()


def test_two_of_the_same_kind(path: Path) -> None:
    """The same combination of two applications in one process is counted apart."""
    slot = opened(path)
    first, second = slot.allocate(ORDERS, ("web",)), slot.allocate(ORDERS, ("web",))
    first[0] = 1
    assert second[0] == 0
    slot.release()


@pytest.mark.parametrize("garbage", [b"\xff" * 64, b"\x04\0\0\0\x01\0\0\0\x7b\x7b\x7b\x7b\0\0\0\0" + bytes(8)])
def test_what_was_not_finished(path: Path, garbage: bytes) -> None:
    """A record that makes no sense hides nothing before it, and is written over."""
    slot = opened(path)
    slot.allocate(ORDERS, ("web",))[0] = 2
    slot.release()
    data = path.read_bytes()
    end = len(data.rstrip(b"\0")) + 8
    end += -end % 8
    path.write_bytes(data[:end] + garbage + data[end + len(garbage) :])
    slot = opened(path)
    slot.allocate(ORDERS, ("app",))[0] = 1
    assert samples(path) == [(ORDERS, ("web",), [2]), (ORDERS, ("app",), [1])]
    slot.release()


def test_no_room(path: Path, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    """Without room for a block the process goes on counting for itself, and says so once."""
    slot = opened(path)
    monkeypatch.setattr(os, "pwrite", lambda *_: 100)
    first, second = slot.allocate(ORDERS, ("web",)), slot.allocate(ORDERS, ("app",))
    first[0] += 1
    assert (list(first), list(second), path.stat().st_size) == ([1], [0], 0)
    assert [line["metric"] for line in log.named("metrics.not_shared")] == ["orders"]
    slot.release()


def test_too_many_labels_for_a_block(path: Path, log: Log) -> None:
    """A series whose labels alone would fill a block is counted, for this process only."""
    slot = opened(path)
    wide = define(Kind.COUNTER, "wide_total", "Wide.", [f"label_{number}" for number in range(300)])
    slot.allocate(wide, ("x" * 256,) * 300)[0] += 1
    assert samples(path) == []
    assert "more than 65536 bytes" in log.named("metrics.not_shared")[0]["exception"][0]["message"]
    slot.release()
