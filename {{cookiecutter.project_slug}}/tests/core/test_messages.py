"""What a message is, and what is none: whatever is sent, it is a message or an error that says what is allowed."""

import json
import random
from typing import Any

import pytest

from app.core.messages import (
    DIGITS,
    ID_LENGTH,
    LATEST,
    MAX_BYTES,
    MAX_DEPTH,
    Message,
    MessageUnreadableError,
    new_message,
    read_message,
    write_message,
)


def text(**fields: Any) -> str:
    """Return a message as JSON, with these fields instead of, or beside, the usual ones."""
    return json.dumps({"id": "m-1", "type": "order.placed", "data": {}, **fields})


def nested(depth: int) -> Any:
    """Return lists within each other."""
    found: Any = []
    for _ in range(depth - 1):
        found = [found]
    return found


def test_read() -> None:
    """What stands in a message is read; what the broker carries beside it counts where the message is silent."""
    body = text(data={"order_id": "o-1"}, key="o-1", deadline=1.5, traceparent="00-a", **{"x-user-id": "u"})
    message = read_message(body.encode(), {"traceparent": "00-b", "x-request-id": "r"})
    assert message == Message(
        "m-1",
        "order.placed",
        {"order_id": "o-1"},
        "o-1",
        1.5,
        {"traceparent": "00-a", "x-user-id": "u", "x-request-id": "r"},
    )


def test_least() -> None:
    """An id and a type are enough."""
    assert read_message('{"id": "m-1", "type": "a"}') == Message("m-1", "a", {})


def test_there_and_back() -> None:
    """What is written is read as it was."""
    message = new_message("a", {"ü": [1, 2.5, None, "\u2028"]}, key="k", deadline=10, headers={"x-sent-at": 1.25})
    assert read_message(write_message(message)) == message


def test_own_fields_are_no_headers() -> None:
    """No header takes the place of what a message says of itself."""
    message = new_message("a", {}, id="m-1", headers={"id": "m-2", "type": "b"})
    assert (read_message(write_message(message)).id, read_message(write_message(message)).type) == ("m-1", "a")


def test_new_ids() -> None:
    """A message without an id gets one of its own."""
    assert new_message("a", {}).id != new_message("a", {}).id


def test_default_id() -> None:
    """An id may be given to one that was written without; one that is there stays, and null is none."""
    assert read_message('{"type": "a"}', default_id="d-1").id == "d-1"
    assert read_message(text(), default_id="d-1").id == "m-1"
    with pytest.raises(MessageUnreadableError, match="received id: nothing"):
        read_message('{"type": "a", "id": null}', default_id="d-1")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("\ufeff{}", "no JSON"),
        (b"\xff\xfe{\x00}\x00", "no UTF-8"),
        (b"\xed\xa0\x80", "no UTF-8"),
        ("\udc80", "no UTF-8"),
        ("{}{}", "no JSON"),
        ("[]", "a list"),
        ("null", "a NoneType"),
        ('"text"', "a str"),
        ("1", "a int"),
        ("[" * 100_000, "no JSON"),
        ('{"a":' * 100_000, "no JSON"),
        ("{}", "type: nothing"),
        (text(id=None), "id: nothing"),
        (text(id=""), "id: ''"),
        (text(id=1), "id: 1"),
        (text(id=True), "id: True"),
        (text(id=["x"]), "id: a list"),
        (text(id="x" * (ID_LENGTH + 1)), "id: 'xxx"),
        (text(id="a\nb"), r"id: 'a\nb'"),
        (text(id="a\x1b[2J"), "id: "),
        (text(id="\ud800"), "half of a surrogate pair"),
        (text(type=None), "type: nothing"),
        (text(type="a b"), "type: 'a b'"),
        (text(type="a\n"), "type: "),
        (text(type="x" * 101), "type: "),
        (text(type=".a"), "type: "),
        (text(type={}), "type: a dict"),
        (text(data=None), "data: nothing"),
        (text(data=[]), "data: a list"),
        (text(data="x"), "data: 'x'"),
        (text(key=""), "key: ''"),
        (text(key=5), "key: 5"),
        (text(key="k" * 129), "key: "),
        (text(deadline="soon"), "deadline: 'soon'"),
        (text(deadline=True), "deadline: True"),
        (text(deadline=-1), "deadline: -1"),
        (text(deadline=LATEST + 1), "deadline: "),
        (text(deadline=10**90), "deadline: "),
        (text(deadline=float("inf")), "Infinity"),
        (text(data={"n": float("nan")}), "NaN"),
        (text(data={"n": float("-inf")}), "-Infinity"),
        (text().replace("{}", '{"n": 1e400}'), "1e400"),
        (text().replace("{}", '{"n": ' + "9" * (DIGITS + 1) + "}"), "finite number"),
        (text().replace("{}", '{"n": ' + "9" * 100_000 + "}"), "finite number"),
        (text(data={"s": "\udc80"}), "half of a surrogate pair"),
        (text(data={"\ud83d": 1}), "half of a surrogate pair"),
        (text(data={"n": nested(MAX_DEPTH)}), f"more than {MAX_DEPTH}"),
        (text(head=nested(900)), f"more than {MAX_DEPTH}"),
        ('{"id": "a", "id": "b", "type": "a"}', "the name 'id' twice"),
        (text().replace("{}", '{"n": 1, "n": 2}'), "the name 'n' twice"),
        (text(data={"s": "x" * MAX_BYTES}), "bytes"),
        ("ü" * (MAX_BYTES // 2 + 1), "bytes"),
    ],
)
def test_unreadable(body: str | bytes, said: str) -> None:
    """Anything else is an error of one kind, whose text is short, one line, and says what is allowed."""
    with pytest.raises(MessageUnreadableError) as raised:
        read_message(body)
    error = str(raised.value)
    assert said in error
    assert error.startswith("received ")
    assert "; allowed: " in error
    assert len(error) < 250
    assert error.isprintable()


