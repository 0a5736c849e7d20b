"""Making a project: what our hooks cost Cookiecutter, and Copier beside it."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from ..effort import Effort
from ..machine import MEASURED, pinned
from ..processes import work_folder
from ..report import Row, ratios

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 120.0
OPTIONS = {
    "with hooks": ["cookiecutter", "--no-input"],
    "without hooks": ["cookiecutter", "--no-input", "--accept-hooks", "no"],
    "copier": ["copier", "copy", "--defaults", "--quiet", "--vcs-ref", "HEAD"],
}


def measure(effort: Effort) -> list[Row]:
    """Make projects from the last commit of this template, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in OPTIONS}
    with work_folder() as folder:
        template = last_commit(folder / "template")
        for number in range(effort.rounds + 1):
            for name, taken in seconds.items():
                taken.append(make(name, template, folder / f"{name}-{number}".replace(" ", "-")))
    # The first of each fills the caches of files and of compiled code.
    counted = {name: taken[1:] for name, taken in seconds.items()}
    return [
        Row("Cookiecutter with our hooks", "without", ratios(counted["with hooks"], counted["without hooks"])),
        Row("Copier", "Cookiecutter with our hooks", ratios(counted["copier"], counted["with hooks"])),
    ]


def last_commit(path: Path) -> Path:
    """Clone the template.

    Args:
        path: Where to.
    """
    subprocess.run(["git", "clone", "--quiet", ROOT, path], check=True, timeout=TIMEOUT, capture_output=True)
    return path


def make(name: str, template: Path, target: Path) -> float:
    """Return the seconds that one engine takes for a project, its own start included.

    Args:
        name: Which engine, and how.
        template: The template.
        target: A new folder.
    """
    target.mkdir()
    engine, *options = OPTIONS[name]
    places = [template, target / "project"] if engine == "copier" else ["--output-dir", target, template]
    command = [sys.executable, "-m", engine, *options, *places]
    environment = {**os.environ, "HOME": str(target), "PYTHONPATH": ""}
    with pinned(MEASURED):
        started = time.perf_counter()
        subprocess.run(command, env=environment, check=True, timeout=TIMEOUT, capture_output=True, cwd=target)
        seconds = time.perf_counter() - started
    shutil.rmtree(target)
    return seconds
