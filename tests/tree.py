"""Where things stand in the template."""

import shutil
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TREE = ROOT / "{{cookiecutter.project_slug}}"
LEFT_BEHIND = {".git", ".venv", ".uv", ".cache", "build", "__pycache__", "uv.lock", "var"}


def template_files() -> list[Path]:
    """Return what a clone of the template would hold, what is not yet committed included."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, encoding="utf-8").stdout
        return [Path(name) for name in sorted(listed.split("\0")) if name and (ROOT / name).is_file()]
    files = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return sorted(path for path in files if not LEFT_BEHIND & set(path.parts))


def tree_files() -> list[Path]:
    """Return the files of the union project, relative to it."""
    folder = Path(TREE.name)
    return [path.relative_to(folder) for path in template_files() if path.is_relative_to(folder)]


def tree_requirements() -> list[str]:
    """Return the union project's run-time dependencies, as its pyproject.toml says them."""
    document = tomllib.loads((TREE / "pyproject.toml").read_text(encoding="utf-8"))
    dependencies: list[str] = document["project"]["dependencies"]
    return dependencies


# Every file of the tree that holds Jinja. A new one is added here on purpose, or not at all.
JINJA_FILES = {
    ".copier-answers.yml",
    ".env.example",
    "Dockerfile",
    "Makefile",
    "README.md",
    "compose.yaml",
    "deploy/prometheus/prometheus.yaml",
    "pyproject.toml",
}
# These hold double braces of their own language, inside `{% raw %}`.
RAW_FILES = {
    ".github/workflows/ci.yml",
    ".github/workflows/template-update.yml",
    "deploy/prometheus/alerts-http.yaml",
    "deploy/prometheus/alerts-messages.yaml",
    "deploy/prometheus/alerts-tasks.yaml",
    "deploy/prometheus/alerts.yaml",
}
