"""An emitted project is green from the start: it installs, passes its own checks, runs, stops and updates.

Here it is FastAPI's; `test_emitted_django.py`, `test_emitted_celery.py` and `test_emitted_daemon.py` hold the others to
the same, in files that another process can run.
"""

import json
import os
import re
import shutil
import signal
import sys
import zipfile
from pathlib import Path

import pytest

from tests.commands import STOP_SECONDS, newest_python, run, running, shell_lines, surroundings, wait_until_gone
from tests.engines import Emit, commit, conflicts, git
from tests.own_tests import own_tests
from tests.tree import ROOT, TREE

pytestmark = pytest.mark.slow

# Every command of both READMEs, and the test that runs it.
README = {
    "make demo": "test_the_demo_shows_every_promise",
    "make test": "test_make_test_sets_itself_up",
    "cookiecutter gh:org/template": "test_cookiecutter_asks_and_makes_a_project",
    "copier copy gh:org/template my-service": "test_copier_makes_a_project",
    "cd my-service": "test_copier_makes_a_project",
    "make run": "test_make_run_serves_until_it_is_told_to_stop",
    "copier update": "test_an_update_leaves_a_project_that_passes_its_checks",
    "git diff --check": "test_an_update_leaves_a_project_that_passes_its_checks",
    "make check": "test_an_update_leaves_a_project_that_passes_its_checks",
    'cookiecutter --no-input gh:org/template project_name="Orders API"': "test_nobody_need_be_asked",
    'copier copy --defaults --data project_name="Orders API" gh:org/template orders-api': "test_nobody_need_be_asked",
}
EMITTED_README = {
    "make run": "test_make_run_serves_until_it_is_told_to_stop",
    "make test": "test_make_check_passes_as_emitted",
    "make check": "test_make_check_passes_as_emitted",
    "uv run ruff check": "test_the_commands_without_make_pass",
    "uv run ruff format --check": "test_the_commands_without_make_pass",
    "uv run mypy": "test_the_commands_without_make_pass",
    "uv run lint-imports": "test_the_commands_without_make_pass",
    "uv run pytest": "test_the_commands_without_make_pass",
    "uvx copier update": "test_an_update_leaves_a_project_that_passes_its_checks",
    "git diff --check": "test_an_update_leaves_a_project_that_passes_its_checks",
    "curl -i http://127.0.0.1:8000/orders": "test_make_run_serves_until_it_is_told_to_stop",
    "uv run celery -A app.worker.celery call orders.fulfil --args '[\"order-1\"]'": (
        "test_make_run_works_until_it_is_told_to_stop"
    ),
    "uv run python -m app.worker.dead_letters list": "test_dead_letters_are_listed",
    'uv run python -m app.daemon publish \'{"type": "order.placed", "data": {"order_id": "order-1"}, "id": "m-1"}\'': (
        "test_make_run_handles_until_it_is_told_to_stop"
    ),
    "uv run python -m app.daemon.dead_letters list": "test_dead_letters_are_listed",
}


@pytest.fixture(scope="session")
def framework() -> str:
    """The framework of the project."""
    return "fastapi"


@pytest.fixture(scope="session")
def installed(emit: Emit, framework: str, changing: Path) -> Path:
    """A committed project, installed by its own Makefile."""
    answers = {"project_name": "Orders {{ 7*7 }} é 'x'", "project_slug": "orders-api"}
    project = emit("cookiecutter", framework, template=changing, **answers)
    run("make", "install", cwd=project)
    commit(project, "Start")
    return project


