"""Plan what turns Cookiecutter's rendering into the very project that Copier would have made.

Copier leaves out files and records the answers by itself. Under Cookiecutter, the post-gen hook does both as planned
here, from the same files: variants/*.yml and copier.yml. The planning happens in Cookiecutter's own process, which has
YAML and Jinja at hand; loading them in the hook's would take longer than all its work.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment

ANSWERS_FILE = ".copier-answers.yml"
SHARED_PREFIXES = ("gh:", "gl:", "git@", "git://", "git+", "https://github.com/", "https://gitlab.com/")
ARCHIVE_SUFFIX = ".zip"
FOREIGN_REPOSITORY = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}


def plan(root: Path, config: dict[str, Any], environment: Environment, cookiecutter: dict[str, Any]) -> dict[str, Any]:
    """Return what the post-gen hook has to do: patterns to leave out, a text to append, messages to show.

    Args:
        root: The template's folder.
        config: What copier.yml says.
        environment: Renders the strings in it.
        cookiecutter: The answers, and under names with an underscore where they came from.
    """
    answers = {name: value for name, value in cookiecutter.items() if not name.startswith("_")}
    project = Path(cookiecutter["_output_dir"], answers["project_slug"])
    copier = {"_copier_operation": "copy", "_copier_conf": {"dst_path": project}}

    def rendered(text: str) -> str:
        return environment.from_string(text).render({**answers, **copier, "cookiecutter": answers})

    origin, missing = origin_of(root, cookiecutter["_template"])
    messages = [rendered(config["_message_after_copy"])]
    if missing:
        messages.append(f"Not recorded: {missing} Without it `copier update` cannot work.")
    return {
        "leave_out": [pattern for pattern in map(rendered, config["_exclude"]) if pattern],
        "answers_file": ANSWERS_FILE,
        "answers": as_copier_writes({**origin, **answers}),
        "messages": messages,
    }


def as_copier_writes(answers: dict[str, str]) -> str:
    """Return the answers as Copier's `to_nice_yaml` writes them."""
    text: str = yaml.dump(answers, indent=4, allow_unicode=True, default_flow_style=False)
    return text


def origin_of(root: Path, template: str) -> tuple[dict[str, str], str]:
    """Return what Copier needs to find the template again, and what of it is missing, if anything.

    Args:
        root: The folder that was rendered.
        template: The template as it was given to Cookiecutter.
    """
    if template.endswith(ARCHIVE_SUFFIX):
        return (
            {},
            f"the template's place and version, since {template} is an archive and Copier reads repositories.",
        )
    source = {"_src_path": source_of(root, template)}
    if not (root / ".git").exists():
        return (
            source,
            f"the template's version, since {source['_src_path']} is not a git repository.",
        )
    try:
        return {"_commit": git(root, "describe", "--tags", "--always"), **source}, ""
    except (OSError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", "") or str(error)).strip()
        return source, f"the template's version, since git cannot tell it ({reason})."


def source_of(root: Path, template: str) -> str:
    """Return the template's place in a form that Copier understands from inside the project."""
    if template.startswith(SHARED_PREFIXES):
        return template
    if re.match(r"[a-z+]+://|\w+@", template):
        return template if template.endswith(".git") else f"git+{template}"
    if re.match(r"\w{2,}:", template):
        return git(root, "config", "--get", "remote.origin.url")
    return str(root)


def git(root: Path, *arguments: str) -> str:
    """Return what a git command says about the template's repository, whatever repository the caller is in."""
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN_REPOSITORY}
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, check=True, encoding="utf-8")
    return done.stdout.strip()
