"""Where log lines end up."""

import io
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.adapters import sinks
from app.adapters.sinks import PIPE_BUF, FileDescriptorSink, FileSink, StreamSink, chunks

from ..processes import PATIENCE, variables


def test_chunks_hold_whole_lines() -> None:
    """Lines are joined up to a size, and never cut."""
    assert chunks([b"aa\n", b"b\n", b"cccccc\n", b"d\n"], 5) == [b"aa\nb\n", b"cccccc\n", b"d\n"]


def test_pipe() -> None:
    """On a pipe no write is longer than what is atomic there."""
    reader, writer = os.pipe()
    sink = FileDescriptorSink(writer)
    assert sink._batch._size == PIPE_BUF
    sink.write([b"one\n", b"two\n"])
    assert os.read(reader, 100) == b"one\ntwo\n"
    os.close(reader)
    os.close(writer)


def test_non_blocking_descriptor() -> None:
    """A descriptor that somebody made non-blocking loses nothing."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    line = b"x" * 4000 + b"\n"
    sink = FileDescriptorSink(writer)
    sink.write([line] * 10)
    assert os.read(reader, 100_000) == line * 10
    os.close(reader)
    os.close(writer)


def test_stream_that_cannot_write_every_character() -> None:
    """On a stream of few characters the others are escaped, and the line is still JSON."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    StreamSink(stream).write(['{"event":"caf\u00e9 \U0001f600"}\n'.encode()])
    assert json.loads(raw.getvalue())["event"] == "caf\u00e9 \U0001f600"


def test_second_try_repeats_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that failed midway goes on where it failed."""
    path = tmp_path / "log"
    with path.open("wb") as file:
        sink = FileDescriptorSink(file.fileno())
        sink._batch = sinks._Batch(8)
        lines = [b"first\n", b"second\n", b"third\n"]
        monkeypatch.setattr("os.write", failing_write([3, 3, None, 2]))
        with pytest.raises(OSError, match="full"):
            sink.write(lines)
        sink.write(lines)
        sink.write([b"fourth\n"])
    assert path.read_bytes() == b"first\nsecond\nthird\nfourth\n"


def failing_write(steps: list[int | None]) -> Callable[[int, bytes], int]:
    """Return an `os.write` that writes so many bytes, or fails at None, and in the end works."""
    write, left = os.write, iter(steps)

    def partly(descriptor: int, data: bytes) -> int:
        step = next(left, len(data))
        if step is None:
            raise OSError(28, "full")
        return write(descriptor, bytes(data)[:step])

    return partly


def numbered(count: int) -> list[bytes]:
    """Return lines of ten bytes."""
    return [b"line %04d\n" % number for number in range(count)]


def test_rotation(tmp_path: Path) -> None:
    """A full file is put aside, so many are kept as was asked for, and no line is cut or lost in between."""
    path = tmp_path / "logs" / "app.log"
    sink = FileSink(path, max_bytes=100, backup_count=3)
    sink.write(numbered(55))
    sink.write([b"x" * 200 + b"\n", b"end\n"])
    assert sorted(p.name for p in path.parent.iterdir()) == [
        ".app.log.lock",
        "app.log",
        *(f"app.log.{n}" for n in "123"),
    ]
    assert path.read_bytes() == b"end\n"
    assert (tmp_path / "logs/app.log.1").read_bytes() == b"x" * 200 + b"\n"
    assert (tmp_path / "logs/app.log.2").read_bytes() == b"".join(numbered(55)[50:])
    assert (tmp_path / "logs/app.log.3").read_bytes() == b"".join(numbered(50)[40:])


def test_rotation_goes_on_after_a_restart(tmp_path: Path) -> None:
    """What was in the file before counts, too."""
    path = tmp_path / "app.log"
    path.write_bytes(b"".join(numbered(9)))
    FileSink(path, max_bytes=100).write([b"line  9\n", b"line 10\n"])
    assert (path.read_bytes(), (tmp_path / "app.log.1").read_bytes()) == (
        b"line  9\nline 10\n",
        b"".join(numbered(9)),
    )


ROTATING = """
import sys
from pathlib import Path
from app.adapters.sinks import FileSink
folder, name = Path(sys.argv[1]), sys.argv[2]
sink = FileSink(folder / "app.log", max_bytes=1_000, backup_count=500)
(folder / f"ready-{name}").touch()
while len(list(folder.glob("ready-*"))) < 4:
    pass
for start in range(0, 4000, 10):
    sink.write([b"%s %04d\\n" % (name.encode(), number) for number in range(start, start + 10)])
"""


def test_processes_rotate_one_file(tmp_path: Path) -> None:
    """Several processes write and rotate one file: every line is there once, whole, and no file is too large."""
    command = [sys.executable, "-c", ROTATING, str(tmp_path)]
    processes = [subprocess.Popen([*command, name], env=variables()) for name in "abcd"]
    assert [process.wait(PATIENCE) for process in processes] == [0, 0, 0, 0]
    files = list(tmp_path.glob("app.log*"))
    lines = sorted(line for file in files for line in file.read_text().splitlines())
    assert lines == sorted(f"{name} {number:04d}" for name in "abcd" for number in range(4000))
    assert max(file.stat().st_size for file in files) <= 1_000


@pytest.mark.parametrize("max_bytes", [0, 1000])
def test_file_that_something_else_moves(tmp_path: Path, max_bytes: int) -> None:
    """A file that logrotate renamed, or somebody removed with its folder, is begun anew."""
    path = tmp_path / "logs" / "app.log"
    sink = FileSink(path, max_bytes=max_bytes)
    sink.write([b"one\n"])
    path.rename(tmp_path / "old.log")
    sink.write([b"two\n"])
    assert (path.read_bytes(), (tmp_path / "old.log").read_bytes()) == (b"two\n", b"one\n")
    shutil.rmtree(path.parent)
    sink.write([b"three\n"])
    assert path.read_bytes() == b"three\n"


def test_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written whole is taken back, and written once when there is room."""
    path = tmp_path / "app.log"
    sink = FileSink(path)
    sink.write([b"one\n"])
    lines = [b"two\n"]
    monkeypatch.setattr("os.write", failing_write([2, None]))
    with pytest.raises(OSError, match="full"):
        sink.write(lines)
    assert path.read_bytes() == b"one\n"
    sink.write(lines)
    assert path.read_bytes() == b"one\ntwo\n"


def test_rotation_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no process can lock a file, rotation is refused, and a file without rotation is written."""
    monkeypatch.setattr(sinks, "HAS_FILE_LOCKS", False)
    with pytest.raises(OSError, match="set max_bytes to 0"):
        FileSink(tmp_path / "app.log", max_bytes=1)
    FileSink(tmp_path / "app.log").write([b"one\n"])
    assert (tmp_path / "app.log").read_bytes() == b"one\n"


def test_who_may_read_a_file(tmp_path: Path) -> None:
    """A log file is the owner's to write and the group's to read."""
    FileSink(tmp_path / "app.log")
    assert stat.S_IMODE((tmp_path / "app.log").stat().st_mode) & 0o137 == 0
