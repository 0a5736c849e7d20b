"""Reports as lines of a file that several processes share."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.adapters.reporters.file import FileReporter

from ...processes import PATIENCE, variables
from ...reports import a_report

IDENTITY = {"service": "orders", "environment": "test", "version": "1.2.3"}


def reporter(path: Path, *, max_bytes: int = 1_000_000, backups: int = 3) -> FileReporter:
    """Return a reporter to a file."""
    return FileReporter(path, identity=IDENTITY, max_bytes=max_bytes, backups=backups)


def lines(*paths: Path) -> list[dict[str, Any]]:
    """Return what files hold."""
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


def test_line(tmp_path: Path) -> None:
    """A report is one line of JSON with who spoke, in a file that only its owner reads."""
    path = tmp_path / "deep" / "errors.jsonl"
    written = reporter(path)
    report = a_report(RuntimeError("two\nlines \x00 \ud800"), operation="pay", amount=5)
    written.report(report)
    written.report(a_report())
    first, second = lines(path)
    assert {name: first[name] for name in IDENTITY} == IDENTITY
    assert (first["report_id"], first["fingerprint"]) == (report.id, report.fingerprint)
    assert (first["message"], first["context"], first["extra"]) == (
        "two\nlines \x00 \\ud800",
        {"operation": "pay"},
        {"amount": 5},
    )
    assert first["timestamp"].endswith("Z")
    assert second["exception"][0]["frames"][-1]["function"] == "_raise"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_rotation(tmp_path: Path) -> None:
    """A file at its limit is moved aside; so many of those are kept, the oldest go."""
    path = tmp_path / "errors.jsonl"
    written = reporter(path, max_bytes=1, backups=2)
    ids = []
    for _ in range(5):
        report = a_report()
        ids.append(report.id)
        written.report(report)
    aside = sorted(tmp_path.glob("errors.jsonl.*"))
    assert not path.exists()
    assert [line["report_id"] for line in lines(*aside)] == ids[-2:]


def test_somebody_else_was_faster(tmp_path: Path) -> None:
    """A file that another process has moved aside in between is not moved again."""
    path = tmp_path / "errors.jsonl"
    written = reporter(path, max_bytes=100)
    path.write_text("short\n")
    written._rotate()
    assert path.read_text() == "short\n"
    path.unlink()
    written._rotate()
    assert list(tmp_path.iterdir()) == []


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that a full disk has cut is an error, and spoils no other line."""
    path = tmp_path / "errors.jsonl"
    written = reporter(path)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, line: write(descriptor, line[:10]))
        with pytest.raises(OSError, match=r"wrote 10 of \d+ bytes"):
            written.report(a_report())
    for _ in range(2):
        written.report(a_report())
    cut, *rest = path.read_bytes().splitlines()
    assert len(cut) == 10
    assert [json.loads(line)["code"] for line in rest] == ["INTERNAL_ERROR"] * 2


WRITER = """
import sys
from pathlib import Path
from app.adapters.reporters.file import FileReporter
from app.core.reporting import ErrorContext, build_report
reporter = FileReporter(Path("errors.jsonl"), identity={}, max_bytes=15_000, backups=1000)
for number in range(100):
    error = RuntimeError(f"{sys.argv[1]}-{number} " + "x" * (number % 50) * 100)
    reporter.report(build_report(error, ErrorContext(), fingerprint="f"))
"""


def test_processes_share_a_file(tmp_path: Path) -> None:
    """Lines of several processes are neither torn nor lost, also while they all move the file aside."""
    command = [sys.executable, "-c", WRITER]
    writers = [subprocess.Popen([*command, name], cwd=tmp_path, env=variables()) for name in "abc"]
    assert [writer.wait(PATIENCE) for writer in writers] == [0, 0, 0]
    files = list(tmp_path.glob("errors.jsonl*"))
    found = sorted(line["message"].split()[0] for line in lines(*files))
    assert len(files) > 3
    assert found == sorted(f"{name}-{number}" for name in "abc" for number in range(100))
