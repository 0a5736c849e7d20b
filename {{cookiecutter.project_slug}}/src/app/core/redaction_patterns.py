"""Parts of regexes, put together so that a scan of a long text stays linear and fast.

The engine skips to a place where a literal, or one of a set of characters, stands first; a pattern that begins with a
look behind is tried at every character instead, which takes thirty times as long. So the condition that a word begins
here follows its first character.
"""

import re
from collections.abc import Iterable

EDGE = r"(?<![A-Za-z0-9])"
END = r"(?![A-Za-z0-9])"
# The same as EDGE, behind the first character of what it is the edge of.
_EDGE_BEFORE = r"(?<![A-Za-z0-9](?s:.))"
_FIRST = re.compile(r"(?P<one>\[[^\]]+\]|\\?[^\\(\[.])(?:\{(?P<least>\d+)(?:,(?P<most>\d+))?\}(?![?+]))?(?![{?*+])")
_ZEROS = str.maketrans("123456789abcdef", "0" * 15)


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a table that is written as one text."""
    return tuple(text.split())


def tree(words: Iterable[str]) -> str:
    """Return a regex of words that share their starts, so that few of them are compared at one place."""
    words = list(words)
    heads = sorted({word[:1] for word in words if word})
    branches = [re.escape(head) + tree([word[1:] for word in words if word[:1] == head]) for head in heads]
    if not branches:
        return ""
    return "(?:" + "|".join(branches) + ")" + ("?" if "" in words else "")


def beginning(words: Iterable[str], *regexes: str) -> str:
    """Return a regex of words, and of regexes, that matches only where a word begins.

    Args:
        words: Literals.
        regexes: Each begins with a letter or a digit.

    """
    words = list(words)
    branches = []
    for head in sorted({one[0] for one in (*words, *regexes)}):
        tails = [tree([word[1:] for word in words if word[0] == head])]
        tails += [regex[1:] for regex in regexes if regex[0] == head]
        branches.append(head + _EDGE_BEFORE + "(?:" + "|".join(tail for tail in tails if tail) + ")")
    return "(?:" + "|".join(branches) + ")"


def edged(regex: str) -> str:
    """Return a regex that matches only where a word begins.

    Args:
        regex: Begins with one character or one set of them; others work too, but slower.

    """
    first = _FIRST.match(regex)
    if first is None:
        return EDGE + regex
    return first["one"] + _EDGE_BEFORE + _repeated(first) + regex[first.end() :]


def _repeated(first: re.Match[str]) -> str:
    """Return what is left of a repetition when its first character stands alone."""
    bounds = [str(int(bound) - 1) for bound in (first["least"], first["most"]) if bound]
    return first["one"] + "{" + ",".join(bounds) + "}" if bounds else ""


def hexadecimal_as_zero(text: str) -> str:
    """Return a text in which each lower-case hexadecimal digit is `0`."""
    return text.translate(_ZEROS)
