"""What is done to lines off the caller's path: redaction, other formats.

What holds no secret, and nearly no line does, is told apart in one look at a whole batch.
"""

import re
from collections.abc import Callable
from functools import partial

import orjson

from ...core import logging as chain
from ...core.redaction import may_hold_secret
from ...settings import Settings

Finish = Callable[[list[bytes]], list[bytes]]


def finisher(settings: Settings, *, in_colour: bool) -> Finish:
    """Return what makes lines of JSON ready to be shown.

    Args:
        settings: The format that is wanted.
        in_colour: Whether a console shows colours.

    """
    return partial(_finish, _renderer(settings, in_colour=in_colour))


def _renderer(settings: Settings, *, in_colour: bool) -> chain.Renderer | None:
    """Return what turns a line of JSON into another format, or None when JSON is what is wanted."""
    if settings.log_format == "json":
        return None
    return chain.renderer(settings.log_format, colours=in_colour)


def _finish(render: chain.Renderer | None, lines: list[bytes]) -> list[bytes]:
    """Return the lines as they may be shown: redacted where one may hold a secret, in the wanted format."""
    batch = b"".join(lines)
    if may_hold_secret(batch.decode()):
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
    if not may_hold_secret(line.decode()):
        return line
    return chain.to_json(chain.redact_event(None, "", orjson.loads(line))).encode() + b"\n"
