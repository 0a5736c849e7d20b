"""What the commands for dead letters share, whatever lies there: their arguments, their lines and their words."""

import argparse
import re
import sys
from collections.abc import Sequence

from ..core.redaction import redact_text

LIMIT = 100
_LENGTH = 128


def arguments_parser(program: str, description: str) -> argparse.ArgumentParser:
    """Return what reads the arguments: `action`, and `limit`, `id`, or `ids` and `all`.

    Args:
        program: How the command is called.
        description: What it is about.

    """
    parser = argparse.ArgumentParser(program, description=description)
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="one line each, oldest first")
    listing.add_argument("--limit", type=_number, default=LIMIT, help=f"how many at most; {LIMIT} by default")
    actions.add_parser("show", help="all that is known of one").add_argument("id")
    for name, text in (("replay", "send them once more, with all attempts before them"), ("purge", "drop them")):
        some = actions.add_parser(name, help=text)
        which = some.add_mutually_exclusive_group(required=True)
        which.add_argument("ids", nargs="*", default=[], metavar="id")
        which.add_argument("--all", action="store_true", help="all that are there now")
    return parser


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        msg = f"received {text!r}; allowed: a number from 1 on"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def print_letters(columns: Sequence[str], rows: Sequence[Sequence[str]], limit: int) -> None:
    """Print one line for each dead letter, oldest first.

    Args:
        columns: What is known of each; the last one is when it came.
        rows: The letters: one more than is printed, if there are more.
        limit: How many are printed at most.

    """
    table = [tuple(columns), *sorted(map(_shown, rows[:limit]), key=lambda row: row[-1])]
    widths = [max(len(row[column]) for row in table) for column in range(len(columns))]
    for row in table if rows else ():
        say("  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip())
    if len(rows) > limit:
        say(f"There are more; --limit {limit} was asked for.")
    elif not rows:
        say("There are no dead letters.")


def _shown(row: Sequence[str]) -> tuple[str, ...]:
    return tuple(plain(value) for value in row)


def plain(text: str) -> str:
    """Return text that a sender chose, for a line: it may hold no other line, nor what steers a terminal.

    Args:
        text: What the sender chose.

    """
    return "".join(character if character.isprintable() else "?" for character in text)[:_LENGTH]


def report_unknown(ids: Sequence[str]) -> int:
    """Say which ids were not there, and return the process's exit code.

    Args:
        ids: Those that were asked for, and not found.

    """
    for wanted in ids:
        complain(f"received {wanted!r}; allowed: an id that `list` shows")
    return 1 if ids else 0


def broker_away(url: str, error: BaseException) -> str:
    """Return what is said of a broker that does not answer, without credentials.

    Args:
        url: Where it should be.
        error: What its client raised.

    """
    # Credentials may stand in the URL, and in what a client says.
    broker = re.sub(r":.*@", "://***@", url, flags=re.DOTALL)
    said = redact_text(str(error)) or type(error).__name__
    return f"BROKER_URL: received {broker}; it does not answer, or refuses: {said}"


def say(text: str) -> None:
    """Write a line to standard output, which is for the command's answer.

    Args:
        text: The line.

    """
    sys.stdout.write(f"{text}\n")


def complain(text: str) -> None:
    """Write a line to standard error.

    Args:
        text: The line.

    """
    sys.stderr.write(f"{text}\n")
