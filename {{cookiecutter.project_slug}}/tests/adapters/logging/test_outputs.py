"""Layers have sinks of their own, and no sink holds up another."""

import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.adapters.logging import configure_logging
from app.adapters.logging.engine import Engine
from app.adapters.logging.outputs import Outputs
from app.adapters.sinks import FileSink
from app.core.logging import Logger, install
from app.settings import ConfigurationError, Settings
from app.settings_groups import LogSettings

from ...processes import FORKS, run_python

PATIENCE = 30
EMAIL = "@".join(["ada", "example.com"])
Start = Callable[..., Outputs]


@pytest.fixture
def start(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return what starts outputs for some layers, standard output in a file; they are closed when the test ends."""
    opened: list[Outputs] = []
    stdout = (tmp_path / "stdout").open("w")

    def start_outputs(layers: dict[str, Any], **changes: Any) -> Outputs:
        log = LogSettings.model_validate({"format": "json", "layers": layers, **changes})
        changed = settings.model_copy(update={"log": log})
        monkeypatch.setattr(sys, "stdout", stdout)
        opened.append(Outputs(changed))
        install(Engine(changed, opened[-1].route, None))
        return opened[-1]

    yield start_outputs
    for outputs in opened:
        outputs.close()
    stdout.close()
    configure_logging(settings, sink=lambda _line: None)


def events(path: Path) -> list[str]:
    """Return the events in a log."""
    return [json.loads(line)["event"] for line in path.read_text().splitlines()]


def test_nothing_but_standard_output(start: Start, tmp_path: Path) -> None:
    """Without layers there is one sink, and no file."""
    outputs = start({})
    Logger("app").error("failed", layer="errors")
    outputs.flush()
    assert list(outputs.accounts) == ["stdout"]
    assert [path.name for path in tmp_path.iterdir()] == ["stdout"]
    assert events(tmp_path / "stdout") == ["failed"]


def test_layers(start: Start, tmp_path: Path) -> None:
    """Events go to the layers that take them, by level, logger or name, the long way too."""
    outputs = start(
        {
            "errors": {"sink": "logs/errors.log", "level": "error"},
            "api": {"sink": "logs/api.log", "loggers": ["app.access"]},
            "audit": {"sink": "logs/audit.log", "propagate": False},
        }
    )
    Logger("app.access").info("request")
    Logger("app.orders").info("placed", layer="audit")
    Logger("app.orders").info("cancelled %s", "o1", layer="audit")
    Logger("app.orders").bind(layer="audit").error("refused", odd={1})
    Logger("app.orders").error("failed")
    assert outputs.flush()
    logs = tmp_path / "logs"
    assert events(logs / "errors.log") == ["refused", "failed"]
    assert events(logs / "api.log") == ["request"]
    assert events(logs / "audit.log") == ["placed", "cancelled o1", "refused"]
    assert events(tmp_path / "stdout") == ["request", "failed"]
    assert {Path(sink).name: account.written for sink, account in outputs.accounts.items()} == {
        "stdout": 2,
        "errors.log": 2,
        "api.log": 1,
        "audit.log": 3,
    }


class Unequal:
    """A value that cannot be compared, as an array cannot."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        """Fail."""
        raise ValueError


@pytest.mark.parametrize("value", [7, None, ["audit"], {"audit"}, Unequal(), "unknown"])
def test_field_that_names_no_layer(start: Start, tmp_path: Path, value: object) -> None:
    """A field called `layer` may hold anything: what is no layer's name is a field like any other."""
    outputs = start({"audit": {"sink": "audit.log"}})
    Logger("app").info("placed", layer=value)
    Logger("app").info("placed %s", "again", layer=value)
    assert outputs.flush()
    assert events(tmp_path / "stdout") == ["placed", "placed again"]
    assert events(tmp_path / "audit.log") == []


def test_a_layers_lines(start: Start, tmp_path: Path) -> None:
    """A layer's lines are redacted like all others, and JSON whatever is on the console."""
    outputs = start({"errors": {"sink": "errors.log", "level": "ERROR"}}, format="console")
    Logger("app").error("failed", customer=EMAIL, password="x")
    assert outputs.flush()
    (line,) = (json.loads(line) for line in (tmp_path / "errors.log").read_text().splitlines())
    assert (line["customer"], line["password"]) == ("[redacted]", "[redacted]")
    assert re.search(r"error.*failed.*customer=\[redacted\]", (tmp_path / "stdout").read_text())


def test_blocked_layer(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer whose file takes nothing holds up neither the caller nor standard output, and its losses are counted."""
    opened = threading.Event()
    monkeypatch.setattr(FileSink, "write", lambda _sink, _lines: opened.wait(PATIENCE) and None)
    outputs = start({"all": {"sink": "all.log", "level": "DEBUG"}}, queue_bytes=65536)
    for _ in range(2000):
        Logger("app").info("happened", text="x" * 100)
        if outputs.accounts["stdout"].queued_bytes > 40_000:
            outputs._deliveries["stdout"].flush(PATIENCE)
    assert outputs._deliveries["stdout"].flush(PATIENCE)
    blocked = outputs.accounts[str(tmp_path / "all.log")]
    assert outputs.accounts["stdout"].written == events(tmp_path / "stdout").count("happened") == 2000
    assert (blocked.written, blocked.submitted) == (0, 2000)
    assert 0 < blocked.dropped < 2000
    opened.set()


def test_failing_layer(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That a layer's file takes nothing is told once on standard output; its lines arrive when it does again."""
    failures = iter([OSError(28, "No space left"), OSError(28, "No space left"), None])
    written = FileSink._append

    def fails(sink: FileSink, piece: bytes) -> None:
        error = next(failures, None)
        if error:
            raise error
        written(sink, piece)

    monkeypatch.setattr(FileSink, "_append", fails)
    outputs = start({"audit": {"sink": "audit.log", "propagate": False}})
    Logger("app").info("placed", layer="audit")
    assert outputs.flush(PATIENCE)
    outputs.close()
    assert events(tmp_path / "audit.log") == ["placed"]
    assert events(tmp_path / "stdout") == ["log.sink_failed", "log.sink_recovered"]
    failed = json.loads((tmp_path / "stdout").read_text().splitlines()[0])
    assert (failed["level"], failed["sink"]) == ("error", str(tmp_path / "audit.log"))
    assert "No space left" in failed["error"]
    assert outputs.accounts[str(tmp_path / "audit.log")].failed_writes == 2


def test_layers_that_share_a_sink(start: Start, tmp_path: Path) -> None:
    """Two layers may write one file, however they spell it; a line that both take is in it once."""
    layers = {"errors": {"sink": "app.log", "level": "ERROR"}, "orders": {"sink": "./app.log", "loggers": ["orders"]}}
    outputs = start(layers)
    Logger("orders").error("failed")
    outputs.flush()
    assert events(tmp_path / "app.log") == ["failed"]


def test_standard_error(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer may go to standard error, in the format of the console."""
    monkeypatch.setattr(sys, "stderr", (tmp_path / "stderr").open("w"))
    outputs = start({"errors": {"sink": "stderr", "level": "ERROR", "propagate": False}}, format="logfmt")
    Logger("app").error("failed")
    Logger("app").info("placed")
    outputs.close()
    sys.stderr.close()
    assert " event=failed " in (tmp_path / "stderr").read_text()
    assert " event=placed " in (tmp_path / "stdout").read_text()


def test_terminal(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal shows lines in colour."""
    master, slave = os.openpty()
    outputs = start({}, format="console")
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        outputs = Outputs(outputs._settings)
        outputs.route("app", 20, None)(b'{"level":"info","event":"placed"}\n', False)
        outputs.close()
        assert b"\x1b[" in os.read(master, 1000)
    os.close(master)


@pytest.mark.parametrize("sink", ["folder", "file/below.log", "/dev/null"])
def test_file_that_cannot_be_opened(start: Start, tmp_path: Path, sink: str) -> None:
    """A layer whose file cannot be opened stops the start with the setting, the value and what is allowed."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    expected = rf"LOG__LAYERS\['errors'\]: received sink '.*{sink}'; it cannot be opened \(.+\); allowed: stdout, "
    with pytest.raises(ConfigurationError, match=expected):
        start({"errors": {"sink": sink}})


def test_writes_are_batched(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """What gathers while the sink is busy is written in few, large calls."""
    calls: list[int] = []
    opened = threading.Event()
    write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        calls.append(len(data))
        opened.wait(PATIENCE)
        return write(descriptor, data)

    monkeypatch.setattr("os.write", counted)
    outputs = start({})
    for number in range(5000):
        Logger("app").info("happened", number=number)
    opened.set()
    assert outputs.flush(PATIENCE)
    assert outputs.accounts["stdout"].written == 5000
    assert len(calls) < 50


SCRIPT = """
import os, signal, sys, time
from app.adapters.logging import configure_logging, close_logging
from app.core.logging import get_logger
from app.settings import load_settings
configure_logging(load_settings())
log = get_logger("app")
for number in range(2000):
    log.info("event", number=number, layer="events")
"""
ENDINGS = {
    "end": "",
    "sigterm": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)",
    "fork": """
if os.fork() == 0:
    for number in range(2000, 3000):
        log.info("event", number=number, layer="events")
    close_logging()
    os._exit(0)
os.wait()
""",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_line_of_a_layer_is_lost(tmp_path: Path, ending: str) -> None:
    """However a process ends, short of SIGKILL, all its lines are in the layer's files, a forked child's too."""
    layer = {"sink": str(tmp_path / "events.log"), "propagate": False, "max_bytes": 100_000, "backup_count": 100}
    ended = run_python(*FORKS, "-c", SCRIPT + ENDINGS[ending], LOG__LAYERS=json.dumps({"events": layer}))
    assert (ended.stdout, ended.stderr) == ("", "")
    lines = [json.loads(line) for path in tmp_path.glob("events.log*") for line in path.read_text().splitlines()]
    assert sorted(line["number"] for line in lines) == list(range(3000 if ending == "fork" else 2000))
    assert len(list(tmp_path.glob("events.log*"))) > 1
