"""Tell cheaply that a text, or a batch of lines, holds no secret.

Lines of a log repeat, but for ids, times and counts. So a line is reduced to its shape: each hexadecimal digit becomes
`0`, which is one pass in C. A shape that can hold no secret is remembered; after that a line of the shape costs a look
into a set. Only long numbers cannot be told from ids by their shape: they are looked for in the line itself.
"""

import re
from collections.abc import Iterable

from .redaction_checks import hexadecimal_as_zero, tree
from .redaction_names import LONG_WORDS, SHORT_WORDS
from .redaction_rules import LONG_NUMBER, NUMBER_SHAPE, RULES, TOKEN_SHAPE, WORD_SHAPE

_SHAPE = bytes.maketrans(b"123456789abcdef", b"0" * 15)
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_RUN = b"0" * 14
_LONG_NUMBER = re.compile(LONG_NUMBER.encode())
# A longer line, of another kind than those that repeat, is given to the rules at once.
_LONGEST = 8192
_REMEMBERED = 4096


def _shaped(words: Iterable[str]) -> str:
    return tree(hexadecimal_as_zero(word) for word in words)


def _hints(rules: Iterable[tuple[str, ...]]) -> set[str]:
    return {hint for hints in rules for hint in hints}


class Screen:
    """Remembers the shapes of harmless lines.

    Args:
        hints: Lower-case literals that make a text suspicious, besides the names and shapes of this package.
        always: Whether every text is suspicious.

    """

    def __init__(self, hints: Iterable[str] = (), *, always: bool = False) -> None:
        self._always = always
        words = [*LONG_WORDS, *(_hints(rule.hints for rule in RULES if not rule.gate) - set(SHORT_WORDS)), *hints]
        titles = _shaped(word.title() for word in SHORT_WORDS)
        capitals = "(?<![A-Z])" + tree(word.upper() for word in SHORT_WORDS)
        self._lower = _compiled(f"{_shaped(words)}|(?<![a-z0-9]){_shaped(SHORT_WORDS)}(?![a-z0-9])|{WORD_SHAPE}")
        self._cased = _compiled(f"(?:{titles}|{capitals})(?![A-Za-z0-9])|{TOKEN_SHAPE}|{NUMBER_SHAPE}")
        self._lines: set[bytes] = set()
        self._pieces: set[bytes] = set()

    def admits(self, text: str) -> bool:
        """Return whether a text can hold a secret.

        Args:
            text: Plain text or rendered lines.

        """
        data = text.encode("utf-8", "surrogatepass")
        if self._always or _has_long_number(data):
            return True
        lines = data.translate(_SHAPE).split(b"\n")
        return not self._lines.issuperset(lines) and any(self._suspects(line) for line in lines)

    def _suspects(self, line: bytes) -> bool:
        if line in self._lines:
            return False
        if len(line) > _LONGEST or any(self._suspects_piece(piece) for piece in line.split(b'"')):
            return True
        _remember(self._lines, line)
        return False

    def _suspects_piece(self, piece: bytes) -> bool:
        if piece in self._pieces:
            return False
        if self._cased.search(piece) or self._lower.search(piece.lower().translate(_SHAPE)):
            return True
        if len(piece) < 64:
            _remember(self._pieces, piece)
        return False


def _has_long_number(data: bytes) -> bool:
    """Return whether there is a number of a card's length that stands alone, not within an id."""
    zeros = data.translate(_DIGITS)
    place = zeros.find(_LONG_RUN)
    while place >= 0:
        if _LONG_NUMBER.match(data, place):
            return True
        place = zeros.find(_LONG_RUN, place + len(_LONG_RUN))
    return False


def _compiled(regex: str) -> re.Pattern[bytes]:
    return re.compile(regex.encode())


def _remember(known: set[bytes], one: bytes) -> None:
    """Add to a set that is emptied when it is full; what is forgotten is only looked at again."""
    if len(known) >= _REMEMBERED:
        known.clear()
    known.add(one)
