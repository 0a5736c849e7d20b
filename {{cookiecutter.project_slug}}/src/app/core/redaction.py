"""Keep secrets and personal data out of every sink: by the name of a field, and by the shape of a value.

What is replaced is replaced by `[redacted]`; a rule that fails drops the value, never the log line. A cheap look tells
whether a text can hold a secret at all; only then are the patterns tried. They are linear, so a hostile value cannot
make logging slow.
"""

import re
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from math import isfinite
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr

from .redaction_names import Names
from .redaction_patterns import hexadecimal_as_zero
from .redaction_rule import REDACTED as REDACTED
from .redaction_rule import Rule, Span, spans_of
from .redaction_rules import GATES, RULES
from .redaction_screen import Screen
from .redaction_values import named_values

_MAX_DEPTH = 16
_MAX_ITEMS = 1000
_MAX_TOTAL = 10_000
_PAIR = 2
_SHORTEST_CARD = 10**13

# In a longer text each rule for tokens finds its start faster by itself than all of them together.
_LONG = 4096
_DIGITS_AS_ZERO = bytes.maketrans(b"123456789", b"0" * 9)


def _by_gate(rules: tuple[Rule, ...]) -> dict[str, list[Rule]]:
    gated: dict[str, list[Rule]] = {}
    for rule in rules:
        gated.setdefault("number" if rule.shapes else rule.gate, []).append(rule)
    return gated


class Redactor:
    """What counts as a secret: the rules and names that come with this module, and what the owner added or took out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.names = Names()
        self.rules: tuple[Rule, ...] = RULES
        self.screen = Screen()
        self._gated = _by_gate(RULES)

    def add(self, rule: Rule) -> None:
        """Add a rule; one of the same name is replaced."""
        with self._lock:
            self._use((*(known for known in self.rules if known.name != rule.name), rule), self.names)

    def remove(self, name: str) -> None:
        """Take a rule out."""
        with self._lock:
            kept = tuple(rule for rule in self.rules if rule.name != name)
            if len(kept) == len(self.rules):
                msg = f"no redaction rule {name!r}; there are: {', '.join(rule.name for rule in self.rules)}"
                raise ValueError(msg)
            self._use(kept, self.names)

    def add_name(self, name: str) -> None:
        """Make a field's name secret."""
        with self._lock:
            self._use(self.rules, self.names.with_secret(name))

    def allow_name(self, name: str) -> None:
        """Make a field's name harmless."""
        with self._lock:
            self._use(self.rules, self.names.with_allowed(name))

    def _use(self, rules: tuple[Rule, ...], names: Names) -> None:
        own = [rule for rule in rules if rule not in RULES]
        hints = [*names.hints, *(hint for rule in own for hint in rule.hints)]
        # The screen first: until the rules follow, it only lets more texts through to them.
        self.screen = Screen(hints, always=any(not rule.hints for rule in own))
        self.names, self.rules, self._gated = names, rules, _by_gate(rules)

    def spans(self, text: str) -> Iterator[Span]:
        """Yield where in a text there are secrets, and what stands there instead."""
        lower = _lowered(text)
        zeros = _as_bytes(text).translate(_DIGITS_AS_ZERO).decode("utf-8", "surrogatepass")
        yield from ((start, end, REDACTED) for start, end in named_values(text, lower, self.names))
        for gate in _open_gates(text, lower, zeros):
            for rule in self._gated.get(gate, ()):
                if _may_match(rule, lower, zeros):
                    yield from spans_of(rule, lower if rule.lower else text, text)


def _may_match(rule: Rule, lower: str, zeros: str) -> bool:
    """Return whether a rule is worth trying: whether a literal that it needs is in the text."""
    for hint in rule.hints:
        if hint in lower:
            return True
    for shape in rule.shapes:
        if shape in zeros:
            return True
    return not rule.hints and not rule.shapes


def _open_gates(text: str, lower: str, zeros: str) -> Iterator[str]:
    """Yield the gates behind which rules are worth looking at."""
    yield ""
    if "0" in zeros and GATES["word"].search(lower):
        yield "word"
    if "00" in zeros or "+0" in zeros:
        yield "number"
    if len(text) > _LONG or GATES["token"].search(hexadecimal_as_zero(text)):
        yield "token"


