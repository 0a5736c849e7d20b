"""The post-gen hook: what it leaves out, what it records, and how it behaves where something is missing."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from pytest_cookies.plugin import Cookies

from cookiecutter_finish import leave_out
from cookiecutter_plan import source_of
from tests.engines import Emit, commit, contents, emit_into, git
from tests.tree import TREE

ANSWERS_FILE = ".copier-answers.yml"


def cookiecutter(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Cookiecutter as a user does, with default answers."""
    command = [sys.executable, "-m", "cookiecutter", "--no-input", *arguments]
    surroundings = {**os.environ, **environment}
    return subprocess.run(command, cwd=cwd, env=surroundings, check=False, capture_output=True, encoding="utf-8")


def recorded(project: Path) -> dict[str, str]:
    """Return what the project's answers file says."""
    document: dict[str, str] = yaml.safe_load((project / ANSWERS_FILE).read_text(encoding="utf-8"))
    return document


def test_the_default_project_is_made(cookies: Cookies, plain_template: Path) -> None:
    """pytest-cookies, which knows Cookiecutter alone, finds a finished project."""
    result = cookies.bake(template=str(plain_template))
    assert (result.exit_code, result.exception) == (0, None)
    assert result.project_path.name == "my-service"


def test_the_origin_is_recorded(emit: Emit, template: Path) -> None:
    """The answers file names the template's folder and what git calls its version."""
    answers = recorded(emit("cookiecutter"))
    assert answers["_src_path"] == str(template)
    assert answers["_commit"] == git(template, "describe", "--tags", "--always").strip() == "1.0.0"


def test_a_template_between_two_releases_is_recorded(emit: Emit, changed_template: Path) -> None:
    """Cookiecutter renders what is checked out; the record says that, not the last tag."""
    commit(changed_template, "More")
    assert recorded(emit("cookiecutter", template=changed_template))["_commit"].startswith("1.0.0-1-g")


@pytest.mark.parametrize("folder", ["plain", "with space", "über 🚀 {{ x }} 'q'"])
def test_a_relative_path_is_recorded_as_an_absolute_one(folder: str, template: Path, tmp_path: Path) -> None:
    """From any folder, and to any folder, `copier update` finds the template again."""
    copy = shutil.copytree(template, tmp_path / folder / "template")
    (tmp_path / folder / "out").mkdir()
    done = cookiecutter("../template", cwd=tmp_path / folder / "out")
    assert done.returncode == 0, done.stderr
    project = tmp_path / folder / "out" / "my-service"
    assert recorded(project)["_src_path"] == str(copy)
    assert set(contents(project)) > {"README.md", ANSWERS_FILE}


