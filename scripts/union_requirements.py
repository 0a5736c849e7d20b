"""Print what the union project needs, one requirement per line, as its own pyproject.toml says.

With every Jinja line a comment to TOML, the file as it stands asks for the packages of all frameworks at once.
"""

import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "{{cookiecutter.project_slug}}" / "pyproject.toml"


def union_requirements() -> list[str]:
    """Return the union project's dependencies and its development tools."""
    document = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    return [*document["project"]["dependencies"], *document["dependency-groups"]["dev"]]


if __name__ == "__main__":
    print("\n".join(union_requirements()))