def _lowered(text: str) -> str:
    """Return a text in lower case and of the same length, so that a place in one is the place in the other."""
    return text.lower() if text.isascii() else _as_bytes(text).lower().decode("utf-8", "surrogatepass")


def _as_bytes(text: str) -> bytes:
    """Return a text as bytes, for what is done to its ASCII characters alone is done to bytes much faster."""
    return text.encode("utf-8", "surrogatepass")


_redactor = Redactor()


def register_pattern(name: str, regex: str, *, replacement: str = REDACTED, hint: str | None = None) -> None:
    """Redact what a regex matches, in every text that is logged from now on.

    Args:
        name: What the rule is called; a rule of that name is replaced.
        regex: Matches the secret; a group named `s` makes only that part the secret.
        replacement: What stands there instead; may name the regex's groups.
        hint: A literal that every match holds, in any case; without it every text pays for the regex.

    Raises:
        ValueError: The regex or the replacement does not compile.

    """
    try:
        re.compile(regex, re.ASCII).sub(replacement, "")
    except (re.error, IndexError) as error:
        msg = f"redaction pattern {name!r} does not compile: {error}: {regex!r} -> {replacement!r}"
        raise ValueError(msg) from error
    _redactor.add(Rule(name, regex, _usable(hint), replacement=replacement))


def _usable(hint: str | None) -> tuple[str, ...]:
    """Return the longest part of a hint that is the same in plain text and in JSON."""
    parts = re.findall(r"[ !#-\[\]-~]+", (hint or "").lower())
    return (max(parts, key=len),) if parts else ()


def remove_pattern(name: str) -> None:
    """Switch a rule off.

    Args:
        name: The rule's name, as in `pattern_names()`.

    Raises:
        ValueError: There is no rule of this name.

    """
    _redactor.remove(name)


def pattern_names() -> list[str]:
    """Return the names of the rules that are on, in the order in which they are tried."""
    return [rule.name for rule in _redactor.rules]


def register_secret_name(name: str) -> None:
    """Redact every value of a field with this name, whatever its case and separators.

    Args:
        name: The name, or the end of it: `badge` covers `staff_badge` too.

    """
    _redactor.add_name(name)


def allow_name(name: str) -> None:
    """Show values of a field with this name; the shapes of secrets are still looked for in them.

    Args:
        name: The whole name, in any case and with any separators.

    """
    _redactor.allow_name(name)


def is_secret_name(name: str) -> bool:
    """Return whether a field of this name holds a secret or personal value.

    Args:
        name: The name, in any case and with any separators.

    """
    return _redactor.names.kind(name) == "secret"


def may_hold_secret(text: str | bytes) -> bool:
    """Return whether a text, or any of several joined lines, can hold a secret; cheap, and never wrong when it says no.

    Args:
        text: Plain text or rendered JSON; as UTF-8, or as it is.

    """
    return _redactor.screen.admits(text)


def redact_text(text: str) -> str:
    """Return a text with every secret that has a known shape replaced.

    Args:
        text: Anything, of any length.

    """
    if not _redactor.screen.admits(text):
        return text
    try:
        return _replaced(text, sorted(_redactor.spans(text)))
    except Exception:  # noqa: BLE001 -- what a broken rule could not look at must not be shown
        return REDACTED


def _replaced(text: str, spans: list[Span]) -> str:
    """Return a text with the spans replaced; those that overlap count as one."""
    parts: list[str] = []
    done = 0
    for start, end, replacement in spans:
        if start >= done:
            parts += text[done:start], replacement
        done = max(done, end)
    return "".join([*parts, text[done:]])


# A span's id may have only digits, and then look like a card number.
_IDS = frozenset({"trace_id", "span_id"})
_ID = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")


