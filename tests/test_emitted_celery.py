"""A Celery project is held to what every emitted project is, and its worker works, by its README's commands."""

import json
import os
import signal
from pathlib import Path

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
    return "celery"


@pytest.mark.parametrize(
    ("command", "number"),
    [("make run", signal.SIGINT), ("make run", signal.SIGTERM), ("uv run python -m app.worker", signal.SIGTERM)],
)
def test_make_run_works_until_it_is_told_to_stop(
    installed: Path, tmp_path: Path, command: str, number: signal.Signals
) -> None:
    """The worker works on what the README's command sends, once, and stops cleanly on SIGTERM and on Ctrl-C."""
    log = tmp_path / "run.log"
    (send,) = (line for line in shell_lines(installed / "README.md") if " call " in line)
    own = {"BROKER_URL": f"filesystem://{tmp_path}/broker", "DATABASE_URL": f"sqlite:///{tmp_path}/orders.db"}
    with running(*command.split(), cwd=installed, log=log, port="ADMIN_PORT", **own) as (process, _):
        for _ in range(2):
            run("sh", "-c", send, cwd=installed, check=True, stdin="", **own)
        done = wait_for_events(log, "task.succeeded", 2, task_name="orders.fulfil")
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        wait_for_events(log, "worker.shutdown", 1)
        code = process.wait(timeout=STOP_SECONDS)
    # What make ends with when it is interrupted is make's.
    assert code == 0 or command.startswith("make")
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    assert len({line["task_id"] for line in done}) == 2
    assert [line["order_id"] for line in events if line["event"] == "order.fulfilled"] == ["order-1"]


def test_dead_letters_are_listed(installed: Path, tmp_path: Path) -> None:
    """The command of the README says which tasks were given up."""
    (listing,) = (line for line in shell_lines(installed / "README.md") if line.endswith("dead_letters list"))
    said = run(*listing.split(), cwd=installed, BROKER_URL=f"filesystem://{tmp_path}/broker").stdout
    assert said == "There are no dead letters.\n"


def test_nothing_of_a_server_is_installed(installed: Path) -> None:
    """A worker does not depend on what serves requests."""
    listing = "import importlib.metadata as m, json; print(json.dumps([found.name for found in m.distributions()]))"
    names = set(json.loads(run(str(installed / ".venv" / "bin" / "python"), "-c", listing, cwd=installed).stdout))
    assert "celery" in names
    assert {"django", "fastapi", "gunicorn", "starlette", "uvicorn"} & names == set()


def test_the_newest_python_works(newest: Path) -> None:
    """On the newest interpreter at hand the tests are green that depend on it most: of pools, signals and threads."""
    chosen = ("tests/worker/test_task.py", "tests/worker/test_context.py", "tests/adapters/test_task_sender.py")
    run("uv", "run", "--no-sync", "pytest", "-q", *chosen, cwd=newest)
