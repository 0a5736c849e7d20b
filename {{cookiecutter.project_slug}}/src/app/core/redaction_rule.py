"""A rule: one shape of a secret, as data, and where it matches in a text."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from .redaction_checks import Check

REDACTED = "[redacted]"
# A text in which one rule finds more than this is no message: what is left of it is not shown.
MOST_MATCHES = 1000
_MASKED = re.compile(r"\[redacted\]|\*+|<redacted>|\[filtered\]", re.IGNORECASE)

# Where a secret begins and ends, and what stands there instead.
Span = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Rule:
    """One shape of a secret.

    Args:
        name: What it is called; a rule is switched off by it.
        regex: Matches the secret, or more than it with the secret as the group `s`.
        hints: Lower-case literals, one of which is in every text that matches; none of these three: always tried.
        shapes: Literals, one of which is in every text that matches, once each of its digits is `0`.
        gate: The shape, by its name in `GATES`, that is in every text that matches.
        check: Whether what was matched is a secret; all of them when left out.
        lower: Whether it is matched against the text in lower case.
        within: Matches the part of a text, such as a command, in which the regex is tried; all of it when left out.
        replacement: What stands there instead; may name groups.
        find: Yields where the secrets are, instead of a regex that would not be linear.

    """

    name: str
    regex: str = ""
    hints: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    gate: str = ""
    check: Check | None = None
    lower: bool = False
    within: str = ""
    replacement: str | None = None
    find: Callable[[str], Iterator[tuple[int, int]]] | None = None

    @property
    def pattern(self) -> re.Pattern[str]:
        """The compiled regex; compiled when first needed, so that importing costs nothing."""
        return compiled(self.regex)

    def matches(self, searched: str) -> Iterator[re.Match[str]]:
        """Yield where the regex matches.

        Args:
            searched: The text, in lower case if the rule wants that.

        """
        if not self.within:
            yield from self.pattern.finditer(searched)
            return
        for part in compiled(self.within).finditer(searched):
            yield from self.pattern.finditer(searched, part.start(), part.end())


@cache
def compiled(regex: str) -> re.Pattern[str]:
    """Return a regex, compiled once; its classes of characters are ASCII's."""
    return re.compile(regex, re.ASCII)


def spans_of(rule: Rule, searched: str, text: str) -> Iterator[Span]:
    """Yield where a rule finds secrets.

    Args:
        rule: The rule.
        searched: The text, in lower case if the rule wants that.
        text: The text as it is, of the same length.

    """
    if rule.find is not None:
        yield from ((start, end, REDACTED) for start, end in rule.find(text))
        return
    group = "s" if "s" in rule.pattern.groupindex else 0
    left = MOST_MATCHES
    for match in rule.matches(searched):
        start, end = match.span(group)
        if start == end or (text[start] in "[*<" and _MASKED.match(text, start, end)):
            continue
        if rule.check is not None and not rule.check(text[start:end]):
            continue
        yield start, end, REDACTED if rule.replacement is None else match.expand(rule.replacement)
        left -= 1
        if not left:
            yield end, len(text), REDACTED
            return
