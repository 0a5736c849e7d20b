"""A token is found by its own form, whoever holds it, and what only begins like one is not."""

import base64
import json

import pytest

from app.core.redaction import may_hold_secret, redact_text
from app.core.redaction_tokens import DISTINCT, EXACT

from ..fakes import hexes, made, part, pem, survives

EXACT_SAMPLES = {
    "aws": part("AK", "IA", "QRSTUVWXYZ234567"),
    "openai": part("sk", "-", made(48)),
    "openai inner": part("sess", "-", made(20), "T3Blbk", "FJ", made(20)),
    "twilio": part("S", "K", hexes(32)),
    "databricks": part("da", "pi", hexes(32)),
    "mailgun": part("ke", "y-", hexes(32)),
    "mailgun public": part("pub", "ke", "y-", hexes(32)),
    "mailgun signing": "-".join([hexes(32), hexes(8), hexes(8)]),
    "mailchimp": part(hexes(32), "-us", "12"),
    "telegram": part("7123456789", ":A", made(34)),
    "discord": part("M", made(23), ".", made(6), ".", made(27)),
    "azure": part("abc", "8Q", "~", made(34)),
    "vault legacy": part("s", ".", made(24)),
    "harness": part("pa", "t.", made(22), ".", made(24), ".", made(20)),
    "airtable": part("pa", "t", made(14), ".", hexes(64)),
    "terraform": part(made(14), ".atlas", "v1.", made(64)),
    "pulumi": part("pu", "l-", hexes(40)),
    "infracost": part("ic", "o-", made(32)),
    "lob": part("li", "ve_", hexes(35)),
    "lob test": part("te", "st_", hexes(35)),
    "facebook app": part("123456789012345", "|", made(27)),
    "maxmind": part(made(6), "_", made(29), "_m", "mk"),
    "1password": part("A", "3-", "ABCDEF-GHIJKLMNOPQ-RSTUV-WXYZ2-34567"),
    "google refresh": part("1/", "/0", made(40)),
    "jwt": part("ey", "J", made(20), ".", made(30), ".", made(40)),
    "jwt in base64": part("ZX", "lK", made(60)),
    "private key in base64": base64.b64encode(pem("", "\n").encode()).decode(),
}
SENTENCES = [
    "{}",
    "upstream rejected {} for tenant 42",
    "not with '{}'",
    '{"value":"{}","ok":false}',
    "a={}&b=1",
    "x\n{}\ny",
]


@pytest.mark.parametrize("prefix", DISTINCT)
def test_tokens_by_their_start(prefix: str) -> None:
    """A token that says whose it is is cut out of any text, whole or cut off."""
    for size in (40, 16):
        token = prefix + made(size)
        for sentence in SENTENCES:
            text = sentence.replace("{}", token)
            assert not survives(token, redact_text(text)), text


@pytest.mark.parametrize("name", EXACT_SAMPLES)
def test_tokens_by_their_form(name: str) -> None:
    """A token of a known form is cut out of any text."""
    assert name in EXACT
    for sentence in SENTENCES:
        text = sentence.replace("{}", EXACT_SAMPLES[name])
        assert not survives(EXACT_SAMPLES[name], redact_text(text)), text


@pytest.mark.parametrize("name", EXACT_SAMPLES)
def test_screen_is_not_fooled_by_what_it_remembers(name: str) -> None:
    """A harmless text of the same shape was seen before, and the token is seen nevertheless."""
    text = f"value {EXACT_SAMPLES[name]} here"
    for other in "0ac":
        may_hold_secret("".join(other if char in "0123456789abcdef" else char for char in text))
    assert may_hold_secret(text)


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "DSA ", "OPENSSH ", "ENCRYPTED "])
@pytest.mark.parametrize("join", ["\n", "\r\n", "\\n", " ", "\n    "])
@pytest.mark.parametrize("cut", [slice(None), slice(0, 120), slice(40, None)])
def test_private_keys(kind: str, join: str, cut: slice) -> None:
    """A private key is cut out on many lines or one, whole or without its beginning or end."""
    key = pem(kind, join)
    body = key.split("KEY-----")[1].split(join)[1 if cut.stop else 2]
    shown = redact_text(f"could not read {key[cut]}")
    assert not survives(body, shown)
    assert shown.startswith("could not read ")


def test_private_key_without_its_first_and_last_line() -> None:
    """The body of a key is told by how it begins."""
    body = part("MII", "EvQIBADANBg", made(80))
    assert not survives(body, redact_text(f"key {body} read"))


def test_certificate_stays() -> None:
    """A certificate and a public key are no secret, as text and in base64."""
    for kind, begin in (("CERTIFICATE", "MIIDXTCCAkWg"), ("PUBLIC" + " KEY", "MIIBIjANBgkqh")):
        text = f"-----BEGIN {kind}-----\n{begin}{made(52)}\n{made(64)}\n-----END {kind}-----"
        for shown in (text, base64.b64encode(text.encode()).decode()):
            assert redact_text(f"read {shown}") == f"read {shown}"


def encoded(value: object) -> str:
    """Return JSON as it stands in a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("size", [48, 60, 200])
def test_cut_off_jwt(size: int) -> None:
    """The beginning of a token that a log has cut off says what it is."""
    head = encoded({"alg": "RS256", "typ": "JWT", "kid": made(120)})[:size]
    assert not survives(head, redact_text(f"token was {head}…"))


def test_other_json_in_base64_stays() -> None:
    """The cursor of a page is JSON in base64 like a token's head, and no token."""
    cursor = encoded({"id": 42, "created_at": "2026-11-21T00:00:00Z"})
    assert redact_text(f"GET /orders?cursor={cursor}") == f"GET /orders?cursor={cursor}"


@pytest.mark.parametrize(
    "stored",
    [
        part("$2", "b$12$", made(53)),
        part("$argon", "2id$v=19$m=65536,t=3,p=4$", made(22), "$", made(43)),
        part("$6", "$rounds=5000$", made(16), "$", made(86)),
        part("$apr", "1$", made(8), "$", made(22)),
        part("pbkdf2", "_sha256$600000$", made(22), "$", made(43)),
        part("scrypt", ":32768:8:1$", made(16), "$", hexes(64)),
        part("{SS", "HA}", made(40)),
    ],
)
def test_stored_passwords(stored: str) -> None:
    """What a password is stored as is as secret as the password."""
    for sentence in SENTENCES:
        assert not survives(stored[20:], redact_text(sentence.replace("{}", stored)))


@pytest.mark.parametrize(
    "text",
    [
        "eyJAAAA.eyJBBB",
        "npm_config_cache=/home/x/.npm",
        "hf_hub_download cached",
        "sk_live_mode disabled",
        "bcrypt: 12 rounds",
        "scrypt took 120 ms",
        "WHERE id = $1 AND name = $2",
        "TODAYINASIAASACKOFRICEFELLOVER",
    ],
)
def test_what_only_begins_like_a_token(text: str) -> None:
    """A word that begins like a token is shown."""
    assert redact_text(text) == text
