"""`copier update` brings the template's changes into a project, whichever engine made it, and keeps its owner's."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines import Emit, commit, conflicts, contents, git, update
from tests.tree import TREE

ENGINES = ("cookiecutter", "copier")
ANSWERS_FILE = ".copier-answers.yml"


def release(template: Path, changes: dict[str, str], tag: str = "1.1.0") -> None:
    """Append text to files of the tree, which come into being where they are not, and tag the result."""
    for name, text in changes.items():
        path = template / TREE.name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((path.read_text(encoding="utf-8") if path.exists() else "") + text, encoding="utf-8")
    commit(template, f"Release {tag}", tag=tag)


@pytest.fixture(params=ENGINES)
def project(request: pytest.FixtureRequest, emit: Emit, changed_template: Path) -> Path:
    """A committed project from release 1.0.0 of a template that the test may change."""
    made = emit(
        request.param, template=changed_template, project_name="Orders {{ 7*7 }} é 🚀 'x'", project_slug="orders"
    )
    commit(made, "Start")
    return made


def test_an_unedited_project_becomes_a_fresh_one(project: Path, changed_template: Path, emit: Emit) -> None:
    """After the update the project is what the new release would have emitted."""
    release(changed_template, {"README.md": "\nNew words.\n", "src/app/core/added.py": '"""New."""\n'})
    update(project)
    fresh = emit("copier", template=changed_template, project_name="Orders {{ 7*7 }} é 🚀 'x'", project_slug="orders")
    assert contents(project) == contents(fresh)
    assert conflicts(project) == []


def test_the_owners_edits_are_kept(project: Path, changed_template: Path) -> None:
    """Edits elsewhere in a changed file, files of the owner and new settings stay; the template's change arrives."""
    readme = project / "README.md"
    readme.write_text(readme.read_text(encoding="utf-8").replace("## Start", "## Start here"), encoding="utf-8")
    (project / "src/app/billing.py").write_text('"""Ours."""\n')
    (project / ".env").write_text("PORT=9999\n")
    commit(project, "Make it ours")
    release(changed_template, {"README.md": "\nNew words.\n"})
    update(project)
    text = readme.read_text(encoding="utf-8")
    assert "## Start here" in text
    assert "New words." in text
    assert (project / "src/app/billing.py").read_text() == '"""Ours."""\n'
    assert (project / ".env").read_text() == "PORT=9999\n"
    assert conflicts(project) == []
    assert {line[3:] for line in git(project, "status", "--porcelain").splitlines()} == {"README.md", ANSWERS_FILE}


def test_the_example_domain_belongs_to_the_owner(project: Path, changed_template: Path) -> None:
    """An update neither changes what the owner kept of the orders nor brings back what the owner deleted."""
    kept, deleted = project / "src/app/orders/__init__.py", project / "src/app/orders/models.py"
    kept.write_text('"""Ours."""\n')
    git(project, "rm", "--quiet", str(deleted.relative_to(project)))
    git(project, "rm", "-r", "--quiet", "--ignore-unmatch", "tests/orders")
    commit(project, "Make the domain ours")
    names = ("__init__.py", "models.py", "added.py")
    changes = {f"src/app/orders/{name}": "# changed\n" for name in names}
    release(
        changed_template,
        {**changes, "tests/orders/test_added.py": "# new\n", "src/app/migrations/orders/0009_added.py": "# new\n"},
    )
    update(project)
    assert kept.read_text() == '"""Ours."""\n'
    assert [name for name in contents(project) if "added" in name or name.endswith("orders/models.py")] == []
    assert not (project / "tests/orders").exists()
    assert git(project, "status", "--porcelain").split() == ["M", ANSWERS_FILE]


def test_a_deleted_folder_stays_deleted(project: Path, changed_template: Path) -> None:
    """Whoever removed the whole example domain is not given it again."""
    git(project, "rm", "-r", "--quiet", "src/app/orders")
    commit(project, "Remove the example")
    release(changed_template, {"src/app/orders/models.py": "# changed\n", "README.md": "\nNew words.\n"})
    update(project)
    assert not (project / "src/app/orders").exists()


def test_a_file_that_the_template_drops_goes(project: Path, changed_template: Path) -> None:
    """What a release no longer has leaves the project, unless it is the owner's."""
    git(changed_template, "rm", "--quiet", f"{TREE.name}/.gitattributes", f"{TREE.name}/src/app/orders/models.py")
    commit(changed_template, "Drop files", tag="1.1.0")
    update(project)
    assert not (project / ".gitattributes").exists()
    assert (project / "src/app/orders/models.py").exists()


def test_both_sides_in_one_line_conflict_visibly(project: Path, changed_template: Path) -> None:
    """Where owner and template changed the same line, markers say so: nothing is lost in silence."""
    for folder, word in ((project, "Begin"), (changed_template / TREE.name, "Go")):
        readme = folder / "README.md"
        readme.write_text(readme.read_text(encoding="utf-8").replace("## Start\n", f"## {word}\n"), encoding="utf-8")
    commit(project, "Rename a heading")
    commit(changed_template, "Rename a heading", tag="1.1.0")
    update(project)
    assert conflicts(project) == ["README.md"]


def test_an_answer_can_change_on_the_way(project: Path, changed_template: Path, emit: Emit) -> None:
    """An update with another description gives what that description would have given from the start."""
    release(changed_template, {"README.md": "\nNew words.\n"})
    command = [sys.executable, "-m", "copier", "update", "--defaults", "--data", "description=Another one"]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    answers = {"project_name": "Orders {{ 7*7 }} é 🚀 'x'", "project_slug": "orders", "description": "Another one"}
    assert contents(project) == contents(emit("copier", template=changed_template, **answers))


def test_the_command_line_needs_no_trust(project: Path, changed_template: Path) -> None:
    """Plain `copier update` on the command line exits with 0, brings the change and says what to do next."""
    release(changed_template, {"README.md": "\nNew words.\n"})
    command = [sys.executable, "-m", "copier", "update", "--defaults"]
    done = subprocess.run(command, cwd=project, check=False, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "up to date with the template" in done.stderr
    assert "New words." in (project / "README.md").read_text(encoding="utf-8")


def test_an_answer_to_a_question_that_is_gone_stops_nothing(project: Path, changed_template: Path) -> None:
    """A recorded answer that the new release does not ask for is dropped, not refused."""
    answers = project / ANSWERS_FILE
    answers.write_text(answers.read_text(encoding="utf-8") + "retired: old\n", encoding="utf-8")
    commit(project, "As an old release left it")
    release(changed_template, {"README.md": "\nNew words.\n"})
    update(project)
    assert "New words." in (project / "README.md").read_text(encoding="utf-8")
    assert "retired" not in answers.read_text(encoding="utf-8")
