"""The header, which answers are kept, and what of them is replayed."""

import pytest

from app.core.idempotency_errors import IdempotencyKeyError, IdempotencyKeyMissingError
from app.core.idempotency_http import documentation_link, end_to_end, is_stored, read_key


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("abc", "abc"),
        ('"abc"', "abc"),
        (" abc\t", "abc"),
        ('\t"abc" ', "abc"),
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ('"8e03978e-40d5-43e8-bc93-6894a57f9324"', "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ('"a,b"', "a,b"),
        (r'"a\"b\\c"', r'a"b\c'),
        ("!#$%&'()*+-./:<=>?@[]^_`{|}~", "!#$%&'()*+-./:<=>?@[]^_`{|}~"),
        ("x" * 255, "x" * 255),
        (f'"{"x" * 255}"', "x" * 255),
        ('"abc";version=1', "abc"),
        ('"abc"; a; b="x;y";c=?1', "abc"),
    ],
)
def test_key(header: str, key: str) -> None:
    """A quoted and a bare key are the same key; parameters of a quoted one are ignored."""
    assert read_key([header]) == key


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        '""',
        '"',
        '"abc',
        '"a"b"',
        r'"a\b"',
        r'"abc\"',
        "a b",
        '"a b"',
        "a,b",
        '"a", "b"',
        "a\x00b",
        "a\nb",
        '"a\nb"',
        "\u00e9",
        '"\u00e9"',
        "\x7f",
        "x" * 256,
        f'"{"x" * 256}"',
        '"abc" "def"',
        '"abc";',
        '"abc";A=1',
        '"abc";a=',
    ],
)
def test_bad_key(header: str) -> None:
    """An empty, too long or otherwise malformed key is refused."""
    with pytest.raises(IdempotencyKeyError):
        read_key([header])


def test_repeated_key() -> None:
    """Two headers are refused, even with one value."""
    with pytest.raises(IdempotencyKeyError):
        read_key(["abc", "abc"])


def test_missing_key() -> None:
    """A missing key is none, unless the operation requires one."""
    assert read_key([]) is None
    with pytest.raises(IdempotencyKeyMissingError):
        read_key([], required=True)


@pytest.mark.parametrize(
    ("status", "rejected", "stored"),
    [(200, False, True), (201, False, True), (302, False, True), (404, False, True), (409, False, True)]
    + [(422, False, True), (422, True, False), (400, True, False)]
    + [(status, False, False) for status in (101, 199, 401, 403, 406, 413, 415, 429, 500, 503)],
)
def test_stored_answers(status: int, rejected: bool, stored: bool) -> None:
    """What the operation said is kept; what kept it from running, or a failure, is not."""
    assert is_stored(status, rejected=rejected) is stored


def test_replayed_headers() -> None:
    """A replay repeats the headers of the answer, not those of the connection, the session or the first request."""
    kept = [(b"content-type", b"text/plain"), (b"Location", b"/orders/1"), (b"etag", b'"\xe9"')]
    dropped = [
        (name, b"x")
        for name in (
            b"Set-Cookie",
            b"date",
            b"x-request-id",
            b"x-trace-id",
            b"connection",
            b"server",
            b"transfer-encoding",
        )
    ]
    as_text = (("content-type", "text/plain"), ("Location", "/orders/1"), ("etag", '"\xe9"'))
    assert end_to_end([*kept, *dropped]) == as_text


def test_link_to_the_documentation() -> None:
    """A problem about a key leads to a page that describes it, or to the description itself."""
    assert documentation_link("/openapi.json", "/docs") == '</docs>; rel="describedby"; type="text/html"'
    assert documentation_link("/o.json", None) == '</o.json>; rel="describedby"; type="application/json"'
