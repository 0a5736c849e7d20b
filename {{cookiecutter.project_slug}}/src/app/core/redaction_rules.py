"""All rules in the order in which they are tried, and the shapes by which a text is let pass without trying them.

Each pattern is linear: it starts at a literal or at the edge of a run, and no repetition is within another that can
take the same characters. What could be found again at every character of a run is found at the run's first one only.
"""

import re
import string
from collections.abc import Iterator

from .redaction_checks import is_uuid, looks_random
from .redaction_patterns import beginning, edged, hexadecimal_as_zero, tree, words_of
from .redaction_personal import CALL_WORDS, ID_PHRASES, ID_WORDS, NUMBERS, PERSONAL, PHONE_WORDS, PHONES
from .redaction_rule import Rule
from .redaction_tokens import TOKEN, TOKEN_SHAPE, TOKENS

__all__ = ["GATES", "LONG_NUMBER", "NUMBER_SHAPE", "RULES", "TOKEN", "TOKEN_SHAPE", "WORD", "WORD_SHAPE"]

_KEY_CHARACTERS = string.ascii_letters + string.digits + "+/=\\ \t\r\n"
_KEY_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY")
_KEY_CHUNK = re.compile(r"[A-Za-z0-9+/=]{16}")
_LONGEST_KEY = 65536


def _ended_keys(text: str) -> Iterator[tuple[int, int]]:
    """Yield the bodies of private keys that lost their first line: what stands before the last."""
    done = 0
    for last in _KEY_END.finditer(text):
        floor = max(done, last.start() - _LONGEST_KEY)
        start = floor + len(text[floor : last.start()].rstrip(_KEY_CHARACTERS))
        # Words before the key are made of its characters too, but of fewer.
        chunk = _KEY_CHUNK.search(text, start, last.start())
        if chunk is not None:
            yield chunk.start(), last.start()
        done = last.end()


KEY_MATERIAL = (
    Rule(
        "private key",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[^-]*+(?:-(?!----)[^-]*+)*+"
        r"(?:-----END [A-Z0-9 ]{0,60}-----)?",
        ("private key",),
    ),
    Rule(
        "private key ssh2",
        r"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----[^-]*+(?:-(?!---)[^-]*+)*+",
        ("private key",),
    ),
    Rule("private key end", hints=("-----end",), find=_ended_keys),
    # DER in base64, but what begins as a certificate or a public key does (RFC 5280, section 4.1).
    Rule("private key body", edged(r"MII[A-Za-z0-9+/]{3}(?!CC|AN)[A-Za-z0-9+/=\s\\]{40,65536}+"), ("mii",)),
    Rule(
        "putty key",
        r"private-(?:lines|mac|hash): ?\w{1,128}(?:\s|\\[nr])*+[a-z0-9+/=\s\\]{0,65536}+",
        ("private-",),
        lower=True,
    ),
    Rule("json web key", r'"(?:d|p|q|dp|dq|qi|k)\\?"\s?:\s?\\?"(?P<s>[A-Za-z0-9_\-]{16,8192}+)', ("kty",)),
    Rule("xml key", r"<(?:D|P|Q|DP|DQ|InverseQ)>(?P<s>[A-Za-z0-9+/=\s]{8,8192}+)</", ("rsakeyvalue",)),
)

