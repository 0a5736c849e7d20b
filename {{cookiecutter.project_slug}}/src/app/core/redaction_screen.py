"""Tell cheaply that a text, or a batch of lines, holds no secret.

Lines of a log repeat, but for ids, times and counts. So a line is reduced to its shape: each hexadecimal digit becomes
`0`, which is one pass in C. A shape that can hold no secret is remembered; after that a line of the shape costs a look
into a set. Only long numbers cannot be told from ids by their shape: they are looked for in the line itself.

A shape may look like a secret's word and be none, as `benchmark` has the shape of `can`. Of such a shape the pieces in
doubt are remembered, and only they are looked at as they are written.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from .redaction_names import LONG_WORDS, SHORT_WORDS
from .redaction_patterns import hexadecimal_as_zero, tree
from .redaction_rules import LONG_NUMBER, NUMBER_SHAPE, RULES, TOKEN, TOKEN_SHAPE, WORD, WORD_SHAPE

_SHAPE = bytes.maketrans(b"123456789abcdef", b"0" * 15)
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_RUN = b"0" * 14
_LONG_NUMBER = re.compile(LONG_NUMBER.encode())
# A longer line, of another kind than those that repeat, is given to the rules at once.
_LONGEST = 8192
_REMEMBERED = 4096
_SHORT = 64
# From where to where in a line.
Place = tuple[int, int]
_Known = TypeVar("_Known", set[bytes], dict[bytes, tuple[Place, ...]])
_NUMBER = re.compile(NUMBER_SHAPE.encode())


def _hints(rules: Iterable[tuple[str, ...]]) -> set[str]:
    return {hint for hints in rules for hint in hints}


def _as_it_is(word: str) -> str:
    return word


class _Look:
    """Finds a secret's words and starts in a piece of text.

    Args:
        words: Lower-case literals that make a text suspicious.
        spelled: Turns a word into what it is in such a piece.
        token: Matches what starts a token there.
        word: Matches the words that make a number suspicious there.

    """

    def __init__(self, words: Iterable[str], spelled: Callable[[str], str], token: str, word: str) -> None:
        def any_of(options: Iterable[str]) -> str:
            return tree(spelled(option) for option in options)

        short = any_of(SHORT_WORDS)
        titles = any_of(option.title() for option in SHORT_WORDS)
        capitals = "(?<![A-Z])" + tree(option.upper() for option in SHORT_WORDS)
        # A word begins after an encoded character too, as in `%22pin%22`.
        edge = "(?:(?<![a-z0-9])|(?<=%[0-9a-f][0-9a-f]))"
        self._lower = _compiled(f"{any_of(words)}|{edge}{short}(?![a-z0-9])|{word}")
        self._cased = _compiled(f"(?:{titles}|{capitals})(?![A-Za-z0-9])|{token}")

    def suspects(self, piece: bytes, lower: bytes) -> bool:
        """Return whether a piece, given in its own and in lower case, can be a part of a secret."""
        return bool(self._cased.search(piece) or self._lower.search(lower))


class Screen:
    """Remembers the shapes of harmless lines.

    Args:
        hints: Lower-case literals that make a text suspicious, besides the names and shapes of this package.
        always: Whether every text is suspicious.

    """

    def __init__(self, hints: Iterable[str] = (), *, always: bool = False) -> None:
        self._always = always
        words = [*LONG_WORDS, *(_hints(rule.hints for rule in RULES if not rule.gate) - set(SHORT_WORDS)), *hints]
        self._shape = _Look(words, hexadecimal_as_zero, TOKEN_SHAPE, WORD_SHAPE)
        self._text = _Look(words, _as_it_is, TOKEN, WORD)
        self._lines: set[bytes] = set()
        self._doubts: dict[bytes, tuple[Place, ...]] = {}
        self._pieces: set[bytes] = set()
        self._texts: set[bytes] = set()

    def admits(self, text: str | bytes) -> bool:
        """Return whether a text can hold a secret.

        Args:
            text: Plain text or rendered lines; as UTF-8, or as it is.

        """
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        if self._always or _has_long_number(data):
            return True
        shapes = (data if data.endswith(b"\n") else data + b"\n").translate(_SHAPE)
        start = 0
        shape: bytes | None = None
        while start < len(shapes):
            # Most lines have the shape of the one before them.
            if shape is None or not shapes.startswith(shape, start):
                shape = shapes[start : shapes.index(b"\n", start) + 1]
                places = self._places(shape)
            if places is None:
                return True
            for begin, end in places:
                piece = data[start + begin : start + end]
                if piece not in self._texts and self._suspects_text(piece):
                    return True
            start += len(shape)
        return False

    def _places(self, shape: bytes) -> tuple[Place, ...] | None:
        """Return where lines of a shape are to be looked at as they are written; None where that is everywhere."""
        if shape in self._lines:
            return ()
        if len(shape) > _LONGEST:
            return None
        places = self._doubts.get(shape)
        if places is None:
            places = tuple(self._suspicious_places(shape))
            if not places:
                _bounded(self._lines).add(shape)
            else:
                _bounded(self._doubts)[shape] = places
        return places

    def _suspicious_places(self, shape: bytes) -> Iterator[Place]:
        """Yield where a line of this shape has to be looked at as it is written: both have the same length."""
        start = 0
        for piece in shape.split(b'"'):
            end = start + len(piece)
            if self._suspects_shape(piece):
                yield start, end
            start = end + 1

    def _suspects_shape(self, piece: bytes) -> bool:
        if piece in self._pieces:
            return False
        if self._shape.suspects(piece, piece.lower().translate(_SHAPE)) or _NUMBER.search(piece):
            return True
        if len(piece) < _SHORT:
            _bounded(self._pieces).add(piece)
        return False

    def _suspects_text(self, piece: bytes) -> bool:
        if self._text.suspects(piece, piece.lower()) or _NUMBER.search(piece.translate(_DIGITS)):
            return True
        if len(piece) < _SHORT:
            _bounded(self._texts).add(piece)
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


def _bounded(known: _Known) -> _Known:
    """Return what is remembered, emptied when it is full; what is forgotten is only looked at again."""
    if len(known) >= _REMEMBERED:
        known.clear()
    return known
