"""The tree holds what both engines and every system can take."""

import json
import re

import pytest

from tests.questions import COPIER
from tests.tree import JINJA_FILES, RAW_FILES, ROOT, TREE, template_files, tree_files

OPENINGS = ("{{", "{%", "{#")
WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def text_of(name: str) -> str:
    """Return a file of the tree as text."""
    return (TREE / name).read_text(encoding="utf-8")


def holds_jinja(name: str) -> bool:
    """Say whether an engine would find Jinja in the file."""
    text = text_of(name)
    return any(opening in text for opening in OPENINGS) or bool(re.search(r"^\s*#%", text, re.MULTILINE))


def test_the_files_with_jinja_are_known() -> None:
    """A file gets Jinja on purpose, by standing in the list, or it has none."""
    assert {path.as_posix() for path in tree_files() if holds_jinja(path.as_posix())} == JINJA_FILES | RAW_FILES


@pytest.mark.parametrize("name", sorted(RAW_FILES))
def test_foreign_braces_are_raw(name: str) -> None:
    """Double braces of GitHub or Prometheus reach the project as they are."""
    body = text_of(name)
    start, end = body.index("{% raw %}"), body.index("{% endraw %}")
    outside = body[:start] + body[end + len("{% endraw %}") :]
    assert not any(opening in outside for opening in OPENINGS)


def test_no_python_holds_jinja() -> None:
    """Python files hold no pair that an engine would take for Jinja: `f"{{x}}"` would be swallowed in silence."""
    assert [path.as_posix() for path in tree_files() if path.suffix == ".py" and holds_jinja(path.as_posix())] == []


def test_paths_suit_every_system() -> None:
    """Paths are short, differ by more than case, and no name is forbidden on Windows."""
    paths = [path.as_posix() for path in template_files()]
    assert [path for path in paths if len(path) > 140] == []
    assert len({path.casefold() for path in paths}) == len(paths)
    parts = {part for path in paths for part in path.split("/")}
    assert [part for part in parts if re.search(r'[<>:"\\|?*]|[. ]$', part) or WINDOWS_DEVICES.fullmatch(part)] == []


def test_there_are_no_links_and_no_carriage_returns() -> None:
    """Neither links, which Copier may refuse to follow, nor Windows line ends, which Cookiecutter keeps."""
    files = [ROOT / path for path in template_files()]
    assert [path for path in files if path.is_symlink() or b"\r" in path.read_bytes()] == []


def test_what_is_left_out_is_named_once() -> None:
    """Cookiecutter copies, and does not render, just what variants/always.yml leaves out."""
    always = (ROOT / "variants/always.yml").read_text(encoding="utf-8")
    patterns = [name for name in COPIER["_exclude"] if name in always]
    wanted = [name.removeprefix("/") if name[0] == "/" else f"*{name.removeprefix('*')}" for name in patterns]
    assert json.loads((ROOT / "cookiecutter.json").read_text())["_copy_without_render"] == wanted


def test_what_a_variant_leaves_out_exists() -> None:
    """Every path that an answer leaves out is a path of the tree: a misspelt one would leave out nothing."""
    paths = [re.sub(r"{%.*?%}", "", name) for name in COPIER["_exclude"] if name.startswith("{%")]
    assert [path for path in paths if not (TREE / path).exists()] == []


def test_nothing_asks_for_trust() -> None:
    """The template has no task, no migration and no extension, so Copier never asks to trust it."""
    assert {"_tasks", "_migrations", "_jinja_extensions"} & set(COPIER) == set()
