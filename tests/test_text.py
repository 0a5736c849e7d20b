"""An answer means itself in every language that the project's files are written in."""

import tomllib
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.cases import ODD_TEXT, PLAIN_TRAPS
from tests.engines import Emit
from tests.tree import JINJA_FILES


@pytest.fixture(scope="session", params=(*ODD_TEXT, *PLAIN_TRAPS), ids=lambda text: ascii(text)[:40])
def odd(request: pytest.FixtureRequest, emit: Emit, plain_template: Path) -> tuple[str, Path]:
    """An odd text, and a project that has it for every free answer."""
    text: str = request.param
    answers = dict.fromkeys(("project_name", "description", "author_name"), text)
    return text, emit("copier", template=plain_template, project_slug="odd", author_email="o'b@example.com", **answers)


def test_toml_says_the_answer(odd: tuple[str, Path]) -> None:
    """The description and the author are in pyproject.toml as they were given."""
    text, project = odd
    document = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (document["name"], document["description"]) == ("odd", text)
    assert document["authors"] == [{"name": text, "email": "o'b@example.com"}]


def test_yaml_stays_valid_and_says_the_answer(odd: tuple[str, Path]) -> None:
    """Every YAML file still parses, and the answers file says the answers."""
    text, project = odd
    for path in [*project.rglob("*.yml"), *project.rglob("*.yaml")]:
        list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    recorded = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    assert [recorded[name] for name in ("project_name", "description", "author_name")] == [text] * 3


def test_markdown_shows_the_answer_and_nothing_else(odd: tuple[str, Path]) -> None:
    """The README's heading and first paragraph show the answers as plain text: no HTML, link or emphasis."""
    text, project = odd
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse((project / "README.md").read_text(encoding="utf-8"))
    heading, description = [token for token in tokens if token.type == "inline"][:2]
    assert shown(heading) == text.strip()
    assert shown(description).removeprefix("What it is for: ").strip() == text.strip()


def shown(inline: Token) -> str:
    """Return the text that a reader sees; anything that is no text fails."""
    children = inline.children or []
    assert {token.type for token in children} <= {"text", "text_special"}
    return "".join(token.content for token in children)


def test_other_files_say_the_answer_in_their_own_quotes(odd: tuple[str, Path]) -> None:
    """No file with Jinja in it holds the result of an expression that an answer spells."""
    _, project = odd
    for name in JINJA_FILES - {"README.md"}:
        if (project / name).exists():
            body = (project / name).read_text(encoding="utf-8")
            assert "49" not in [word.strip("\"'") for word in body.split()], name


def test_nothing_in_an_answer_is_run(odd: tuple[str, Path], tmp_path: Path) -> None:
    """An answer that spells a command leaves no trace of it."""
    _, project = odd
    assert not list(project.rglob("pwned"))
    assert not Path("pwned").exists()
