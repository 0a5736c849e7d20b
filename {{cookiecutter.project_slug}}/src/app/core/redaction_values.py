"""Find the values that stand beside a secret's name in a text: `name=value`, `"name": "value"`, headers, options."""

import re
from collections.abc import Iterator
from functools import lru_cache

from .redaction_checks import Check, looks_random
from .redaction_names import NUMERIC, Kind, Names, plain_name
from .redaction_rule import MOST_MATCHES, compiled

_QUOTE = r"(?:\\{0,8}[\"'`]|%(?:25)?2[27]|&(?:quot|apos|#3[49]|#x2[27]);)"
_LINE_BREAK = r"(?:\r?\n|(?:\\{1,4}r)?\\{1,4}n)"
# What may stand between a name and its value. The name is read from its first word on; what is before is read after.
_SEPARATOR = (
    r"(?P<rest>[\w.\-]{0,64}+)(?:\[\d{0,4}\])?" + _QUOTE + r"?\]?(?:"
    r"[\s\u200b\ufeff]{0,3}(?:[!=]?={1,3}>?|:=|:|->|=>|[\uff1a\uff1d])[ \t]{0,8}"
    r"|(?P<encoded>%(?:25)?3[ad](?:%(?:25)?20|\+){0,3})"
    # As Kubernetes writes an environment: the name is a value itself.
    r"|,\s?\\{0,8}[\"']value\\{0,8}[\"']:\s?"
    # A pair, unless the second is the name of a further value.
    r"|(?P<pair>\s?,\s?)(?=[bru]?\\{0,8}[\"'](?![^\"'\\]{0,64}\\{0,8}[\"']\s?:))"
    r"|\(\s?(?=[bru]?[\"'])"
    r"|(?P<prose>\s{1,3}(?=\\{0,8}[\"']))"
    r"|\s{1,3}value\s?=\s?"
    r"|(?<!->)>(?:<!\[cdata\[)?(?=[^<>\s])"
    r"|(?<=[\"'])" + 2 * _LINE_BREAK + r"(?=\S)"
    "|" + _LINE_BREAK + r"  [^\n]{1,200}?input_value="
    ")"
)
_VALUE = (
    # In a call, as of the type that is to keep it from being shown.
    r"@?(?P<call>[\w.]{1,64}\((?=[bru]?[\"']))?(?:[bfrun]{1,2}(?=[\"']))?(?:"
    r"(?P<open>\\{1,8}[\"'])(?P<v1>(?s:.){1,4096}?)(?:(?P=open)|\Z)"
    r"|\\{1,8}[\"'](?P<v2>[^\"'\\]++)"
    r"|\"(?P<v3>[^\"\\]*+(?:\\(?s:.)[^\"\\]*+)*+)"
    r"|'(?P<v4>[^'\\]*+(?:\\(?s:.)[^'\\]*+)*+)"
    r"|`(?P<v5>[^`]{1,4096}+)"
    r"|[\[{](?=\s?\\{0,8}[\"'])(?P<v6>[^\[\]{}]++)"
    r"|&(?:quot|apos|#3[49]|#x2[27]);(?P<v7>[^&\s]++)"
    r"|(?P<v8>[^\s\"'`,;&<\\]++))"
)
_ENCODED_VALUE = r"(?P<call>(?!))?(?:%(?:25)?2[27])?(?P<v8>(?:[^\s\"'`,;&<\\%]|%(?!(?:25)?(?:2[267c]|5d|7d)))++)"
# A value that is none if it does not look like one is looked at no further than this.
_LONGEST_DOUBTFUL = 128
_NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
_ENCODED = re.compile(r"%(?:25)?[0-9A-Fa-f]{2}")
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
    r"|ok|enabled|disabled|failed|success|valid|verified|denied|granted|revoked|unknown|n/a"
    r"|str|string|int|bytes|\w|\*+|x{3,}"
    r"|<redacted>|\[filtered\]|<[a-z_ \-]{1,64}>|\W+"
    # Where another value is to be put in, or is taken from.
    r"|\$\{[\w.:\-]{1,64}\}|\$\w{1,64}|%\w{1,64}%|\{\w{0,64}\}|%\(\w{1,64}\)s|%s|:[a-z_]{1,64}"
    r"|(?:self|settings|config|os|process|env)(?:\.[a-z_]\w{0,64}){1,4}[\[(]?)"
)
# Where only the words around a value say that it is one, plain words are more of the sentence.
_PLAIN_WORDS = re.compile(r"[a-z]+(?:[-_./ ][a-z]+)*|\W{0,3}\w{0,2}\W{0,3}")
_VARIABLE = re.compile(r"[A-Z][A-Z_]*")
_LISTED_NAME = re.compile(r"([a-z]+(?:[_\-][a-z]+)*)[\"']\s?,")
_DIGIT = re.compile(r"\d")
_COUNT = re.compile(r"\d{1,4}")

Place = tuple[int, int]


def named_values(text: str, lower: str, names: Names) -> Iterator[Place]:
    """Yield where the values of secret names are.

    Args:
        text: The text.
        lower: The same text in lower case.
        names: Which names are secret.

    """
    if "-" in text:
        yield from _options(text, lower, names)
    pattern = compiled(f"(?:{names.words}){_SEPARATOR}")
    position = 0
    # A text in which more stands beside a secret's name, or that is made of such names, is no message.
    secret, any_name = MOST_MATCHES, MOST_MATCHES + len(text) // 24
    while (found := pattern.search(lower, position)) is not None:
        position = found.end()
        name, start = _name(text, found.start(), found.end("rest"))
        kind = names.kind(_with_phrase(lower, start, name))
        secret, any_name = secret - bool(kind), any_name - 1
        place = _place_after(found, name, kind, text, lower) if kind else None
        if place and not (found["pair"] and _is_list_of_names(lower, place, names)):
            yield place
            position = max(position, place[1])
        if not (secret and any_name):
            yield position, len(text)
            return