@dataclass(slots=True)
class Walk:
    """Where in a value the redaction stands: the containers that are open, and how many items it may still show."""

    path: set[int] = field(default_factory=set)
    left: int = _MAX_TOTAL

    def admits(self, value: object) -> bool:
        """Return whether a container may be walked; a cycle, great depth and great size end here."""
        return id(value) not in self.path and len(self.path) < _MAX_DEPTH and self.left > 0


def redact(value: Any, *, walk: Walk | None = None) -> Any:
    """Return a value as plain, redacted JSON-like data; what cannot be read becomes `[redacted]`.

    Args:
        value: Anything; mappings, sequences, dataclasses and pydantic models are walked, a cycle is cut.
        walk: Where the value lies in the one that is logged.

    """
    try:
        return _redact(value, walk)
    except Exception:  # noqa: BLE001 -- a value that cannot be redacted must not be shown, and must not break the line
        return REDACTED


def _redact(value: Any, walk: Walk | None) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return redact(value.value, walk=walk)
    if isinstance(value, int | float):
        return _redact_number(value)
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, SecretStr | SecretBytes):
        return REDACTED
    if isinstance(value, bytes | bytearray | memoryview):
        return redact_text(bytes(value).decode("utf-8", "backslashreplace"))
    return _redact_container(value, walk or Walk())


def _redact_number(value: Any) -> Any:
    """Return a number, a card number hidden; JSON has no form for infinity and NaN, so they become text."""
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    return REDACTED if abs(value) >= _SHORTEST_CARD and redact_text(str(abs(value))) == REDACTED else value


def _redact_container(value: Any, walk: Walk) -> Any:
    if not walk.admits(value):
        return REDACTED
    walk.path.add(id(value))
    try:
        return _redact_items(value, walk)
    finally:
        walk.path.remove(id(value))


def _redact_items(value: Any, walk: Walk) -> Any:
    if isinstance(value, BaseModel):
        value = value.model_dump()
    elif is_dataclass(value) and not isinstance(value, type):
        value = {one.name: getattr(value, one.name) for one in fields(value)}
    elif isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return _redact_mapping(value, walk)
    if isinstance(value, list | tuple | set | frozenset):
        return _redact_sequence(value, walk)
    return redact_text(str(value))


def _redact_mapping(value: Mapping[Any, Any], walk: Walk) -> dict[str, Any]:
    items = list(value.items())[:_MAX_ITEMS]
    walk.left -= len(items)
    shown = {redact_text(_text(key)): redact_field(_text(key), item, walk=walk) for key, item in items}
    # As Kubernetes writes an environment, and HAR headers: the name is a value itself.
    name = next((value[key] for key in ("name", "key", "header") if key in value), None)
    if "value" in shown and isinstance(name, str | bytes) and _redactor.names.hides(_text(name), value["value"]):
        shown["value"] = REDACTED
    return shown


def _redact_sequence(value: Collection[Any], walk: Walk) -> list[Any]:
    members = list(value)[:_MAX_ITEMS]
    walk.left -= len(members)
    # The headers of a request, the fields of a form.
    if members and all(map(_is_pair, members)):
        return [[redact(name, walk=walk), redact_field(_text(name), item, walk=walk)] for name, item in members]
    shown = [redact(member, walk=walk) for member in members]
    # The arguments of a command: `["mysql", "--password", "…"]`.
    for place, member in enumerate(members[:-1]):
        if isinstance(member, str) and member.startswith("-") and _redactor.names.hides(member, members[place + 1]):
            shown[place + 1] = REDACTED
    return shown


def _is_pair(member: Any) -> bool:
    return isinstance(member, list | tuple) and len(member) == _PAIR and isinstance(member[0], str | bytes)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def redact_field(name: str, value: Any, *, walk: Walk | None = None) -> Any:
    """Return what may be shown of a named value.

    Args:
        name: The field's name; a secret one hides the value whatever it is.
        value: The field's value.
        walk: Where the field lies in the value that is logged.

    """
    if value is None or isinstance(value, bool):
        return value
    if _redactor.names.hides(name, value):
        return REDACTED
    if name in _IDS and isinstance(value, str) and _ID.fullmatch(value):
        return value
    return redact(value, walk=walk)
