"""How a daemon's process begins and ends: by signals, by faults, and while its event loop is held up."""

import json
import signal
from pathlib import Path

import pytest

from .lives import PATIENCE, scenario


def test_a_signal_drains_it(tmp_path: Path) -> None:
    """It is not ready any more at once, ends what is in hand, closes everything, and exits with 0."""
    with scenario(tmp_path, "idle", DAEMON__LOOP_LAG_WARNING="60") as life:
        life.until(lambda: life.ask("/readyz")[0] == 200)
        assert life.wait_for("scenario.began")["loop"] in ("uvloop", "asyncio.unix_events")
        assert life.end(signal.SIGTERM) == 0
        events = [line["event"] for line in life.events]
        assert events[-4:] == ["daemon.stopping", "scenario.drained", "scenario.cancelled", "daemon.stopped"]
        assert {line["level"] for line in life.events} == {"info"}
        assert life.named("daemon.stopping")[0]["signal"] == "SIGTERM"


def test_it_says_that_it_stops_while_it_is_drained(tmp_path: Path) -> None:
    """Whoever sends it work by its readiness stops that."""
    with scenario(tmp_path, "endless", SHUTDOWN_TIMEOUT="600") as life:
        life.wait_for("scenario.began")
        life.popen.send_signal(signal.SIGINT)
        life.wait_for("daemon.stopping")
        status, body = life.ask("/readyz")
        assert (status, json.loads(body)["status"]) == (503, "shutting_down")
        assert life.ask("/livez")[0] == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once(number: signal.Signals, tmp_path: Path) -> None:
    """Whichever it is, the code says so."""
    with scenario(tmp_path, "endless", SHUTDOWN_TIMEOUT="600") as life:
        life.wait_for("scenario.began")
        life.popen.send_signal(signal.SIGTERM if number == signal.SIGINT else signal.SIGINT)
        life.wait_for("daemon.stopping")
        assert life.end(number) == 128 + number


def test_what_does_not_end_in_time_is_cancelled(tmp_path: Path) -> None:
    """The exit code is that of a stop that went well."""
    with scenario(tmp_path, "endless", SHUTDOWN_TIMEOUT="1") as life:
        life.wait_for("scenario.began")
        assert life.end(signal.SIGTERM) == 0
        assert life.named("daemon.not_drained")
        assert life.named("scenario.cancelled")


def test_what_cannot_be_cancelled_is_left(tmp_path: Path) -> None:
    """When all of the time has passed."""
    with scenario(tmp_path, "deaf", SHUTDOWN_TIMEOUT="1") as life:
        life.wait_for("daemon.ready")
        assert life.end(signal.SIGTERM) == 0
        assert life.named("scenario.deaf")
        assert life.events[-1]["event"] == "daemon.cut_off"


def test_a_loop_that_is_held_up_is_told(tmp_path: Path) -> None:
    """By readiness and metrics while it lasts, and by a warning."""
    with scenario(tmp_path, "blocking", HEALTH__TIMEOUT="0.5", HEALTH__CACHE="0") as life:
        life.until(lambda: life.ask("/readyz")[0] == 200)
        (tmp_path / "block").touch()
        life.until((tmp_path / "blocked").exists)
        status, body = life.ask("/readyz")
        failed = [check["name"] for check in json.loads(body)["checks"] if check["status"] == "failed"]
        assert (status, failed) == (503, ["event_loop"])
        assert life.ask("/livez")[0] == 200
        assert _lag(life.ask("/metrics")[1]) > 0.3
        failure = life.wait_for("health.check_failed")
        assert "block (" in failure["exception"][0]["message"]
        (tmp_path / "go").touch()
        assert life.wait_for("event_loop.blocked")["seconds"] > 0.3
        life.until(lambda: life.ask("/readyz")[0] == 200)
        assert life.end(signal.SIGTERM) == 0


def _lag(metrics: str) -> float:
    (line,) = [line for line in metrics.splitlines() if line.startswith("event_loop_lag_seconds ")]
    return float(line.split()[1])


def test_signals_are_heard_while_the_loop_is_held_up(tmp_path: Path) -> None:
    """The first one turns readiness at once, the second one ends it."""
    with scenario(tmp_path, "blocking", SHUTDOWN_TIMEOUT="600") as life:
        (tmp_path / "block").touch()
        life.until((tmp_path / "blocked").exists)
        life.popen.send_signal(signal.SIGTERM)
        life.until(lambda: "shutting_down" in life.ask("/readyz")[1])
        assert life.end(signal.SIGINT) == 130


def test_a_loop_that_stays_held_up_is_left_in_time(tmp_path: Path) -> None:
    """Nothing else can be done about it."""
    with scenario(tmp_path, "blocking", SHUTDOWN_TIMEOUT="1") as life:
        (tmp_path / "block").touch()
        life.until((tmp_path / "blocked").exists)
        assert life.end(signal.SIGTERM) == 0
        assert life.events[-1]["event"] == "daemon.cut_off"


def test_a_task_that_keeps_crashing_makes_it_not_ready(tmp_path: Path) -> None:
    """Until it has run long enough."""
    daemon = {"DAEMON__RESTART_BACKOFF": "0.001", "DAEMON__RESTART_BACKOFF_MAX": "0.01", "DAEMON__CRASH_WINDOW": "1"}
    with scenario(tmp_path, "crashing", HEALTH__CACHE="0", **daemon) as life:
        life.wait_for("background_task.given_up")
        status, body = life.ask("/readyz")
        failed = [check["name"] for check in json.loads(body)["checks"] if check["status"] == "failed"]
        assert (status, failed) == (503, ["background_tasks"])
        assert 'background_task_crashes_total{task="crash"} ' in life.ask("/metrics")[1]
        (tmp_path / "mended").touch()
        life.until(lambda: life.ask("/readyz")[0] == 200)
        assert life.end(signal.SIGTERM) == 0


def test_a_start_that_fails_is_one_line(tmp_path: Path) -> None:
    """With the error, and no traceback beside it; what was open is closed, and the code is 1."""
    with scenario(tmp_path, "broken", DAEMON__LOOP_LAG_WARNING="60") as life:
        assert life.popen.wait(PATIENCE) == 1
        (line,) = [line for line in life.events if line["level"] != "info"]
        assert (line["event"], line["opening"]) == ("daemon.failed", "second")
        assert line["exception"][0]["message"] == "no such place"
        assert life.named("scenario.closed")


def test_a_start_that_finds_a_wrong_setting_is_one_message(tmp_path: Path) -> None:
    """It is the only thing that is no event."""
    with scenario(tmp_path, "misconfigured", DAEMON__LOOP_LAG_WARNING="60") as life:
        assert life.popen.wait(PATIENCE) == 1
        raw = [line["line"] for line in life.named("(raw)")]
        assert raw == ["BROKER_URL: received nothing; allowed: something\n"]
        assert life.named("scenario.closed")
        assert {line["level"] for line in life.events} == {"info", "(raw)"}