# The name and the value of a command's option are two words: `--api-token x`.
_OPTION = re.compile(r"[\s\"'](?:--?)(?P<name>[a-z][\w.\-]{1,64}+)[ \t]{1,4}(?=[^\s\-])", re.ASCII)


def _options(text: str, lower: str, names: Names) -> Iterator[Place]:
    """Yield where the values of a command's options are that have a secret's name."""
    left = MOST_MATCHES
    for found in _OPTION.finditer(lower):
        name = text[found.start("name") : found.end("name")]
        kind = names.kind(name)
        left -= bool(kind)
        if kind and (place := _place(found.end(), name, kind, text, lower)):
            yield place
        if not left:
            yield found.end(), len(text)
            return


def _name(text: str, start: int, end: int) -> tuple[str, int]:
    """Return the whole name that a word is part of, and where it begins."""
    floor = max(0, start - 64)
    start = floor + len(text[floor:start].rstrip(_NAME_CHARACTERS))
    # What looks like the start of a name may be the rest of an encoded quote: `%22pin%22`.
    encoded = _ENCODED.match(text, start - 1, end) if start else None
    start = encoded.end() if encoded else start
    return text[start:end], start


def _with_phrase(lower: str, start: int, name: str) -> str:
    """Return a name with the word before it, if they belong together as in `api key`."""
    if not start or lower[start - 1] != " ":
        return name
    phrase = _PHRASE.search(lower, max(0, start - 12), start)
    return phrase.group() + name if phrase else name


def _is_list_of_names(lower: str, place: Place, names: Names) -> bool:
    """Return whether what follows a name is one more name, and not the last of them."""
    listed = _LISTED_NAME.match(lower, place[0])
    return listed is not None and listed.end(1) == place[1] and names.kind(listed[1]) != ""


def _place_after(found: re.Match[str], name: str, kind: Kind, text: str, lower: str) -> Place | None:
    """Return where the value of a name is, if it is one and holds a secret."""
    place = _place(found.end(), name, kind, text, lower, encoded=found["encoded"] is not None)
    if place is None or found["prose"] is None or "pass" in name.lower() or "pwd" in name.lower():
        return place
    return None if _PLAIN_WORDS.fullmatch(lower, *place) else place


def _place(start: int, name: str, kind: Kind, text: str, lower: str, *, encoded: bool = False) -> Place | None:
    """Return which part of the value that begins at a place is the secret, if any."""
    pattern = compiled(_ENCODED_VALUE if encoded else _VALUE)
    doubts = _doubts(name.lower(), kind)
    value = pattern.match(lower, start, start + _LONGEST_DOUBTFUL if doubts else len(lower))
    if value is None:
        return None
    form = value.lastgroup or ""
    start, end = value.span(form)
    if _is_harmless(lower, start, end, name) or _is_variable(text, value, start, end):
        return None
    if doubts:
        if not all(doubt(text[start:end]) for doubt in doubts):
            return None
        end = _end(pattern, value, lower)
    if form == "v8" and name.lower().endswith(("authorization", "cookie", "auth", "x-amz-security-token")):
        end = _end_of_header(lower, start, end, name.lower())
    scheme = _SCHEME.match(lower, start, end)
    return (scheme.end() if scheme else start), end


def _end(pattern: re.Pattern[str], value: re.Match[str], lower: str) -> int:
    """Return where a value ends of which only the beginning was looked at."""
    whole = pattern.match(lower, value.start())
    return whole.end(whole.lastgroup or 0) if whole else value.end()


def _is_harmless(lower: str, start: int, end: int, name: str) -> bool:
    """Return whether a value says that there is none, or is redacted already."""
    if start == end or lower.startswith("[redacted]", start) or _HARMLESS.fullmatch(lower, start, end):
        return True
    # Tests pass and fail.
    return name.lower() in ("pass", "passed") and _COUNT.fullmatch(lower, start, end) is not None


def _is_variable(text: str, value: re.Match[str], start: int, end: int) -> bool:
    """Return whether a value is the name of a variable from which another is read: `getenv("DB_PASSWORD")`."""
    return value["call"] is not None and _VARIABLE.fullmatch(text, start, end) is not None


@lru_cache(maxsize=1024)
def _doubts(name: str, kind: Kind) -> tuple[Check, ...]:
    """Return what a value must satisfy too, because the name alone does not say enough."""
    doubts: list[Check] = []
    if name.endswith(("mail", "mails")):
        doubts.append(lambda value: "@" in value or "%40" in value)
    if plain_name(name).endswith(NUMERIC):
        doubts.append(lambda value: _DIGIT.search(value) is not None)
    if kind == "weak":
        doubts.append(looks_random)
    return tuple(doubts)


def _end_of_header(lower: str, start: int, end: int, name: str) -> int:
    """Return where a header's value ends: at the end of the line or of what is quoted."""
    if _LISTED.match(lower, start) and name.endswith("authorization"):
        line = _WHOLE_LINE.match(lower, start)
    elif name.endswith("cookie") or _SCHEME.match(lower, start):
        line = _LINE.match(lower, start)
    else:
        line = None
    return max(end, line.end()) if line else end
