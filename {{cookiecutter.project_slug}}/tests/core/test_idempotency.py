"""What a key, a request and what the store knows of them mean together."""

import json

import pytest

from app.core.idempotency import (
    REFUSALS,
    Answer,
    IdempotencyInProgressError,
    IdempotencyKeyError,
    IdempotencyKeyMissingError,
    IdempotencyKeyReusedError,
    IdempotencyNotReplayableError,
    Outcome,
    Record,
    decide,
    digest,
    end_to_end,
    is_stored,
    new_claim,
    read_key,
)

ANSWER = Answer(201, (("content-type", "application/json"), ("x-tag", "\u00e9")), b'{"id":"\xff\x00"}')
STORED = ANSWER.dump()
TOO_LARGE = Answer(200, (), None).dump()


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
    ("record", "outcome"),
    [
        (None, Outcome.RUN),
        (Record("same", lease_until=11, expires_at=99), Outcome.IN_PROGRESS),
        (Record("other", lease_until=11, expires_at=99), Outcome.MISMATCH),
        (Record("same", lease_until=10, expires_at=99), Outcome.RUN),
        (Record("other", lease_until=10, expires_at=99), Outcome.MISMATCH),
        (Record("same", lease_until=9, expires_at=10), Outcome.RUN),
        (Record("other", lease_until=9, expires_at=10), Outcome.RUN),
        (Record("same", lease_until=11, expires_at=10), Outcome.IN_PROGRESS),
        (Record("other", lease_until=11, expires_at=10), Outcome.MISMATCH),
        (Record("same", 0, expires_at=99, answer=STORED), Outcome.REPLAY),
        (Record("other", 0, expires_at=99, answer=STORED), Outcome.MISMATCH),
        (Record("same", 0, expires_at=10, answer=STORED), Outcome.RUN),
        (Record("other", 99, expires_at=10, answer=STORED), Outcome.RUN),
        (Record("same", 0, expires_at=99, answer=TOO_LARGE), Outcome.NOT_REPLAYABLE),
        (Record("other", 0, expires_at=99, answer=TOO_LARGE), Outcome.MISMATCH),
        (Record("same", 0, expires_at=99, answer="damaged"), Outcome.NOT_REPLAYABLE),
        (Record("other", 0, expires_at=99, answer="damaged"), Outcome.MISMATCH),
    ],
)
def test_decision(record: Record | None, outcome: Outcome) -> None:
    """At time 10 a request with the fingerprint `same` comes to this, by what the store knows of its key."""
    assert decide(record, "same", 10).outcome is outcome


def test_replay_has_the_answer() -> None:
    """A replay comes with the stored answer."""
    assert decide(Record("same", 0, 99, STORED), "same", 10).answer == ANSWER


def test_answer_survives_the_store() -> None:
    """Status, headers and exact bytes are the same after a store had them, and so is a missing body."""
    assert Answer.load(ANSWER.dump()) == ANSWER
    assert Answer.load(TOO_LARGE) == Answer(200, (), None)
    assert Answer.load(Answer(204, (), b"").dump()) == Answer(204, (), b"")


@pytest.mark.parametrize("length", range(0, len(STORED), 7))
def test_truncated_answer(length: int) -> None:
    """An answer that was cut off is none."""
    assert Answer.load(STORED[:length]) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", 2),
        ("v", None),
        ("status", "many"),
        ("status", None),
        ("status", 1e999),
        ("status", 199),
        ("status", 500),
        ("headers", None),
        ("headers", [["a"]]),
        ("headers", [1]),
        ("body", 7),
        ("body", "no base64!"),
    ],
)
def test_damaged_answer(field: str, value: object) -> None:
    """An answer with a wrong field, or of an unknown version, is none."""
    assert Answer.load(json.dumps({**json.loads(STORED), field: value})) is None


@pytest.mark.parametrize("text", ["", "null", "5", "[]", '""', "{}", '{"v": 1}', "[" * 100_000])
def test_answer_of_another_shape(text: str) -> None:
    """Text that is no answer at all is none."""
    assert Answer.load(text) is None


def test_digest_tells_splits_apart() -> None:
    """The same bytes split in another way have another hash."""
    splits = [(b"ab", b"c"), (b"a", b"bc"), (b"abc",), (b"abc", b""), (b"", b"abc"), (b"a", b"b", b"c")]
    assert len({digest(*parts) for parts in splits}) == len(splits)
    assert digest(b"a", b"bc") == digest(b"a", b"bc")


def test_claim_scope() -> None:
    """Caller, method, route and key make the record; nothing of them can be read from it."""
    ours = {"caller": "ada", "method": "POST", "route": "/orders", "key": "k-secret"}
    claim = new_claim(**ours, fingerprint="f")
    assert claim.key == new_claim(**ours, fingerprint="g").key
    for name in ours:
        assert new_claim(**{**ours, name: "other"}, fingerprint="f").key != claim.key
    assert len(claim.key) == 64
    assert "secret" not in claim.key


def test_every_claim_has_an_owner_of_its_own() -> None:
    """Two requests with one key are two owners."""
    owners = {new_claim(caller="", method="", route="", key="", fingerprint="").owner for _ in range(100)}
    assert len(owners) == 100


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
    kept = [("Content-Type", "text/plain"), ("Location", "/orders/1"), ("ETag", '"1"')]
    dropped = [
        (name, "x")
        for name in ("Set-Cookie", "Date", "X-Request-ID", "X-Trace-ID", "Connection", "Server", "Transfer-Encoding")
    ]
    assert end_to_end([*kept, *dropped]) == tuple(kept)


def test_refusals() -> None:
    """What stands in a request's way is an error with its own code; a running request is worth waiting for."""
    waiting = REFUSALS[Outcome.IN_PROGRESS]()
    assert isinstance(waiting, IdempotencyInProgressError)
    assert (waiting.status, waiting.retry_after) == (409, 1)
    assert REFUSALS[Outcome.MISMATCH]().code == IdempotencyKeyReusedError.code == "IDEMPOTENCY_KEY_REUSED"
    assert REFUSALS[Outcome.NOT_REPLAYABLE]().code == IdempotencyNotReplayableError.code
