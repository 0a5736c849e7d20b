"""Run code in a process of its own, where nothing was imported or configured before."""

import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"
# Far more than any of them takes: a process that hangs fails its test instead of the whole run.
PATIENCE = 60
# From Python 3.12 on it warns of a fork beside a thread, which is what some tests are about.
FORKS = ("-W", "ignore:This process:DeprecationWarning")


def variables(**own: str) -> dict[str, str]:
    """Return the environment of a process that can import the service.

    Args:
        own: What it has besides the environment of the tests.

    """
    return {**os.environ, "PYTHONPATH": str(SOURCE), **own}


def run_python(*arguments: str, **own: str) -> subprocess.CompletedProcess[str]:
    """Return what became of `python` with these arguments.

    Args:
        arguments: The interpreter's.
        own: What its environment has besides that of the tests.

    """
    return subprocess.run(
        [sys.executable, *arguments],
        check=False,
        env=variables(**own),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
