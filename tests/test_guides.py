"""The guides can be found, and the code in them runs in a project of each framework."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.engines import Emit
from tests.questions import choices
from tests.tree import ROOT

DOCS = ROOT / "docs"
GUIDES = sorted((DOCS / "guide").glob("*.md"))
DECISIONS = sorted((DOCS / "adr").glob("[0-9]*.md"))
# A block that only one framework's projects can run names it: ```python fastapi
BLOCK = re.compile(r"^```python(?: (?P<framework>\w+))?\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)


def code_of(text: str, framework: str) -> str:
    """Return a guide's Python blocks, one after the other, as a reader with such a project would try them."""
    return "\n".join(block["code"] for block in BLOCK.finditer(text) if block["framework"] in (None, framework))


@pytest.fixture(scope="module")
def source(emit: Emit, plain_template: Path) -> Callable[[str], Path]:
    """Return what gives the source of a project of a framework, which is emitted once."""
    return cache(lambda framework: emit("copier", framework, template=plain_template) / "src")


PAIRS = [
    (guide, framework)
    for guide in GUIDES
    for framework in choices()
    if code_of(guide.read_text(encoding="utf-8"), framework).strip()
]


def test_every_guide_has_code() -> None:
    """A guide shows code that projects of some framework can run, and no framework is without any."""
    assert {guide for guide, _ in PAIRS} == set(GUIDES)
    assert {framework for _, framework in PAIRS} == set(choices())


@pytest.mark.parametrize(("guide", "framework"), PAIRS, ids=lambda part: getattr(part, "stem", part))
def test_code_runs(guide: Path, framework: str, source: Callable[[str], Path], tmp_path: Path) -> None:
    """A guide shows code, the code runs, and it says what came out."""
    code = code_of(guide.read_text(encoding="utf-8"), framework)
    assert re.search(r"^\s*(assert|with pytest\.raises)\b", code, re.MULTILINE), (
        "no code that holds anything to be true"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(source(framework))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "framework", "code"),
    [
        ("Words.\n```python\na\n```\n```json\nb\n```\n```python\nc\n```\n", "fastapi", "a\n\nc\n"),
        ("```python fastapi\na\n```\n```python django\nb\n```\n", "fastapi", "a\n"),
        ("```\na\n```\nand `python`\n", "fastapi", ""),
    ],
)
def test_blocks(text: str, framework: str, code: str) -> None:
    """Python blocks are code, those of another framework and of other languages are not."""
    assert code_of(text, framework) == code


def test_all_are_in_the_index() -> None:
    """Each guide and each decision has one line in `docs/README.md`, which the README leads to."""
    links = re.findall(r"^- \[[^\]]+\]\(([^)]+)\): \S", (DOCS / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(links) == sorted(path.relative_to(DOCS).as_posix() for path in (*GUIDES, *DECISIONS))
    assert "(docs/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [*GUIDES, *DECISIONS, DOCS / "README.md"], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """A link to another file of the repository leads to one that is there."""
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []
