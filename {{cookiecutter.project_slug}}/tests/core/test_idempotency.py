"""What a key, a request and what the store knows of them mean together."""

import pytest

from app.core.idempotency import REFUSALS, Claim, Outcome, Record, decide, digest, new_claim
from app.core.idempotency_answer import Answer
from app.core.idempotency_errors import (
    IdempotencyInProgressError,
    IdempotencyKeyReusedError,
    IdempotencyNotReplayableError,
)

ANSWER = Answer(201, (("content-type", "application/json"),), b'{"id":"1"}')
STORED = ANSWER.dump()
TOO_LARGE = Answer(200, (), None).dump()


def claim_of(*scope: str, fingerprint: str = "f") -> Claim:
    """Return a claim of a caller, a method, a route and a key."""
    caller, method, route, key = scope
    return new_claim(caller=caller, operation=(method, route), key=key, fingerprint=fingerprint)


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


def test_damage_is_told() -> None:
    """A stored answer that cannot be read is not the same as one that was too large."""
    assert decide(Record("same", 0, 99, "damaged"), "same", 10).damaged
    assert not decide(Record("same", 0, 99, TOO_LARGE), "same", 10).damaged


def test_digest_tells_splits_apart() -> None:
    """The same bytes split in another way have another hash."""
    splits = [(b"ab", b"c"), (b"a", b"bc"), (b"abc",), (b"abc", b""), (b"", b"abc"), (b"a", b"b", b"c")]
    assert len({digest(*parts) for parts in splits}) == len(splits)
    assert digest(b"a", b"bc") == digest(b"a", b"bc")


def test_claim_scope() -> None:
    """Caller, method, route and key make the record; nothing of them can be read from it but whose it is."""
    ours = ("ada", "POST", "/orders", "k-secret")
    claim = claim_of(*ours)
    assert claim.key == claim_of(*ours, fingerprint="g").key
    others = [claim_of(*ours[:place], "other", *ours[place + 1 :]) for place in range(len(ours))]
    assert claim.key not in {other.key for other in others}
    assert [other.caller == claim.caller for other in others] == [False, True, True, True]
    assert len(claim.key) == 64
    assert "secret" not in claim.key


def test_every_claim_has_an_owner_of_its_own() -> None:
    """Two requests with one key are two owners."""
    owners = {claim_of("", "", "", "").owner for _ in range(100)}
    assert len(owners) == 100


def test_refusals() -> None:
    """What stands in a request's way is an error with its own code; a running request is worth waiting for."""
    waiting = REFUSALS[Outcome.IN_PROGRESS]()
    assert isinstance(waiting, IdempotencyInProgressError)
    assert (waiting.status, waiting.retry_after) == (409, 1)
    assert REFUSALS[Outcome.MISMATCH]().code == IdempotencyKeyReusedError.code == "IDEMPOTENCY_KEY_REUSED"
    assert REFUSALS[Outcome.NOT_REPLAYABLE]().code == IdempotencyNotReplayableError.code