def test_one_process_may_render_several_copies(
    template: Path, changed_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second copy, given by a relative path to a process that rendered the first, is judged by its own files."""
    emit_into(tmp_path, "cookiecutter", template, {"project_slug": "first"})
    monkeypatch.chdir(changed_template.parent)
    project = emit_into(tmp_path, "cookiecutter", changed_template.name, {"project_slug": "second"})
    assert recorded(project)["_src_path"] == str(changed_template)


def test_the_message_says_what_is_next(template: Path, tmp_path: Path) -> None:
    """Where it is, two commands, how to update: the same lines from both engines."""
    said = cookiecutter(str(template), cwd=tmp_path).stdout
    command = [sys.executable, "-m", "copier", "copy", "--defaults", str(template), str(tmp_path / "other")]
    copier = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stderr
    for line in (f"My Service is in {tmp_path}", "make run", "make test", "copier update"):
        assert line in said
        assert line in copier


def test_a_template_without_git_still_makes_a_project(plain_template: Path, tmp_path: Path) -> None:
    """Without a repository the version is not recorded, and the message says so."""
    done = cookiecutter(str(plain_template), cwd=tmp_path)
    assert "Not recorded: the template's version" in done.stdout
    assert "_commit" not in recorded(tmp_path / "my-service")


def test_a_template_inside_another_repository_is_not_mistaken_for_it(plain_template: Path, tmp_path: Path) -> None:
    """The version of a repository around the template is none of its business."""
    copy = shutil.copytree(plain_template, tmp_path / "vendor" / "template")
    commit(tmp_path / "vendor", "Vendored", tag="9.9.9")
    cookiecutter(str(copy), cwd=tmp_path)
    assert "_commit" not in recorded(tmp_path / "my-service")


def test_a_machine_without_git_still_makes_a_project(template: Path, tmp_path: Path) -> None:
    """Where git is missing the project is complete, and the message says what is not recorded."""
    done = cookiecutter(str(template), cwd=tmp_path, PATH="")
    assert done.returncode == 0, done.stderr
    assert "git cannot tell it" in done.stdout
    assert (tmp_path / "my-service" / "pyproject.toml").exists()


def test_a_repository_of_the_caller_is_not_mistaken_for_the_templates(template: Path, tmp_path: Path) -> None:
    """Inside a git hook, where GIT_DIR names the caller's repository, the template's version is recorded."""
    commit(tmp_path, "Caller", tag="9.9.9")
    cookiecutter(str(template), cwd=tmp_path, GIT_DIR=str(tmp_path / ".git"))
    assert recorded(tmp_path / "my-service")["_commit"] == "1.0.0"


def test_an_archive_makes_a_project(plain_template: Path, tmp_path: Path) -> None:
    """From a zip file the project is complete; what an update would need is not recorded, and the message says so."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.mkdir("template-main")
        for path in sorted(plain_template.rglob("*")):
            archive.write(path, Path("template-main") / path.relative_to(plain_template))
    (tmp_path / "template.zip").write_bytes(packed.getvalue())
    done = cookiecutter("template.zip", cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "is an archive" in done.stdout
    assert "_src_path" not in recorded(tmp_path / "my-service")


def test_a_clone_records_its_address(template: Path, tmp_path: Path) -> None:
    """A template given as a URL is recorded as that URL, and `copier update` finds it."""
    address = f"git+file://{template}"
    done = cookiecutter(address, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert recorded(tmp_path / "my-service")["_src_path"] == address


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("gh:org/template", "gh:org/template"),
        ("https://github.com/org/template", "https://github.com/org/template"),
        ("git@example.com:org/template.git", "git@example.com:org/template.git"),
        ("https://git.example.com/org/template", "git+https://git.example.com/org/template"),
        ("https://git.example.com/org/template.git", "https://git.example.com/org/template.git"),
        ("../template", "/root"),
        ("C:\\templates\\service", "/root"),
    ],
)
def test_the_address_is_one_that_copier_takes(given: str, kept: str) -> None:
    """Short forms stay; other URLs are marked as repositories; paths become absolute."""
    assert source_of(Path("/root"), given) == kept


def test_a_short_form_that_only_cookiecutter_knows_is_spelt_out(changed_template: Path) -> None:
    """For `bb:` and the short forms of a user's configuration, the address is where git says the clone came from."""
    git(changed_template, "remote", "add", "origin", "https://example.com/org/template.git")
    assert source_of(changed_template, "bb:org/template") == "https://example.com/org/template.git"


def test_without_hooks_the_union_project_is_made(template: Path, tmp_path: Path) -> None:
    """`--accept-hooks no` emits everything, still refuses bad answers, and leaves no record."""
    assert cookiecutter("--accept-hooks", "no", str(template), cwd=tmp_path).returncode == 0
    assert recorded(tmp_path / "my-service") is None
    assert cookiecutter("--accept-hooks", "no", str(template), "project_slug=../x", cwd=tmp_path).returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["my-service"]


def test_a_terminal_that_knows_ascii_only_undoes_nothing(template: Path, tmp_path: Path) -> None:
    """A name that the terminal cannot show is shown as escapes; the project stays."""
    done = cookiecutter(str(template), "project_name=Bücher 🚀", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "B\\xfccher \\U0001f680 is in" in done.stdout


def test_a_second_run_from_recorded_answers_is_checked_too(template: Path, tmp_path: Path) -> None:
    """Answers replayed from a file are answers: bad ones make nothing."""
    replay = tmp_path / "answers.json"
    values = {"project_slug": "../evil", "_extensions": ["cookiecutter_answers.AnswersAreData"]}
    replay.write_text(json.dumps({"cookiecutter": values}))
    out = tmp_path / "a" / "b"
    out.mkdir(parents=True)
    command = [sys.executable, "-m", "cookiecutter", "--replay-file", str(replay), str(template)]
    done = subprocess.run(command, cwd=out, check=False, capture_output=True, encoding="utf-8", input="\n" * 9)
    assert done.returncode == 1
    assert "../evil" in done.stdout
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "answers.json", "b"] or not (
        tmp_path / "a/evil"
    ).exists()


def test_paths_and_names_are_left_out(tmp_path: Path) -> None:
    """A pattern with a slash is one path; one without is a name anywhere; an empty one is nothing."""
    for name in ("a/b/c.txt", "a/x/c.txt", "x/c.txt", "keep/c.pyc", "var/x", "keep/var/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    leave_out(tmp_path, ["a/b", "*.pyc", "/var", "", "missing/path"])
    assert sorted(contents(tmp_path)) == ["a/x/c.txt", "keep/var/x", "x/c.txt"]


@pytest.fixture
def two_frameworks(changed_template: Path) -> Path:
    """The template with a second framework, added as CONTRIBUTING.md says: files, one variant, one choice."""
    (changed_template / TREE.name / "src/app/ferry").mkdir()
    (changed_template / TREE.name / "src/app/ferry/__init__.py").write_text('"""The ferry."""\n')
    left_out = "{% if cookiecutter.framework != 'ferry' %}src/app/ferry{% endif %}"
    (changed_template / "variants/ferry.yml").write_text(f'_exclude:\n  - "{left_out}"\n')
    questions = json.loads((changed_template / "cookiecutter.json").read_text(encoding="utf-8"))
    questions["framework"].append("ferry")
    (changed_template / "cookiecutter.json").write_text(json.dumps(questions, indent=2))
    copier = (changed_template / "copier.yml").read_text(encoding="utf-8")
    choice = '    "FastAPI: an HTTP API, async": fastapi\n'
    assert choice in copier
    (changed_template / "copier.yml").write_text(
        copier.replace(choice, f"{choice}    Ferry: ferry\n"), encoding="utf-8"
    )
    commit(changed_template, "Add a framework", tag="1.1.0")
    return changed_template


@pytest.mark.parametrize(("framework", "has", "lacks"), [("fastapi", "api", "ferry"), ("ferry", "ferry", "api")])
def test_a_framework_leaves_out_the_others(
    framework: str, has: str, lacks: str, two_frameworks: Path, emit: Emit
) -> None:
    """With no hook touched, each choice keeps its own files and loses the other's, through both engines alike."""
    made = [contents(emit(engine, framework, template=two_frameworks)) for engine in ("cookiecutter", "copier")]
    assert made[0] == made[1]
    assert any(name.startswith(f"src/app/{has}/") for name in made[0])
    assert not any(name.startswith((f"src/app/{lacks}/", f"tests/{lacks}/")) for name in made[0])