@pytest.fixture(scope="session")
def changing(template: Path, framework: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template that the installed project comes from, which a test may change; each framework has its own."""
    return Path(shutil.copytree(template, tmp_path_factory.mktemp("changing") / "template"))


def test_make_check_passes_as_emitted(installed: Path, framework: str, emit: Emit) -> None:
    """Lint, format, strict types, the import contract and the tests are green in a project that nobody touched."""
    chosen = [] if framework == "fastapi" else own_tests(installed, emit("copier", "fastapi"))
    # The core is the same in all of them.
    assert "tests/core/test_errors.py" not in chosen
    run("make", "check", cwd=installed, PYTEST_ADDOPTS=" ".join(chosen))
    assert git(installed, "status", "--porcelain") == ""


def test_formatting_leaves_no_difference(installed: Path) -> None:
    """What is emitted is what `make format` would write."""
    run("make", "format", cwd=installed)
    assert git(installed, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    "command", [name for name, test in EMITTED_README.items() if test == "test_the_commands_without_make_pass"]
)
def test_the_commands_without_make_pass(installed: Path, command: str) -> None:
    """Who has no make runs the same checks by uv; the tests, which `make check` has run, are only collected."""
    options = ["--collect-only", "-q"] if command.endswith("pytest") else []
    run(*command.split(), *options, cwd=installed, UV_PYTHON=sys.executable)


def test_make_migrate_brings_the_schema(installed: Path, tmp_path: Path) -> None:
    """The migration command works on a database of the user's."""
    run("make", "migrate", cwd=installed, DATABASE_URL=f"sqlite:///{tmp_path / 'orders.db'}")
    assert (tmp_path / "orders.db").stat().st_size > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_make_run_serves_until_it_is_told_to_stop(installed: Path, tmp_path: Path, number: signal.Signals) -> None:
    """`make run` serves on $PORT, answers as the README says, and stops cleanly on SIGTERM to make and on Ctrl-C."""
    log = tmp_path / "run.log"
    order = next(line for line in shell_lines(installed / "README.md") if line.startswith("curl"))
    database = f"sqlite:///{tmp_path / 'orders.db'}"
    with running("make", "run", cwd=installed, log=log, DATABASE_URL=database) as (process, address):
        for _ in range(2):
            answer = run("sh", "-c", order.replace("http://127.0.0.1:8000", address), cwd=tmp_path).stdout
            assert re.search(r"^HTTP/1.1 201", answer, re.MULTILINE)
        assert re.search(r"^idempotent-replayed: true", answer, re.MULTILINE | re.IGNORECASE)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        wait_until_gone(address)
        process.wait(timeout=STOP_SECONDS)
    events = [json.loads(line)["event"] for line in log.read_text().splitlines() if line.startswith("{")]
    assert "service.stopped" in events


def test_the_project_builds(installed: Path, tmp_path: Path) -> None:
    """A wheel of the project holds the application under the distribution's name."""
    run("uv", "build", "--quiet", "--wheel", "--out-dir", str(tmp_path), cwd=installed, UV_PYTHON=sys.executable)
    (wheel,) = tmp_path.glob("orders_api-*.whl")
    assert "app/settings.py" in zipfile.ZipFile(wheel).namelist()


def test_an_update_leaves_a_project_that_passes_its_checks(changing: Path, installed: Path, tmp_path: Path) -> None:
    """After the next release and `copier update` there are no conflicts, and the checks are green again."""
    project = Path(shutil.copytree(installed, tmp_path / "orders-api", ignore=shutil.ignore_patterns(".venv")))
    readme = changing / TREE.name / "README.md"
    readme.write_text(readme.read_text(encoding="utf-8") + "\nNew words.\n", encoding="utf-8")
    commit(changing, "Release", tag="1.1.0")
    run(sys.executable, "-m", "copier", "update", "--defaults", cwd=project)
    run("git", "diff", "--check", cwd=project)
    assert conflicts(project) == []
    assert "New words." in (project / "README.md").read_text(encoding="utf-8")
    # All tests ran in the project that it was made of: that they can be collected says that their code is all there.
    run("make", "check", cwd=project, PYTEST_ADDOPTS="--collect-only -q")


@pytest.fixture(scope="session")
def newest(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, installed for the newest interpreter at hand."""
    python, version = newest_python()
    if version <= sys.version_info[:2]:
        pytest.skip(f"no interpreter newer than {sys.version_info[0]}.{sys.version_info[1]} is at hand")
    folder = tmp_path_factory.mktemp("newest") / "project"
    project = Path(shutil.copytree(installed, folder, ignore=shutil.ignore_patterns(".venv")))
    run("uv", "sync", "--quiet", cwd=project, UV_PYTHON=python)
    return project


def test_the_newest_python_works(newest: Path) -> None:
    """On the newest interpreter at hand the tests are green that depend on it most: of forks, threads and requests."""
    chosen = ("tests/adapters/logging", "tests/adapters/test_idempotency_lease.py", "tests/api/test_orders.py")
    run("uv", "run", "--no-sync", "pytest", "-q", *chosen, cwd=newest)


def test_uv_is_brought_where_it_is_missing(installed: Path, tmp_path: Path) -> None:
    """On a machine with Python and make alone, make brings uv into the project, through pip."""
    project = Path(shutil.copytree(installed, tmp_path / "bare", ignore=shutil.ignore_patterns(".venv")))
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("make", "sh", "awk"):
        (tools / name).symlink_to(shutil.which(name) or name)
    (tools / "python3").symlink_to(getattr(sys, "_base_executable", sys.executable))
    run("make", "install", cwd=project, PATH=str(tools))
    assert (project / ".uv" / "bin" / "uv").exists()
    assert (project / ".venv").is_dir()
    assert git(project, "status", "--porcelain") == ""


def test_make_help_lists_every_target(installed: Path) -> None:
    """`make` alone says what there is; what it says is read from the Makefile itself."""
    said = run("make", cwd=installed).stdout
    targets = set(re.findall(r"^([a-z]+):", (installed / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^ +make ([a-z]+)", said, re.MULTILINE)) == targets


def test_cookiecutter_asks_and_makes_a_project(template: Path, tmp_path: Path) -> None:
    """On the terminal, Cookiecutter asks by label and takes the defaults of who only presses Enter."""
    said = run("cookiecutter", str(template), cwd=tmp_path, stdin="\n" * 6).stdout
    assert "Name of the project, as people say it (My Service)" in said
    assert (tmp_path / "my-service" / "pyproject.toml").exists()


def test_copier_makes_a_project(template: Path, tmp_path: Path) -> None:
    """Copier makes the project in the folder that it is told; `--defaults` stands for pressing Enter."""
    run("copier", "copy", "--defaults", str(template), "my-service", cwd=tmp_path)
    assert (tmp_path / "my-service" / "pyproject.toml").exists()


def test_nobody_need_be_asked(template: Path, tmp_path: Path) -> None:
    """Both engines run without a terminal, with one answer given."""
    run("cookiecutter", "--no-input", str(template), "project_name=Orders API", cwd=tmp_path)
    run("copier", "copy", "--defaults", "--data", "project_name=Orders API", str(template), "copied", cwd=tmp_path)
    assert (tmp_path / "orders-api" / "README.md").read_text() == (tmp_path / "copied" / "README.md").read_text()


def test_the_demo_shows_every_promise(template: Path, tmp_path: Path) -> None:
    """`make demo` ends well, and shows the replayed answer, a problem document and log lines."""
    copy = Path(shutil.copytree(template, tmp_path / "template"))
    (copy / ".venv").symlink_to(Path(sys.prefix))
    (copy / ".cache").mkdir()
    (copy / ".cache" / "installed").touch()
    said = run("make", "demo", cwd=copy).stdout
    for shown in ("idempotent-replayed: true", "application/problem+json", '"event":"http.request"', "exit code 0"):
        assert shown in said


def test_make_test_sets_itself_up(template: Path, tmp_path: Path) -> None:
    """In a fresh clone `make test` installs what it needs and runs the tests that it is given."""
    copy = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(template), str(copy))
    said = run("make", "test", "TESTS=tests/test_tree.py", cwd=copy).stdout
    assert re.search(r"\d+ passed", said), said


@pytest.mark.parametrize(("document", "known"), [(ROOT, README), (TREE, EMITTED_README)], ids=["root", "emitted"])
def test_every_command_of_the_readme_is_run(document: Path, known: dict[str, str]) -> None:
    """A command stands in a README only when a test here runs it."""
    lines = {line.split(" -H ")[0] for line in shell_lines(document / "README.md")}
    assert lines == set(known)
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_emitted*.py"))
    assert [test for test in known.values() if f"\ndef {test}(" not in tests] == []


def test_the_surroundings_are_a_users() -> None:
    """Nothing of the tests' own environment leaks into the commands that they run."""
    assert "VIRTUAL_ENV" not in surroundings()
