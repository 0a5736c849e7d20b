"""What a store keeps of an answer, and what can be read of it."""

import base64
import json

import pytest

from app.core.idempotency_answer import OLDEST_VERSION, RECORD_VERSION, Answer

ANSWER = Answer(201, (("content-type", "application/json"), ("x-tag", "\u00e9")), b'{"id":"\xff\x00"}')
STORED = ANSWER.dump()
TOO_LARGE = Answer(200, (), None).dump()


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
        ("v", 0),
        ("v", 3),
        ("v", None),
        ("status", "many"),
        ("status", None),
        ("status", 1e999),
        ("status", 199),
        ("status", 500),
        ("headers", None),
        ("headers", [["a"]]),
        ("headers", [1]),
        ("headers", [["a", 1]]),
        ("body", 7),
        ("body", "no base64!"),
        ("text", 7),
    ],
)
def test_damaged_answer(field: str, value: object) -> None:
    """An answer with a wrong field, or of an unknown version, is none."""
    assert Answer.load(json.dumps({**json.loads(STORED), field: value})) is None


@pytest.mark.parametrize("text", ["", "null", "5", "[]", '""', "{}", '{"v": 1}', "[" * 100_000])
def test_answer_of_another_shape(text: str) -> None:
    """Text that is no answer at all is none."""
    assert Answer.load(text) is None


def test_text_can_be_read() -> None:
    """A body that is text stands in the record as it is, whatever characters it has."""
    answer = Answer(200, (), '{"name":"Zo\u00eb \U0001f375\x00"}'.encode())
    assert json.loads(answer.dump())["text"].encode() == answer.body
    assert Answer.load(answer.dump()) == answer


def test_record_of_the_release_before() -> None:
    """What the release before wrote is read: during a deployment both run."""
    assert (OLDEST_VERSION, RECORD_VERSION) == (1, 2)
    body = base64.b64encode(b"\xff\x00").decode()
    old = {"v": 1, "status": 201, "headers": [["location", "/orders/1"]], "body": body}
    assert Answer.load(json.dumps(old)) == Answer(201, (("location", "/orders/1"),), b"\xff\x00")
    assert Answer.load(json.dumps({**old, "body": None})) == Answer(201, (("location", "/orders/1"),), None)
