"""Find the values that stand beside a secret's name in a text: `name=value`, `"name": "value"`, headers, options."""

import re
from collections.abc import Iterator

from .redaction_checks import looks_random
from .redaction_names import NUMERIC, Names, plain_name

# The name goes on in both directions from one of its words: the words are searched for, the rest is read around them.
_SEPARATOR = (
    r"(?P<close>\\{0,8}[\"'`]?\]?)(?:\s{0,3}(?:[!=]?={1,3}>?|:=|:|->|=>)[ \t]{0,8}"
    r"|\s?,\s?(?=[bru]?\\{0,8}[\"'])|\(\s?(?=[bru]?[\"'])"
    r"|\s{1,3}(?=\\{0,8}[\"'])|\s{1,3}value\s?=\s?|(?<!->)>(?=[^<>\s]))"
)
_VALUE = (
    r"@?(?:[bru]{1,2}(?=[\"']))?(?:(?P<open>\\{1,8}[\"'])(?P<v1>(?s:.){1,4096}?)(?:(?P=open)|\Z)"
    r"|\"(?P<v2>(?:[^\"\\]|\\.){1,16384}+)|'(?P<v3>(?:[^'\\]|\\.){1,16384}+)|`(?P<v4>[^`]{1,4096}+)"
    r"|(?P<v5>[^\s\"'`,;&<\\]{1,8192}+))"
)
_AFTER = re.compile(r"(?P<rest>[\w.\-]{0,64}+)(?:\[\d{0,4}\])?" + _SEPARATOR, re.ASCII)
_ANY_VALUE = re.compile(_VALUE, re.ASCII)
# A value that must look random is no longer than this, and a text with more names than this is no message.
_LONGEST_WEAK = 512
_MOST_NAMES = 1000
_BEFORE = re.compile(r"[\w.\-]{0,64}\Z", re.ASCII)
_PHRASE = re.compile(
    r"(?:api|access|secret|private|signing|encryption|auth|account|client|service|session|csrf|bearer|refresh) \Z"
)
_LINE = re.compile(r"[^\n\r\"'\\]{1,8192}")
_WHOLE_LINE = re.compile(r"[^\n\r]{1,8192}")
_SCHEME = re.compile(
    r"(?:bearer|basic|token|apikey|api-key|negotiate|ntlm|bot|key|oauth|jwt|dpop|sso-key|ghost)\s{1,4}(?=\S)"
)
_LISTED = re.compile(r"(?:digest|aws4-\S{1,20}|hawk|signature|oauth|mac|scram-\S{1,16})\s")
_HARMLESS = re.compile(
    r"(?:must|not|is|was|should|cannot|invalid|incorrect|wrong|expired|too"
    r"|none|null|nil|true|false|undefined|empty|unset|missing|required|optional|yes|no|on|off"
    r"|str|string|int|bytes|\d|\*+|x{3,}"
    r"|\[redacted\].*|<redacted>|\[filtered\]|\$\{\w{1,64}\}|\$\w{1,64}|%\w{1,64}%|<[a-z_ \-]{1,64}>|\W+)"
)

Place = tuple[int, int]


def named_values(text: str, lower: str, names: Names) -> Iterator[Place]:
    """Yield where the values of secret names are.

    Args:
        text: The text.
        lower: The same text in lower case.
        names: Which names are secret.

    """
    position = 0
    for _ in range(_MOST_NAMES):
        found = names.words.search(lower, position)
        if found is None:
            return
        place = _place_after(found, text, lower, names)
        if place is not None:
            yield place
        position = max(found.end(), place[1] if place else 0)
    yield position, len(text)


def _place_after(found: re.Match[str], text: str, lower: str, names: Names) -> Place | None:
    """Return where the value of a name is, if the word that was found is in a secret one."""
    pair = _AFTER.match(lower, found.end())
    if pair is None:
        return None
    before = _BEFORE.search(text, max(0, found.start() - 64), found.start())
    start = before.start() if before else found.start()
    name = text[start : pair.end("rest")]
    kind = names.kind(_with_phrase(lower, start, name))
    if not kind:
        return None
    longest = pair.end() + _LONGEST_WEAK if kind == "weak" else len(lower)
    value = _ANY_VALUE.match(lower, pair.end(), longest)
    return _place(text, lower, value, kind, name.lower()) if value else None


def _with_phrase(lower: str, start: int, name: str) -> str:
    """Return a name with the word before it, if they belong together as in `api key`."""
    phrase = _PHRASE.search(lower, max(0, start - 12), start)
    return phrase.group() + name if phrase else name


def _place(text: str, lower: str, value: re.Match[str], kind: str, name: str) -> Place | None:
    group = next(one for one in ("v1", "v2", "v3", "v4", "v5") if value[one] is not None)
    start, end = value.span(group)
    if _HARMLESS.fullmatch(lower, start, end):
        return None
    if name.endswith(("mail", "mails")) and "@" not in text[start:end] and "%40" not in text[start:end]:
        return None
    if plain_name(name).endswith(NUMERIC) and not any(char.isdigit() for char in text[start:end]):
        return None
    if kind == "weak":
        return (start, end) if looks_random(text[start:end]) else None
    if group == "v5" and name.endswith(("authorization", "cookie", "auth", "x-amz-security-token")):
        end = _end_of_header(lower, start, end, name)
    scheme = _SCHEME.match(lower, start, end)
    return (scheme.end() if scheme else start), end


def _end_of_header(lower: str, start: int, end: int, name: str) -> int:
    """Return where a header's value ends: at the end of the line or of what is quoted."""
    if _LISTED.match(lower, start) and name.endswith("authorization"):
        line = _WHOLE_LINE.match(lower, start)
    elif name.endswith("cookie") or _SCHEME.match(lower, start):
        line = _LINE.match(lower, start)
    else:
        line = None
    return max(end, line.end()) if line else end