def test_allowed_to_the_last() -> None:
    """The bounds themselves are allowed."""
    edge = text(id="x" * ID_LENGTH, key="k" * 128, type="t" * 100, deadline=LATEST)
    assert read_message(edge).deadline == LATEST
    assert read_message(text(data={"n": nested(MAX_DEPTH - 2)})).data
    assert read_message(text(data={"n": int("9" * DIGITS), "many": [[]] * 1000})).data
    assert read_message(text(data={"s": "😀"})).data == {"s": "😀"}
    room = MAX_BYTES - len(text(data={"s": ""}))
    assert len(read_message(text(data={"s": "x" * room})).data["s"]) == room


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"data": {"n": object()}}, TypeError),
        ({"data": {"n": float("nan")}}, ValueError),
        ({"data": {"s": "x" * MAX_BYTES}}, MessageUnreadableError),
        ({"data": {"s": "\ud800"}}, MessageUnreadableError),
        ({"data": {"n": nested(MAX_DEPTH)}}, MessageUnreadableError),
        ({"data": {"n": nested(50_000)}}, MessageUnreadableError),
        ({"data": []}, MessageUnreadableError),
        ({"data": {}, "id": "x" * 129}, MessageUnreadableError),
        ({"data": {}, "key": ""}, MessageUnreadableError),
        ({"data": {}, "deadline": float("nan")}, MessageUnreadableError),
        ({"data": {}, "deadline": 10**5000}, MessageUnreadableError),
    ],
)
def test_never_written(fields: dict[str, Any], error: type[Exception]) -> None:
    """What nobody would read is not sent."""
    with pytest.raises(error):
        write_message(new_message("a", **fields))


def test_whatever_is_sent() -> None:
    """Bytes of any kind are a message or an error of one kind."""
    chance = random.Random(7)
    good = text(data={"a": [1, {"b": "\\u00fc"}]}, key="k", deadline=5).encode()
    for _ in range(3000):
        body = bytearray(good)
        for _ in range(chance.randint(1, 6)):
            body[chance.randrange(len(body))] = chance.choice(b'{}[]",:\\u0123456789eE.-nN\xff\x00 ')
        try:
            message = read_message(bytes(body))
        except MessageUnreadableError:
            continue
        assert read_message(write_message(message)) == message