# Names of users without a password, as they stand in examples, defaults and addresses of repositories.
_PLAIN_USERS = frozenset(
    ("admin", "anonymous", "app", "deploy", "git", "guest", "hg", "nobody", "postgres", "root", "svn", "user")
)
URLS = (
    Rule(
        "url user",
        r"://(?P<s>[^\s/?#@\"'`<>\\]{1,1024}+)@",
        ("@",),
        check=lambda user: user not in _PLAIN_USERS,
    ),
    # A password with an unescaped slash: everything up to the last `@`, unless what stands there is a port.
    Rule(
        "url password",
        r"://[^\s/?#@:\"'`<>]{0,256}+:(?!\d{1,5}[/?#])(?P<s>(?:[^\s\"'`<>@:]|:(?!//)){1,256}+"
        r"(?:@[^\s\"'`<>@/]{1,256}+){0,4})@[\w.\-]{1,255}",
        ("@",),
    ),
    # The address of a database has no `@` behind the login, so that its password may hold any character.
    Rule(
        "database password",
        r"(?:amqps?|clickhouse|mariadb|mongodb|mssql|mysql|oracle|postgres(?:ql)?|rediss?)(?:\+[\w+]{1,32})?"
        r"://[^\s/:@\"'`<>]{0,256}+:(?P<s>[^\s\"'`<>@]{1,256}+(?:@[^\s\"'`<>@]{1,256}+){0,4})@[\w\[]",
        ("@",),
    ),
    Rule("jdbc user", r"jdbc:oracle:\w{1,16}:(?P<s>[^/@\s]{1,128}/[^@\s]{1,256})@", ("jdbc:",)),
    Rule(
        "slack webhook", r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<s>[\w/+\-]{6,200})", ("hooks.slack",)
    ),
    Rule("discord webhook", r"/api/(?:v\d{1,2}/)?webhooks/(?P<s>\d{5,24}/[\w\-]{10,100})", ("webhooks/",)),
    Rule("teams webhook", r"/webhook(?:b2)?/(?P<s>[\w@/\-]{20,400})", ("/webhook",)),
    Rule("incoming webhook", r"incomingwebhook/(?P<s>[\w/\-]{16,300})", ("incomingwebhook",), lower=True),
    Rule("zapier webhook", r"hooks\.zapier\.com/hooks/(?:catch|standard)/(?P<s>[\w/]{6,100})", ("hooks.zapier",)),
    Rule("telegram bot", r"/bot(?P<s>\d{5,16}:[\w\-]{10,60})", ("/bot",)),
    Rule(
        "other webhook",
        r"(?:maker\.ifttt\.com/\S{1,100}/key|events\.pagerduty\.com/integration|softlayer\.com/soap/v3(?:\.1)?)"
        r"/(?P<s>[\w\-]{12,100})",
        ("ifttt", "pagerduty", "softlayer"),
    ),
    Rule("sidekiq", r"[0-9a-f]{8}(?<![0-9a-f]{9}):[0-9a-f]{8}(?=@(?:gems|enterprise)\.contribsys)", ("contribsys",)),
    Rule(
        "oauth code",
        r"[?&](?:code|ticket|samlresponse)=(?P<s>[^&\s\"']{10,4096}+)",
        ("code=", "ticket=", "samlresponse="),
        lower=True,
    ),
    Rule(
        "key in query",
        r"[?&](?:key|appid)=(?P<s>[^&\s\"'#]{20,4096}+)",
        ("?key=", "&key=", "appid="),
        check=looks_random,
    ),
    # Whoever has the address may do what it is for.
    Rule(
        "one-time link",
        r"/(?:reset|verify|confirm|activate|invite|unsubscribe|magic|recover)[\w\-]{0,32}/(?P<s>[\w\-.=]{20,4096}+)",
        ("/reset", "/verify", "/confirm", "/activate", "/invite", "/unsubscribe", "/magic", "/recover"),
        check=looks_random,
    ),
)

_SCHEME_VALUE = r"(?P<s>[A-Za-z0-9._~+/=\-]{6,8192}+)"
_WORDS = re.compile(r"[A-Za-z]{1,15}(?:[.-][A-Za-z]{1,15})*\.?")
_CHALLENGE = re.compile(r"(?:realm|charset|error|scope|title|resource_metadata)=")


def _is_credential(value: str) -> bool:
    """Return whether what follows a scheme is no plain word, and no parameter of a challenge (RFC 9110, 11.6.1)."""
    return not _WORDS.fullmatch(value) and not _CHALLENGE.match(value)


HEADERS = (
    Rule(
        "bearer",
        beginning(("bearer", "negotiate", "ntlm", "apikey", "api-token")) + r"\s{1,4}" + _SCHEME_VALUE,
        ("bearer", "negotiate", "ntlm", "apikey", "api-token"),
        check=_is_credential,
        lower=True,
    ),
    Rule(
        "basic",
        edged(r"basic\s{1,4}") + _SCHEME_VALUE,
        ("basic",),
        check=lambda value: _is_credential(value) and "." not in value.rstrip("."),
        lower=True,
    ),
    Rule("digest", edged(r"digest\s{1,4}(?P<s>[a-z]{1,20}=\"?[^\n]{1,4096}+)"), ("digest",), lower=True),
)

