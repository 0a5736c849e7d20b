"""Both engines make the same project, byte for byte."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.cases import ODD_TEXT
from tests.engines import Emit, contents
from tests.questions import choices

ANSWERS: dict[str, list[Any]] = {
    "project_name": ["My Service", ODD_TEXT[0]],
    "project_slug": ["orders-api", "order_service"],
    "author_email": ["o'brien@example.com"],
}
COMBINATIONS = [dict(zip(ANSWERS, values, strict=True)) for values in product(*ANSWERS.values())]


@pytest.mark.parametrize("framework", choices())
@pytest.mark.parametrize("answers", [{}, *COMBINATIONS], ids=str)
def test_both_engines_emit_the_same_bytes(emit: Emit, framework: str, answers: dict[str, Any]) -> None:
    """Every combination of answers gives the same files, modes and bytes, the answers file included."""
    made = {engine: contents(emit(engine, framework, **answers)) for engine in ("cookiecutter", "copier")}
    assert made["cookiecutter"] == made["copier"]


@pytest.mark.parametrize("engine", ["cookiecutter", "copier"])
def test_a_project_holds_only_what_belongs_to_it(emit: Emit, engine: str) -> None:
    """Nothing that development leaves in the tree is emitted, and no empty folder remains."""
    project = emit(engine)
    empty = [path for path in project.rglob("*") if path.is_dir() and not any(path.iterdir())]
    assert empty == []
    assert not {".venv", "__pycache__", "uv.lock", ".mypy_cache"} & {path.name for path in project.rglob("*")}


@pytest.mark.parametrize("engine", ["cookiecutter", "copier"])
def test_what_development_leaves_in_the_tree_is_not_emitted(emit: Emit, engine: str, changed_template: Path) -> None:
    """Environments, caches, databases and secrets of the union project stay out, even with Jinja in them."""
    clean = contents(emit(engine))
    tree = changed_template / "{{cookiecutter.project_slug}}"
    for name in LITTER:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{% broken {{ jinja")
    (changed_template / ".gitignore").unlink()
    without_git = changed_template.rename(changed_template.with_name("plain folder"))
    (without_git / ".git").rename(without_git.with_name("git"))
    assert set(contents(emit(engine, template=without_git))) == set(clean)


LITTER = [
    ".venv/lib/site.py",
    ".uv/bin/uv",
    "src/app/__pycache__/x.pyc",
    "src/app/core/__pycache__/x.pyc",
    ".mypy_cache/3.11/x.json",
    ".ruff_cache/x",
    "tests/.pytest_cache/README.md",
    ".import_linter_cache/x",
    "src/app.egg-info/PKG-INFO",
]
