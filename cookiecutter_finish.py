"""Carry out, inside a new project, what cookiecutter_plan.py has planned; with the standard library alone."""

from __future__ import annotations

import os
import shutil
import sys
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any


def finish(project: Path, plan: dict[str, Any]) -> None:
    """Leave out what was not chosen, record the answers, say what to do next."""
    leave_out(project, plan["leave_out"])
    with (project / plan["answers_file"]).open("a", encoding="utf-8", newline="\n") as file:
        file.write(plan["answers"])
    for message in plan["messages"]:
        say(message)


def leave_out(project: Path, patterns: list[str]) -> None:
    """Delete the files and folders that match a pattern, and the folders left empty by that.

    A pattern with a slash is a path below the project; one without is a name that may stand anywhere, as for Copier.
    """
    paths = {pattern.removeprefix("/") for pattern in patterns if "/" in pattern}
    names = [pattern for pattern in patterns if pattern and "/" not in pattern]
    for folder, folders, files in os.walk(project):
        for name in [*folders, *files]:
            path = Path(folder, name)
            relative = PurePosixPath(path.relative_to(project)).as_posix()
            if relative in paths or any(fnmatchcase(name, pattern) for pattern in names):
                shutil.rmtree(path) if name in folders else path.unlink()
        folders[:] = [name for name in folders if Path(folder, name).exists()]


def say(message: str) -> None:
    """Print a message on whatever terminal there is: one that cannot show an answer must not undo the project."""
    encoding = sys.stdout.encoding or "ascii"
    print(message.encode(encoding, "backslashreplace").decode(encoding))
