"""A message: something that happened, as JSON that any sender can write.

    {"id": "6c0a…", "type": "order.placed", "data": {"order_id": "o-1"}, "traceparent": "00-…"}

`id` says which one it is, for one that comes twice is handled once; `type` says who handles it, `data` is theirs.
Optional: `key`, within which order is kept, and `deadline`, in seconds since 1970, after which nobody needs it.
Whatever else stands there is a header, such as `traceparent`, `tracestate`, `x-request-id`, `x-correlation-id`,
`x-user-id` and `x-sent-at` (`core/task_headers.py`); those that a broker carries beside the message count as well.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any
from uuid import uuid4

ID_LENGTH = 128
TYPE_LENGTH = 100
KEY_LENGTH = 128
# Of a message as it is sent. What is larger belongs into a store, and its address into the message.
MAX_BYTES = 1024 * 1024
# Objects and arrays within each other: deeper ones exhaust the stack of whoever walks through them, such as a log.
MAX_DEPTH = 64
# Of a whole number: far more than any database keeps.
DIGITS = 100
# The end of the year 9999: what is later no calendar knows.
LATEST = 253_402_300_799
_OWN = ("id", "type", "data", "key", "deadline")
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHOWN = 50
# Half of a character: no text that can be stored or sent on.
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class MessageUnreadableError(ValueError):
    """What was sent is no message; the text says what was received, and what is allowed."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message.

    Attributes:
        id: Which one it is.
        type: What happened.
        data: What is to be known of it.
        key: Messages of one key keep their order where that is asked for; None: any order will do.
        deadline: When nobody needs it any more, in seconds since 1970; None: never.
        headers: What its sender says of itself.

    """

    id: str
    type: str
    data: Mapping[str, Any]
    key: str | None = None
    deadline: float | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)


def new_message(
    kind: str,
    data: Mapping[str, Any],
    *,
    id: str | None = None,  # noqa: A002 -- as the message calls it
    key: str | None = None,
    deadline: float | None = None,
    headers: Mapping[str, Any] | None = None,
) -> Message:
    """Return a message, checked as one that is read.

    Args:
        kind: Its type.
        data: What is to be known of it: what JSON has a form for.
        id: Which one it is, if it is sent again; by default a new one.
        key: Within which order is kept.
        deadline: When nobody needs it any more, in seconds since 1970.
        headers: What its sender says of itself.

    Raises:
        MessageUnreadableError: A value is not allowed.

    """
    fields = {"id": id or str(uuid4()), "type": kind, "data": data, "key": key, "deadline": deadline}
    return _message({name: value for name, value in fields.items() if value is not None}, headers or {})


def read_message(
    body: bytes | str, headers: Mapping[str, Any] | None = None, *, default_id: str | None = None
) -> Message:
    """Return the message that was sent.

    Args:
        body: What was sent: JSON in UTF-8.
        headers: What the broker carries beside it; what stands in the message itself wins.
        default_id: The id of a message that has none; by default it needs one.

    Raises:
        MessageUnreadableError: It is none.

    """
    text = _decoded(body)
    try:
        found = json.loads(
            text, parse_constant=_no_number, parse_float=_finite, parse_int=_integer, object_pairs_hook=_once
        )
    except MessageUnreadableError:
        raise
    except (ValueError, RecursionError) as error:
        raise MessageUnreadableError(_received("text that is no JSON", "a JSON object")) from error
    if not isinstance(found, dict):
        raise MessageUnreadableError(_received(f"a {type(found).__name__}", "a JSON object"))
    _refuse_unusable(found, text)
    if default_id is not None:
        found.setdefault("id", default_id)
    beside = {name: value for name, value in found.items() if name not in _OWN}
    return _message(found, {**(headers or {}), **beside})


def write_message(message: Message) -> bytes:
    """Return a message as it is sent.

    Args:
        message: The message.

    Raises:
        MessageUnreadableError: It would be refused by whoever reads it.
        TypeError: Its data is no JSON.
        ValueError: As above, for a number that is none.

    """
    own: dict[str, Any] = {"id": message.id, "type": message.type, "data": message.data}
    optional: dict[str, Any] = {"key": message.key, "deadline": message.deadline}
    own.update({name: value for name, value in optional.items() if value is not None})
    try:
        text = json.dumps({**message.headers, **own}, allow_nan=False, separators=(",", ":"))
    except RecursionError as error:
        raise MessageUnreadableError(_too_deep()) from error
    _refuse_size(len(text))
    _refuse_unusable(own, text)
    return text.encode()


def _decoded(body: bytes | str) -> str:
    _refuse_size(len(body))
    try:
        if isinstance(body, bytes):
            return body.decode()
        # From a command's argument, where half a character may stand for a byte.
        _refuse_size(len(body.encode()))
    except UnicodeError as error:
        raise MessageUnreadableError(_received("text that is no UTF-8", "a JSON object")) from error
    return body


def _refuse_size(size: int) -> None:
    if size > MAX_BYTES:
        raise MessageUnreadableError(_received(f"{size} bytes", f"at most {MAX_BYTES}"))


def _refuse_unusable(found: Mapping[str, Any], text: str) -> None:
    """Refuse what JSON allows, and nobody can work with; looked for only where it may be.

    Args:
        found: What was read, or is written.
        text: Its text.

    """
    if text.count("{") + text.count("[") > MAX_DEPTH and _depth(found) > MAX_DEPTH:
        raise MessageUnreadableError(_too_deep())
    if _ESCAPED_SURROGATE.search(text):
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeError as error:
            raise MessageUnreadableError(_received("half of a surrogate pair", "whole characters")) from error


def _depth(value: object) -> int:
    """Return how many objects and arrays are within each other, as far as that matters."""
    depth = 0
    level: list[Any] = [value]
    while level and depth <= MAX_DEPTH:
        level = [one for one in level if isinstance(one, Mapping | list | tuple)]
        depth += bool(level)
        level = [one for inner in level for one in (inner.values() if isinstance(inner, Mapping) else inner)]
    return depth


def _too_deep() -> str:
    return _received(f"more than {MAX_DEPTH} objects and arrays within each other", "fewer")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Which of them counts is another one's guess: two readers would see two messages.
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MessageUnreadableError(_received(f"the name {_shown(twice)} twice", "each name once"))
    return found


def _no_number(text: str) -> float:
    raise MessageUnreadableError(_received(text, "a finite number"))


def _finite(text: str) -> float:
    number = float(text)
    return number if isfinite(number) else _no_number(_shown(text))


def _integer(text: str) -> int:
    # What is longer is a number for nobody, and costs the more the longer it is.
    return int(text) if len(text) <= DIGITS else int(_no_number(_shown(text)))


def _message(found: Mapping[str, Any], headers: Mapping[str, Any]) -> Message:
    key, deadline = found.get("key"), found.get("deadline")
    data = found.get("data", {})
    if not isinstance(data, Mapping):
        raise MessageUnreadableError(_received(f"data: {_shown(data)}", "an object"))
    kind = found.get("type")
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        allowed = f"1 to {TYPE_LENGTH} letters, digits, dots, hyphens and underscores, such as order.placed"
        raise MessageUnreadableError(_received(f"type: {_shown(kind)}", allowed))
    if deadline is not None and (isinstance(deadline, bool) or not isinstance(deadline, int | float)):
        raise MessageUnreadableError(_received(f"deadline: {_shown(deadline)}", "seconds since 1970"))
    if deadline is not None and not 0 <= deadline <= LATEST:
        raise MessageUnreadableError(_received(f"deadline: {_shown(deadline)}", f"seconds since 1970, up to {LATEST}"))
    return Message(
        id=_text("id", found.get("id"), ID_LENGTH),
        type=kind,
        data=data,
        key=None if key is None else _text("key", key, KEY_LENGTH),
        deadline=deadline,
        headers=headers,
    )


def _text(name: str, value: object, length: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= length or not value.isprintable():
        raise MessageUnreadableError(_received(f"{name}: {_shown(value)}", f"1 to {length} printable characters"))
    return value


def _received(what: str, allowed: str) -> str:
    return f"received {what}; allowed: {allowed}"


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return ascii(value[:_SHOWN])
    if isinstance(value, int) and value.bit_length() > _SHOWN * 3:
        return "a number of very many digits"
    return str(value)[:_SHOWN] if isinstance(value, int | float) else f"a {type(value).__name__}"