# What may be a port is no password.
_VALUE = r"[\"']?(?P<s>(?!\d{1,5}(?:\s|$))[^\s\"'\-][^\s\"']{2,256}+)"
COMMANDS = (
    Rule(
        "compared value",
        r"[\"'](?P<s>[^\"'\s]{4,256}+)[\"']\s?[!=]==?\s?[\w.]{0,64}?(?:password|passwd|secret|token|api_?key)",
        ("==", "!="),
        lower=True,
    ),
    Rule(
        "user of a command",
        r"\s(?:-u|--user|--proxy-user|-a|--auth)[ =]{0,3}" + _VALUE,
        (" -u", "--user", " -a ", "--auth"),
        within=beginning(("curl", "http", "https", "influx")) + r"\s[^\n]{1,4096}+",
        lower=True,
    ),
    Rule(
        "password of a command",
        r"\s-p" + _VALUE,
        ("mysql", "mariadb", "sshpass"),
        within=beginning(("mysql", "mariadb", "sshpass")) + r"\w{0,16}(?:-\w{1,16})?\s[^\n]{1,4096}+",
        lower=True,
    ),
    Rule(
        "option of a command",
        r"\s-[paw]\s{1,4}" + _VALUE,
        ("sshpass", "docker login", "podman login", "redis-cli", "mongo", "ldap"),
        within=beginning(
            ("sshpass", "docker login", "podman login", "redis-cli"), r"mongo[a-z]{0,8}", r"ldap[a-z]{3,12}"
        )
        + r"\s[^\n]{1,4096}+",
        lower=True,
    ),
    Rule(
        "user with password",
        r"\s/user:[^\s/]{1,128}\s{1,4}(?P<s>[^\s/][^\s]{0,256}+)",
        ("/user:",),
        lower=True,
    ),
    Rule(
        "secure string",
        r"convertto-securestring\s{1,4}(?:-string\s{1,4})?[\"'](?P<s>[^\"']{1,1024}+)",
        ("convertto-securestring",),
        lower=True,
    ),
    Rule("login password", r"\slogin\s{1,4}\S{1,128}\s{1,4}password\s{1,4}(?P<s>\S{1,256})", ("password",)),
    Rule(
        "password file",
        r":(?:5432|1521|3306):[^:\s]{1,64}:[^:\s]{1,64}:(?P<s>\S{1,128}+)",
        (":5432:", ":1521:", ":3306:"),
    ),
    Rule(
        "kubernetes secret",
        r"[\n\r][ \t]{1,16}+[\w.\-]{1,64}:\s{1,4}(?P<s>[A-Za-z0-9+/]{10,4096}+={0,3})(?=\s|$)",
        ("kind: secret",),
        check=lambda value: value.endswith("=") or not value.islower(),
    ),
    Rule(
        "nuget password", r"key=\"(?:cleartext)?password\"\s{1,32}value=\"(?P<s>[^\"]{1,256})", ("value=",), lower=True
    ),
    Rule(
        "sql password",
        r"identified\s{1,4}(?:by|with\s{1,4}\S{1,64}\s{1,4}(?:by|as))\s{1,4}(?:password\s{1,4})?"
        r"n?[\"'](?P<s>[^\"']{1,1024}+)",
        ("identified",),
        lower=True,
    ),
    # Of a statement that inserts into a column with a secret's name no value is shown, if it holds any.
    Rule(
        "inserted values",
        r"\((?=[^()]{0,2048}?(?:password|passwd|secret|token|api_?key|ssn|email|e_mail|phone))[^()]{1,2048}+\)\s{0,8}"
        r"values\s{0,8}(?P<s>\([^\n]{0,65536}+)",
        ("insert into",),
        within=r"insert\s[^\n]{1,65536}+",
        check=lambda values: "'" in values,
        lower=True,
    ),
)

# The words for a password in languages of Latin letters, and in others; English ones are names.
_PASSWORD_WORDS = words_of("""
    adgangskode contrase\u00f1a geslo has\u0142o heslo jelsz\u00f3 kennwort l\u00f6senord lozinka parola passord
    salasana senha slapta\u017eodis \u015fifre wachtwoord
    """)
