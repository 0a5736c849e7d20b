"""The command: measure all subjects, or those that are named, and print one table."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from . import machine, subjects
from .effort import FULL, QUICK
from .report import Row, as_json, markdown

BUILD = Path(__file__).resolve().parents[1] / "build"
Results = list[tuple[str, Row]]


def main() -> int:
    """Return the exit code: 1 when a subject could not be measured, however the figures stand against their bars."""
    options = read_options()
    if options.list:
        sys.stdout.writelines(f"{name:17} {subjects.summary(name)}\n" for name in subjects.NAMES)
        return 0
    before = machine.describe()
    results, failures = run(options.only or subjects.NAMES, quick=options.quick)
    after = machine.describe()["load_average"]
    write(results, {**before, "load_average_after": after, "quick": options.quick, "failures": failures})
    return 1 if failures else 0


def read_options() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python benchmarks/run.py", description=__doc__)
    parser.add_argument("--only", action="append", choices=subjects.NAMES, metavar="NAME", help="a subject; repeatable")
    parser.add_argument("--quick", action="store_true", help="few repetitions: to see that the benchmarks run")
    parser.add_argument("--list", action="store_true", help="list the subjects and stop")
    return parser.parse_args()


def run(names: tuple[str, ...], *, quick: bool) -> tuple[Results, dict[str, str]]:
    """Return the rows of all subjects, and why some could not be measured: one that fails does not stop the others.

    Args:
        names: The subjects.
        quick: Whether few repetitions are enough.
    """
    results: Results = []
    failures: dict[str, str] = {}
    for name in names:
        started = time.monotonic()
        try:
            results += [(name, row) for row in subjects.measure(name, QUICK if quick else FULL)]
        except Exception as error:  # noqa: BLE001 -- what was measured before must not be lost
            failures[name] = f"{type(error).__name__}: {error}"
            results.append((name, Row("all of it", "", None, note=failures[name])))
        sys.stderr.write(f"{name}: {time.monotonic() - started:.0f} s\n")
    return results, failures


def write(results: Results, about: dict[str, Any]) -> None:
    """Print the table, and keep it as Markdown and as JSON.

    Args:
        results: The rows.
        about: What they were taken on.
    """
    table = f"{machine.sentence(about)}\n\n{markdown(results)}"
    folder = BUILD / ("benchmarks-quick" if about["quick"] else "benchmarks")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(table, encoding="utf-8")
    (folder / "results.json").write_text(as_json(results, about), encoding="utf-8")
    sys.stdout.write(table)
    sys.stderr.write(f"Kept in {folder}.\n")


if __name__ == "__main__":
    sys.exit(main())
