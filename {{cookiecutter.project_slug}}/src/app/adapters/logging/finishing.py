"""What is done to lines off the caller's path: redaction, other formats.

What holds no secret, and nearly no line does, is told apart in one look at a whole batch.
"""

import re
from collections.abc import Callable
from functools import partial

import orjson

from ...core import logging as chain
from ...core.redaction import may_hold_secret
from .engine import say_lost

Finish = Callable[[list[bytes]], list[bytes]]


def finisher(log_format: str, *, in_colour: bool = False) -> Finish:
    """Return what makes lines of JSON ready to be shown.

    Args:
        log_format: `json`, `logfmt` or `console`.
        in_colour: Whether a console shows colours.

    """
    render = None if log_format == "json" else chain.renderer(log_format, colours=in_colour)
    return partial(_finish, render)


def _finish(render: chain.Renderer | None, lines: list[bytes]) -> list[bytes]:
    """Return the lines as they may be shown; one that cannot be made so is left out, and takes no other with it."""
    try:
        return _finished(render, lines)
    except Exception:  # noqa: BLE001 -- the thread that delivers must not end, and nothing may pass by the redaction
        if len(lines) > 1:
            return [finished for line in lines for finished in _finish(render, [line])]
        say_lost(_name_in(lines))
        return []


def _name_in(lines: list[bytes]) -> str:
    try:
        return str(orjson.loads(lines[0])["logger"])
    except (IndexError, KeyError, TypeError, ValueError):
        return "unknown"


def _finished(render: chain.Renderer | None, lines: list[bytes]) -> list[bytes]:
    """Return the lines redacted, where one may hold a secret, and in the wanted format."""
    batch = b"".join(lines)
    if may_hold_secret(batch):
        lines = [_redacted(line) for line in lines]
    if not batch.isascii() or b"\x7f" in batch:
        lines = [_LINE_BREAKERS.sub(_escaped, line.decode()).encode() for line in lines]
    if render is not None:
        lines = [render(orjson.loads(line)).encode() + b"\n" for line in lines]
    return lines


# JSON lets these stand, but to many readers they end a line or move a cursor.
_LINE_BREAKERS = re.compile("[\x7f-\x9f\u2028\u2029]")


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"


def _redacted(line: bytes) -> bytes:
    if not may_hold_secret(line):
        return line
    return chain.to_json(chain.redact_event(None, "", orjson.loads(line))).encode() + b"\n"
