"""A daemon project is held to what every emitted project is, and its daemon works, by its README's commands."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.commands import STOP_SECONDS, run, running, shell_lines, wait_for_events
from tests.test_emitted import (
    changing,
    installed,
    newest,
    test_an_update_leaves_a_project_that_passes_its_checks,
    test_formatting_leaves_no_difference,
    test_make_check_passes_as_emitted,
    test_make_help_lists_every_target,
    test_make_migrate_brings_the_schema,
    test_the_commands_without_make_pass,
    test_the_project_builds,
)

__all__ = [
    "changing",
    "installed",
    "newest",
    "test_an_update_leaves_a_project_that_passes_its_checks",
    "test_formatting_leaves_no_difference",
    "test_make_check_passes_as_emitted",
    "test_make_help_lists_every_target",
    "test_make_migrate_brings_the_schema",
    "test_the_commands_without_make_pass",
    "test_the_project_builds",
]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def framework() -> str:
    """The framework of the project."""
    return "daemon"


@pytest.mark.parametrize(
    ("command", "number"),
    [("make run", signal.SIGINT), ("make run", signal.SIGTERM), ("uv run python -m app.daemon", signal.SIGTERM)],
)
def test_make_run_handles_until_it_is_told_to_stop(
    installed: Path, tmp_path: Path, command: str, number: signal.Signals
) -> None:
    """The daemon handles what the README's command sends, once, and stops cleanly on SIGTERM and on Ctrl-C."""
    log = tmp_path / "run.log"
    (send,) = (line for line in shell_lines(installed / "README.md") if " publish " in line)
    own = _own(tmp_path)
    with running(*command.split(), cwd=installed, log=log, port="ADMIN_PORT", **own) as (process, _):
        for _ in range(2):
            run("sh", "-c", send, cwd=installed, stdin="", **own)
        wait_for_events(log, "message.duplicate", 1)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        wait_for_events(log, "daemon.stopped", 1)
        code = process.wait(timeout=STOP_SECONDS)
    # What make ends with when it is interrupted is make's.
    assert code == 0 or command.startswith("make")
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    told = [line["event"] for line in events]
    assert [line["order_id"] for line in events if line["event"] == "order.fulfilled"] == ["order-1"]
    assert (told.count("message.succeeded"), told.count("message.duplicate")) == (1, 1)


def test_dead_letters_are_listed(installed: Path, tmp_path: Path) -> None:
    """The command of the README says which messages were given up."""
    (listing,) = (line for line in shell_lines(installed / "README.md") if line.endswith("dead_letters list"))
    own = _own(tmp_path)
    assert run(*listing.split(), cwd=installed, **own).stdout == "There are no dead letters.\n"
    hopeless = '{"type": "order.placed", "data": {"order_id": ""}, "id": "hopeless"}'
    log = tmp_path / "run.log"
    with running("make", "run", cwd=installed, log=log, port="ADMIN_PORT", **own):
        run("uv", "run", "python", "-m", "app.daemon", "publish", hopeless, cwd=installed, **own)
        wait_for_events(log, "message.buried", 1)
    assert "hopeless" in run(*listing.split(), cwd=installed, **own).stdout


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "says"),
    [
        ([], {"BROKER_URL": "filesystem://var/broker"}, 1, "BROKER_URL: received 'filesystem://var/broker'; allowed"),
        (["sing"], {}, 2, "usage: "),
        (["publish", "no JSON"], {}, 2, "allowed: a JSON object"),
        (
            ["publish", '{"id": "m-1", "type": "t"}'],
            {"BROKER_URL": "redis://127.0.0.1:1/0"},
            1,
            "redis://127.0.0.1:1/0",
        ),
    ],
    ids=["settings", "arguments", "message", "broker"],
)
def test_exit_codes(
    installed: Path, tmp_path: Path, arguments: list[str], variables: dict[str, str], code: int, says: str
) -> None:
    """What cannot start or cannot be sent ends with a code of its own and says what was received."""
    command = ["uv", "run", "--no-sync", "python", "-m", "app.daemon", *arguments]
    ended = run(*command, cwd=installed, check=False, **_own(tmp_path) | variables)
    assert ended.returncode == code, ended.stdout
    assert says in ended.stdout
    assert "Traceback" not in ended.stdout


def _own(folder: Path) -> dict[str, Any]:
    """Return the settings of a daemon that shares nothing with others."""
    return {"BROKER_URL": f"sqlite:///{folder}/queue.db", "DATABASE_URL": f"sqlite:///{folder}/orders.db"}


def test_nothing_of_a_server_is_installed(installed: Path) -> None:
    """A daemon's image depends neither on what serves requests nor on Celery."""
    tree = run("uv", "tree", "--locked", "--no-dev", "--quiet", cwd=installed).stdout
    names = {line.strip("│├└─ ").split(" ")[0].split("[")[0] for line in tree.splitlines()}
    assert {"aio-pika", "redis", "sqlalchemy"} <= names
    assert {"celery", "django", "fastapi", "gunicorn", "kombu", "starlette", "uvicorn"} & names == set()


def test_the_newest_python_works(newest: Path) -> None:
    """On the newest interpreter at hand the tests are green that depend on it most: of tasks, signals and threads."""
    chosen = ("tests/daemon/test_application.py", "tests/daemon/test_consumer.py", "tests/daemon/test_signals.py")
    run("uv", "run", "--no-sync", "pytest", "-q", *chosen, cwd=newest)
