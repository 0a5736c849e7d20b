"""What runs in processes of their own, one module each: `python -m benchmarks.children.NAME ARGUMENTS ANSWER`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def answer(content: dict[str, Any]) -> None:
    """Leave an answer for the parent, whole at once.

    Args:
        content: What JSON can hold.
    """
    path = Path(sys.argv[2])
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content), encoding="utf-8")
    part.replace(path)


def arguments() -> dict[str, Any]:
    """Return what the parent asks for."""
    content: dict[str, Any] = json.loads(sys.argv[1])
    return content


def respond(function: Callable[..., dict[str, Any]]) -> None:
    """Call a function as the parent asks, and leave what it returns.

    Args:
        function: Takes the arguments by keyword.
    """
    answer(function(**arguments()))
