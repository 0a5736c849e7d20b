"""A finished event as one line: JSON, logfmt, or for a console."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from textwrap import indent
from typing import Any

import orjson
import structlog

Renderer = Callable[[Mapping[str, Any]], str]
_INT64 = 2**63
# The fields that every line begins with, in this order.
ORDER = ("timestamp", "level", "logger", "event", "service", "environment", "version")


def to_json(event: Mapping[str, Any]) -> str:
    """Render a line of JSON; what JSON has no form for becomes text.

    Args:
        event: A redacted event.

    """
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except (TypeError, ValueError):
        return json.dumps(_plain(event), default=str)


def _plain(value: Any) -> Any:
    """Return a value that every JSON encoder takes: lone surrogates and numbers beyond 64 bits become text."""
    if isinstance(value, Mapping):
        return {_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < _INT64):
        return value
    return _text(value)


def _text(value: Any) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()


def renderer(log_format: str, *, colours: bool = False) -> Renderer:
    """Return what turns a finished event into one line; on a console an exception follows on lines of its own.

    Args:
        log_format: `json`, `logfmt` or `console`.
        colours: Whether the console shows them.

    """
    if log_format == "json":
        return to_json
    if log_format == "logfmt":
        logfmt = structlog.processors.LogfmtRenderer(key_order=list(ORDER), drop_missing=True, bool_as_flag=False)
        return lambda event: str(logfmt(None, "", _flat(event)))
    return partial(_to_console, structlog.dev.ConsoleRenderer(colors=colours, sort_keys=False))


_CONSOLE_HIDDEN = frozenset({"service", "environment", "version"})


def _to_console(console: structlog.dev.ConsoleRenderer, event: Mapping[str, Any]) -> str:
    shown = {name: value for name, value in event.items() if name not in _CONSOLE_HIDDEN}
    causes = shown.pop("exception", None)
    if causes is not None and not _is_described(causes):
        shown["exception"], causes = str(_printable(causes)), None
    stack = [_printable(line) for line in str(shown.pop("stack", "")).splitlines()]
    line = str(console(None, "", _flat(shown)))
    return "\n".join([line, *stack, *(_console_cause(cause) for cause in reversed(causes or []))])


def _is_described(value: Any) -> bool:
    """Return whether a field holds what `describe_exception` returns, and not something of the caller's."""
    return isinstance(value, list) and all(isinstance(cause, Mapping) and "frames" in cause for cause in value)


def _console_cause(cause: Mapping[str, Any]) -> str:
    frames = [f'  File "{f["file"]}", line {f["line"]}, in {f["function"]}' for f in cause["frames"]]
    members = ["\n".join(map(_console_cause, reversed(child))) for child in cause.get("exceptions", ())]
    lines = [*frames, f"{cause['type']}: {_printable(cause['message'])}"]
    return "\n".join([*lines, *(indent(member, "  | ") for member in members)])


def _flat(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event whose names hold no space and whose values hold no line break or control character."""
    return {_printable(name).replace(" ", "_"): _printable(value) for name, value in event.items()}


def _printable(value: Any) -> Any:
    if isinstance(value, Mapping | list):
        value = to_json({"": value})[4:-1]
    if not isinstance(value, str):
        return value
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in value)
