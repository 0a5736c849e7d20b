"""The questions, as each engine's file asks them."""

import json
from typing import Any

from cookiecutter_answers import load_config
from tests.tree import ROOT

COOKIECUTTER: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
COPIER: dict[str, Any] = load_config(ROOT)
ASKED = [name for name, question in COPIER.items() if not name.startswith("_") and question.get("when", True)]


def choices() -> list[str]:
    """Return the frameworks that can be chosen."""
    return list(COPIER["framework"]["choices"].values())
