"""The union project is green in place, before anything is emitted."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.commands import run
from tests.tree import ROOT, TREE

CACHE = ROOT / ".cache"
CHECKS = {
    "lint": ["ruff", "check", "--no-cache"],
    "format": ["ruff", "format", "--check", "--no-cache"],
    "types": ["mypy", "--cache-dir", str(CACHE / "mypy-union")],
    "imports": ["lint-imports", "--no-cache"],
    "tests": ["pytest", "-q", "-p", "no:cacheprovider"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_the_union_project_is_green_in_place(name: str) -> None:
    """A maintainer opens the tree and lints, types, and tests the real code, with all frameworks in it."""
    program = shutil.which(CHECKS[name][0], path=str(Path(sys.executable).parent))
    assert program is not None
    source = str(TREE / "src")
    run(program, *CHECKS[name][1:], cwd=TREE, PYTHONPATH=source, PYTHONPYCACHEPREFIX=str(CACHE / "pycache"))
