"""What Cookiecutter lacks: answers are data, never templates, and bad ones are refused before anything is written.

Cookiecutter loads this Jinja extension because ``_extensions`` in cookiecutter.json names it. The rules themselves
are the validators of copier.yml, so both engines refuse the same answers with the same words.
"""

from __future__ import annotations

import json
import re
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from cookiecutter.exceptions import FailedHookException
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension

import cookiecutter_plan

PROJECT_FOLDER = "{{cookiecutter.project_slug}}"
CHECKED_FOLDER = "{{ checked(cookiecutter).project_slug }}"
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class AnswersAreData(Extension):
    """Keep Cookiecutter from rendering answers, and refuse the bad ones before their folder is made.

    Cookiecutter renders the values that it is given with ``--no-input``, and it makes the project's folder, wherever
    that is, before its first hook runs. A hook could therefore neither see ``{{ 7*7 }}`` nor prevent ``../evil``.
    """

    def __init__(self, environment: Environment) -> None:
        """Let templates import from the template's root, and give the hooks its absolute path."""
        super().__init__(environment)
        self.root = template_root()
        environment.loader = environment.loader or FileSystemLoader(self.root)
        environment.filters.setdefault("regex_search", regex_search)
        environment.globals.update(checked=self.checked, plan=self.plan, template_root=str(self.root))

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002 - Jinja's
        """Return the template's own text as it is, and anything else as a literal.

        Args:
            source: What Cookiecutter is about to render.
            name: The file's name; None for the values, paths and hooks that Cookiecutter renders from memory.
            filename: Where the file is; unused.
        """
        if name is not None or source in self._own_sources:
            return source
        if source == PROJECT_FOLDER:
            return CHECKED_FOLDER
        return '{{ "' + "".join(f"\\U{ord(character):08x}" for character in source) + '" }}'

    def checked(self, answers: dict[str, Any]) -> dict[str, Any]:
        """Return the answers, or stop the generation with all that is wrong with them."""
        if problems := list(problems_of(self.root, answers)):
            raise FailedHookException("\n".join(problems))
        return answers

    def plan(self, cookiecutter: dict[str, Any]) -> dict[str, Any]:
        """Return what the post-gen hook has to do."""
        config = load_config(self.root)
        return cookiecutter_plan.plan(self.root, config, environment_of(self.root, config), cookiecutter)

    @cached_property
    def _own_sources(self) -> frozenset[str]:
        defaults = json.loads((self.root / "cookiecutter.json").read_text(encoding="utf-8"))
        hooks = [path.read_text(encoding="utf-8") for path in (self.root / "hooks").glob("*.py")]
        return frozenset([*(value for value in defaults.values() if isinstance(value, str)), *hooks])


def template_root() -> Path:
    """Return the folder that Cookiecutter is rendering.

    It puts that folder last on ``sys.path``, as it was given, and enters it to run a hook. This file's own place
    would be wrong in a process that renders several copies of the template: Python imports only the first.
    """
    candidates = (Path(sys.path[-1]), Path.cwd(), Path(__file__).parent)
    return next(path.resolve() for path in candidates if (path / "cookiecutter.json").is_file())


def problems_of(root: Path, answers: dict[str, Any]) -> list[str]:
    """Return what copier.yml's validators say about the answers, in the words in which Copier says it."""
    config = load_config(root)
    environment = environment_of(root, config)
    questions = {name: question for name, question in config.items() if not name.startswith("_")}
    found = []
    for name, question in questions.items():
        if question.get("when", True) and (problem := _problem(environment, name, question, answers)):
            found.append(problem)
    return found


def _problem(environment: Environment, name: str, question: dict[str, Any], answers: dict[str, Any]) -> str | None:
    answer = answers.get(name)
    if not isinstance(answer, str):
        return f"Validation error for question '{name}': got {answer!r:.60}; allowed: text; for example: \"Orders\""
    choices = list(question.get("choices", {}).values())
    if choices and answer not in choices:
        return f"Invalid choice for '{name}': {answer!r:.60} is not in {choices}"
    validator = environment.from_string(question.get("validator", ""))
    message = validator.render({**answers, name: answer}).strip()
    return f"Validation error for question '{name}': {message}" if message else None


def environment_of(root: Path, config: dict[str, Any]) -> Environment:
    """Return a Jinja environment that renders the strings of copier.yml as Copier would."""
    options = {**config["_envops"], "undefined": StrictUndefined}
    environment = Environment(loader=FileSystemLoader(root), autoescape=False, **options)  # noqa: S701 - no HTML
    environment.filters["regex_search"] = regex_search
    return environment


def regex_search(value: str, pattern: str) -> str | None:
    """Return what the pattern finds, like Copier's filter of this name."""
    found = re.search(pattern, value)
    return found and found.group()


def load_config(root: Path) -> dict[str, Any]:
    """Return copier.yml with what it includes; lists named alike add up, as Copier adds them up."""
    merged: dict[str, Any] = {}
    for document in _documents(root / "copier.yml"):
        for name, value in document.items():
            merged[name] = [*merged.get(name, []), *value] if isinstance(value, list) else value
    return merged


def _documents(path: Path) -> list[dict[str, Any]]:
    class WithIncludes(Loader):  # type: ignore[misc, valid-type]
        """The safe loader, and `!include`."""

    def include(loader: Any, node: Any) -> list[dict[str, Any]]:
        pattern = loader.construct_scalar(node)
        return [document for file in sorted(path.parent.glob(pattern)) for document in _documents(file)]

    WithIncludes.add_constructor("!include", include)
    documents = yaml.load_all(path.read_text(encoding="utf-8"), Loader=WithIncludes)
    flat: list[dict[str, Any]] = []
    for document in filter(None, documents):
        flat.extend(document if isinstance(document, list) else [document])
    return flat
