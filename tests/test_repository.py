"""The repository keeps its own promises: versions, licences, workflow, changelog."""

import re
import tomllib

import yaml

from tests.engines import git
from tests.questions import COPIER
from tests.tree import ROOT, template_files

VERSIONS = re.compile(r"^## \[(\d+\.\d+\.\d+)\]", re.MULTILINE)


def test_the_newest_release_is_the_newest_tag() -> None:
    """The changelog's first version is the last tag; before the first release it has neither."""
    changelog = VERSIONS.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    tags = git(ROOT, "tag", "--list", "--sort=-version:refname").split() if (ROOT / ".git").exists() else []
    assert changelog[:1] == [tag.removeprefix("v") for tag in tags][:1]


def test_every_release_says_what_to_do_by_hand() -> None:
    """Each section of the changelog has a part for the owners of projects."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.count("\n## [") == text.count("\n### By hand")


def test_the_readme_names_the_versions_that_are_tested() -> None:
    """The least versions of both engines are the same in README, copier.yml and pyproject.toml."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    least = dict(re.split(r"[>,]=?", tool)[:2] for tool in tools if ">=" in tool)
    assert f"Cookiecutter {least['cookiecutter']} or newer" in readme
    assert f"Copier {least['copier']} or newer" in readme
    assert COPIER["_min_copier_version"] == least["copier"]


def test_the_tools_are_the_same_inside_and_outside() -> None:
    """The template is checked with the versions that its projects are checked with."""
    outside = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"])
    tree = tomllib.loads((ROOT / "{{cookiecutter.project_slug}}/pyproject.toml").read_text())
    shared = {
        tool for tool in tree["dependency-groups"]["dev"] if re.match(r"ruff|mypy|pytest\b(?!-)|pre-commit", tool)
    }
    assert shared - outside == set()


def test_actions_are_pinned_by_commit() -> None:
    """A workflow uses no action by a name that somebody else can move."""
    for path in (ROOT / ".github/workflows").iterdir():
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
        assert [s["uses"] for s in steps if "uses" in s and not re.search(r"@[0-9a-f]{40}$", s["uses"])] == []


def test_no_file_is_large() -> None:
    """Nothing that was built, downloaded or locked is committed by accident."""
    assert [path for path in template_files() if (ROOT / path).stat().st_size > 200_000 or path.name == "uv.lock"] == []
