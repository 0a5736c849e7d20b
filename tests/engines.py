"""Both engines behind one function, and the git commands around them."""

import re
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import copier
from cookiecutter.main import cookiecutter
from copier.errors import DirtyLocalWarning


class Refused(Exception):  # noqa: N818 - it is no error of ours
    """The engine made no project; the text is its message."""


@dataclass
class Emit:
    """Emits projects, each in a folder of its own, and says where each is."""

    template: Path
    folder: Path
    _numbers: Iterator[int] = field(default_factory=count)

    def __call__(
        self,
        engine: str,
        framework: str = "fastapi",
        *,
        template: Path | None = None,
        **answers: object,
    ) -> Path:
        """Return the folder of a new project.

        Args:
            engine: "cookiecutter" or "copier".
            framework: The answer of that name.
            template: Another template than the one under test.
            answers: The other answers; the defaults where absent.

        Raises:
            Refused: The engine stopped with a message.
        """
        out = self.folder / str(next(self._numbers))
        out.mkdir()
        return emit_into(out, engine, template or self.template, {"framework": framework, **answers})


def emit_into(out: Path, engine: str, template: Path | str, answers: dict[str, Any]) -> Path:
    """Return the folder of the project that the engine makes below `out`."""
    try:
        if engine == "cookiecutter":
            return Path(cookiecutter(str(template), no_input=True, extra_context=answers, output_dir=str(out)))
        project = out / "project"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DirtyLocalWarning)
            copier.run_copy(str(template), project, data=answers, defaults=True, quiet=True)
    except Exception as error:
        raise Refused(str(error)) from error
    return project


def update(project: Path) -> None:
    """Run `copier update` on a committed project, as a user does: no trust, every answer kept."""
    copier.run_update(project, defaults=True, overwrite=True, quiet=True)


def git(folder: Path, *arguments: str) -> str:
    """Return what git says in the folder."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout


def commit(folder: Path, message: str, *, tag: str | None = None) -> None:
    """Commit everything in the folder, which becomes a repository if it is none; tag the commit if asked."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
    if tag:
        git(folder, "tag", tag)


def contents(project: Path) -> dict[str, tuple[bytes, bool]]:
    """Return each file's bytes and whether it is executable, by its path; what git keeps is left out."""
    files = (path for path in project.rglob("*") if path.is_file() and ".git" not in path.relative_to(project).parts)
    return {p.relative_to(project).as_posix(): (p.read_bytes(), bool(p.stat().st_mode & 0o100)) for p in files}


def conflicts(project: Path) -> list[str]:
    """Return the files that hold conflict markers or rejected hunks."""
    marker = re.compile(rb"^(<<<<<<<|>>>>>>>) ", re.MULTILINE)
    return [name for name, (data, _) in contents(project).items() if marker.search(data) or name.endswith(".rej")]