_PASSWORD_SIGNS = words_of("""
    \u03ba\u03c9\u03b4\u03b9\u03ba\u03cc\u03c2 \u043f\u0430\u0440\u043e\u043b\u044c
    \u30d1\u30b9\u30ef\u30fc\u30c9 \u5bc6\u7801 \u5bc6\u78bc \ube44\ubc00\ubc88\ud638
    """)
# A secret's word and, right after it, something that a machine made.
PROSE = (
    Rule(
        "named value",
        r"(?:credentials?|authenticat\w{1,5}|api[ _-]?key|access[ _-]?key|secret[ _-]?key|private[ _-]?key"
        r"|signing[ _-]?key|secret|token"
        r"|password|passwd|passphrase|pwd)(?: (?:is|was|using|with|of|value|id)){0,2}\s{1,3}[\"'`(\[]?"
        r"(?P<s>[a-z0-9+/_\-=.~%$]{16,4096}+)",
        ("credential", "authenticat", "key", "secret", "token", "passw", "passphrase", "pwd"),
        check=looks_random,
        lower=True,
    ),
    Rule(
        "named session",
        edged(r"session(?: id)?(?: (?:is|was))?\s{1,3}[\"'`(\[]?(?P<s>[A-Za-z0-9_\-]{20,4096}+)"),
        ("session",),
        check=lambda value: looks_random(value) and not is_uuid(value),
        lower=True,
    ),
    Rule(
        "spoken password",
        beginning(("password", "passwd", "passphrase", "passcode", "pwd", "pin", "otp", "cvv", "cvc"))
        + r"(?: for [^\s:]{1,64}:| (?:is|was|set|changed|reset|code|now|to|as)){0,3}\s{1,3}"
        r"(?P<s>[^\s\"'`,;:]{6,256}+|\d{3,8})(?!\w)",
        ("passw", "passphrase", "passcode", "pwd", "pin", "otp", "cvv", "cvc"),
        check=lambda value: any(char.isdigit() for char in value) and not value.endswith("()"),
        lower=True,
    ),
    Rule(
        "password in other languages",
        beginning(_PASSWORD_WORDS, "mot de passe")[:-1]
        + "|"
        + "|".join(_PASSWORD_SIGNS)
        + r")\s?[=:\uff1a\uff1d]\s?[\"']?(?P<s>[^\s\"',;&]{3,256}+)",
        (*_PASSWORD_WORDS, *_PASSWORD_SIGNS, "mot de passe"),
        lower=True,
    ),
)

# Numbers in groups, and letters with numbers, as the rules for cards, accounts, phones and national ids have them.
_GROUPED = {shape for rule in (*NUMBERS, *PHONES) for shape in rule.shapes if shape[0] == "0" and shape.strip("0")}
NUMBER_SHAPE = (
    r"(?<![A-Za-z0-9.\-])(?:" + "|".join(map(re.escape, sorted(_GROUPED | {"00-0000000"}))) + r")|\(000\)|\+0"
    r"|(?<![A-Za-z0-9])(?:[A-Z]{2}00[ -]?[A-Z0-9](?:[ -]?[A-Z0-9]){10}"
    r"|[A-Z]{6}00|[A-Z]{4}0{6}|[A-Z]{5}0{4}[A-Z])"
)
_WORD = r"(?<![a-z0-9])(?:" + "|".join([tree((*ID_WORDS, *PHONE_WORDS, *CALL_WORDS)), *ID_PHRASES]) + ")"
WORD = _WORD + r"(?![a-z])"
WORD_SHAPE = hexadecimal_as_zero(_WORD + r"(?![g-z])")
# Long numbers; looked for in the text itself, for in one with zeros every id is one.
LONG_NUMBER = r"(?<![A-Za-z0-9.\-])(?:\d{14,19}(?![A-Za-z0-9\-])|\d{17}[Xx])|(?<![A-Za-z0-9])\d{15,16}[|%]"

# What must be in a text before rules are tried: `token` with its hexadecimal digits as zeros, `word` in lower case.
GATES = {
    "token": re.compile(TOKEN_SHAPE, re.ASCII),
    "word": re.compile(beginning((*ID_WORDS, *PHONE_WORDS, *CALL_WORDS), *ID_PHRASES), re.ASCII),
}

RULES = (*KEY_MATERIAL, *URLS, *HEADERS, *TOKENS, *COMMANDS, *PROSE, *PERSONAL)
