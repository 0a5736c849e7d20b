"""The union project is green in place, before anything is emitted.

Its tests are run where they are emitted: each belongs to a project of one framework at least (`test_emitted.py`).
"""

import shutil
import sys
from pathlib import Path

import pytest

from tests.commands import run
from tests.engines import Emit
from tests.questions import choices
from tests.tree import ROOT, TREE

CACHE = ROOT / ".cache"
CHECKS = {
    "lint": ["ruff", "check", "--no-cache"],
    "format": ["ruff", "format", "--check", "--no-cache"],
    "types": ["mypy", "--cache-dir", str(CACHE / "mypy-union")],
    "imports": ["lint-imports", "--no-cache"],
    "tests": ["pytest", "--collect-only", "-q", "-p", "no:cacheprovider"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_the_union_project_is_green_in_place(name: str) -> None:
    """A maintainer opens the tree and lints, types, and tests the real code, with all frameworks in it."""
    program = shutil.which(CHECKS[name][0], path=str(Path(sys.executable).parent))
    assert program is not None
    source = str(TREE / "src")
    run(program, *CHECKS[name][1:], cwd=TREE, PYTHONPATH=source, PYTHONPYCACHEPREFIX=str(CACHE / "pycache"))


def test_every_test_is_emitted(emit: Emit) -> None:
    """No test of the tree is left out of every project: it would never run."""
    emitted = {path for framework in choices() for path in _tests(emit("copier", framework))}
    assert _tests(TREE) - emitted == set()


def _tests(project: Path) -> set[Path]:
    return {path.relative_to(project) for path in project.glob("tests/**/test_*.py")}
