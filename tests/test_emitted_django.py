"""A Django project is held to what every emitted project is, and its own commands work."""

import re
import sys
from pathlib import Path

import pytest

from tests.commands import run
from tests.test_emitted import (
    changing,
    installed,
    newest,
    test_an_update_leaves_a_project_that_passes_its_checks,
    test_formatting_leaves_no_difference,
    test_make_check_passes_as_emitted,
    test_make_help_lists_every_target,
    test_make_migrate_brings_the_schema,
    test_make_run_serves_until_it_is_told_to_stop,
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
    "test_make_run_serves_until_it_is_told_to_stop",
    "test_the_commands_without_make_pass",
    "test_the_project_builds",
]
pytestmark = pytest.mark.slow
# What the oldest interpreter gets, and what the newest one at hand gets at least.
LTS, CURRENT = (5, 2), (6, 1)
OF_DJANGO = (
    "orders",
    "postgresql",
    "sqlite",
    "test_database.py",
    "test_errors.py",
    "test_handlers.py",
    "test_lifespan.py",
    "test_logging.py",
    "test_manage.py",
    "test_migrate.py",
    "test_openapi.py",
    "test_statements.py",
    "test_static.py",
    "test_unit_of_work.py",
)


@pytest.fixture(scope="session")
def framework() -> str:
    """The framework of the project."""
    return "django"


def release(project: Path) -> tuple[int, ...]:
    """Return which Django a project has."""
    python = str(project / ".venv" / "bin" / "python")
    said = run(python, "-c", "import django; print(*django.VERSION[:2])", cwd=project)
    return tuple(map(int, said.stdout.split()))


def test_the_lts_is_what_the_oldest_python_gets(installed: Path) -> None:
    """Python 3.11 has the release that is supported longest, and all tests here run with it; newer ones have newer."""
    assert (release(installed) == LTS) == (sys.version_info < (3, 12))


def test_the_current_release_works(newest: Path) -> None:
    """On the newest interpreter at hand, with the current Django, the tests are green that a release could break."""
    assert release(newest) >= CURRENT
    # What takes hold of Django's inside: database backends, statements, handlers, commands, the admin site. The others
    # know of Django what these do.
    run("uv", "run", "--no-sync", "pytest", "-q", *(f"tests/web/{name}" for name in OF_DJANGO), cwd=newest)


def test_the_commands_of_the_readme(installed: Path, tmp_path: Path) -> None:
    """`manage.py` migrates, makes a user and finds nothing to complain of, as the README says."""
    database = f"sqlite:///{tmp_path / 'orders.db'}"
    user = ["--noinput", "--username", "ada", "--email", "ada@example.com"]
    for command in (["migrate"], ["createsuperuser", *user], ["check", "--deploy"]):
        name = f"uv run python manage.py {command[0]}"
        assert re.search(re.escape(name), (installed / "README.md").read_text(encoding="utf-8"))
        run(*name.split(), *command[1:], cwd=installed, DATABASE_URL=database, DJANGO_SUPERUSER_PASSWORD="x-1-y-2")
