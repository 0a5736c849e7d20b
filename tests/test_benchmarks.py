"""The benchmarks run from one command and give a table of ratios; how fast anything is, no test says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import machine
from benchmarks.loggers import events
from benchmarks.report import AIM, FAILED, MISSED, MUST, Bar, Row, Spread, at_least, at_most, markdown, ratios, spread
from benchmarks.subjects import NAMES
from tests.tree import ROOT

PEERS = ROOT / "benchmarks" / "requirements.txt"
RESULTS = ROOT / "build" / "benchmarks-quick" / "results.json"
# They take seconds.
CHEAP = ("in_process", "celery", "daemon", "idempotency", "log_calls", "shared_pipe")


def run(*arguments: str) -> str:
    """Run the benchmarks as a user does, and return what they print."""
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, cwd=ROOT)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def quick() -> tuple[str, dict[str, Any]]:
    """The table and the JSON of a quick run of the cheap subjects."""
    printed = run("--quick", *(f"--only={name}" for name in CHEAP))
    return printed, json.loads(RESULTS.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_quick_run_prints_ratios(quick: tuple[str, dict[str, Any]]) -> None:
    """Each subject that was asked for gives rows, and all ratios are positive numbers within their spread."""
    rows = quick[1]["rows"]
    assert {row["subject"] for row in rows} == set(CHEAP)
    values = [row["value"] for row in rows if row["unit"] == "×"]
    assert values
    assert all(0 < value["low"] <= value["middle"] <= value["high"] for value in values)


@pytest.mark.slow
def test_quick_run_measures_everything(quick: tuple[str, dict[str, Any]]) -> None:
    """Nothing failed, no row is empty but that of a server that is not installed, and the table has a line for each."""
    printed, results = quick
    assert results["machine"]["failures"] == {}
    empty = [row["note"] for row in results["rows"] if row["value"] is None]
    assert [note for note in empty if not note.endswith("is not installed")] == []
    assert sum(line.startswith("| ") for line in printed.splitlines()) == len(results["rows"]) + 2


@pytest.mark.slow
def test_applications_log_what_they_claim(quick: tuple[str, dict[str, Any]]) -> None:
    """Ours and the off-the-shelf stack write one line a request, the documents' style two."""
    assert "ours writes 1 log line(s) a request" in quick[0]
    assert "the documents' style writes 2 log line(s) a request" in quick[0]
    assert "the off-the-shelf stack writes 1 log line(s) a request" in quick[0]


@pytest.mark.slow
def test_stores_are_asked_as_seldom_as_promised(quick: tuple[str, dict[str, Any]]) -> None:
    """What is counted, unlike what is timed, is the same in a quick run: no store is asked more often than it may."""
    counted = [row for row in quick[1]["rows"] if row["subject"] == "idempotency" and row["unit"] == "per request"]
    assert [row["measure"] for row in counted if row["verdict"] == MISSED] == []


@pytest.mark.slow
def test_list_names_every_subject() -> None:
    """`--list` prints each subject with what it is about."""
    lines = run("--list").splitlines()
    assert tuple(line.split()[0] for line in lines) == NAMES
    assert all(len(line.split()) > 1 for line in lines)


def test_every_subject_is_a_module() -> None:
    """A subject's name is its file's name, and no file is left out."""
    files = {path.stem for path in Path(ROOT, "benchmarks", "subjects").glob("*.py")} - {"__init__"}
    assert files == set(NAMES)


def test_peers_are_pinned() -> None:
    """Each peer has one version: a table is compared with the next one."""
    lines = [line for line in PEERS.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if line.count("==") != 1] == []


@pytest.mark.parametrize(
    ("bar", "value", "verdict"),
    [
        (at_least(4, 5), 5.0, AIM),
        (at_least(4, 5), 4.9, MUST),
        (at_least(4, 5), 3.9, MISSED),
        (at_most(20, 10), 10.0, AIM),
        (at_most(20, 10), 20.0, MUST),
        (at_most(20, 10), 20.1, MISSED),
    ],
)
def test_verdict(bar: Bar, value: float, verdict: str) -> None:
    """A value on a limit reaches it."""
    assert bar.verdict(value) == verdict


def test_verdict_without_value() -> None:
    """What could not be measured has not reached its bar."""
    assert Row("a", "b", None, bar=at_most(1, 1)).verdict == MISSED
    assert Row("a", "b", None).verdict == FAILED


def test_spread_is_median_and_range() -> None:
    """A spread has the middle value, the lowest and the highest."""
    assert spread([3, 1, 2]) == Spread(2, 1, 3)


def test_ratios_are_formed_round_by_round() -> None:
    """A round in which all is twice as slow does not change a ratio."""
    assert ratios([10, 20], [5, 10]) == Spread(2, 2, 2)


def test_table_has_a_line_per_row_and_each_note_once() -> None:
    """The table is Markdown, with the notes below it."""
    row = Row("time", "bare", Spread(2, 1, 3), bar=at_most(3, 2), note="loaded by hand")
    expected = "| http | time | bare | 2.00× | 1.00× to 3.00× | at most 3 / 2 | aim reached |"
    lines = markdown([("http", row), ("http", row)]).splitlines()
    assert lines[2:4] == [expected, expected]
    assert lines[-1:] == ["- http: loaded by hand"]


@pytest.mark.parametrize(
    ("clock", "processor", "waited", "own"),
    [
        (10.0, 4.0, 0.0, 10.0),
        (10.0, 4.0, 5.0, 5.0),
        (10.0, 4.0, 9.0, 4.0),
        (10.0, 12.0, 5.0, 10.0),
    ],
)
def test_stopwatch(monkeypatch: pytest.MonkeyPatch, clock: float, processor: float, waited: float, own: float) -> None:
    """What other processes took of a span is left out, and never what the process itself used of the processor."""
    now = {"perf_counter": 100.0, "process_time": 50.0, "waiting": 7.0}
    monkeypatch.setattr("time.perf_counter", lambda: now["perf_counter"])
    monkeypatch.setattr("time.process_time", lambda: now["process_time"])
    monkeypatch.setattr(machine.Stopwatch, "_waiting", lambda _self: {1: now["waiting"]})
    stopwatch = machine.Stopwatch()
    now = {"perf_counter": 103.0 + clock, "process_time": 50.0 + processor, "waiting": 7.0 + waited}
    assert stopwatch.seconds(planned=3.0) == (clock, own)


def test_stopwatch_on_a_system_that_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing says how long threads waited, nobody took anything."""

    def refuse(*_arguments: object) -> int:
        raise FileNotFoundError

    monkeypatch.setattr("benchmarks.machine.os.open", refuse)
    stopwatch = machine.Stopwatch()
    assert set(stopwatch._waiting().values()) == {0.0}


def test_countable_events_are_told_apart() -> None:
    """Each countable event is found once, whatever else is in the log."""
    lines = [json.dumps({"event": "Request completed", **events.countable(number)}).encode() for number in (1, 2, 2)]
    arrived = events.arrived([*lines, b'{"event":"log.dropped"}'])
    assert (arrived.distinct, arrived.repeated, arrived.of([1, 2, 3])) == (2, 1, 2)
