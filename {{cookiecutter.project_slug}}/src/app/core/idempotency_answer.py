"""What an operation answered, and the text that a store keeps of it."""

import base64
from typing import Any, NamedTuple

import orjson

# Written by this release. Those from OLDEST on are read, so that old and new processes can run side by side for the
# time of a deployment, and answers outlive it.
RECORD_VERSION = 2
OLDEST_VERSION = 1


class Answer(NamedTuple):
    """The answer of an operation.

    Attributes:
        status: An HTTP status; 200 for what is no request.
        headers: Those from end to end.
        body: The exact bytes; None when they could not be kept.

    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes | None

    def dump(self) -> str:
        """Return the answer as text for a store."""
        record = {"v": RECORD_VERSION, "status": self.status, "headers": self.headers, **_dump_body(self.body)}
        return orjson.dumps(record).decode()

    @classmethod
    def load(cls, text: str) -> "Answer | None":
        """Return a stored answer, or None when the text is damaged or of a version that this code does not know."""
        try:
            data = orjson.loads(text)
            if not OLDEST_VERSION <= data["v"] <= RECORD_VERSION:
                return None
            headers = tuple((_text(name), _text(value)) for name, value in data["headers"])
            answer = cls(int(data["status"]), headers, _load_body(data))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return None
        return answer if 200 <= answer.status < 500 else None


def _dump_body(body: bytes | None) -> dict[str, str | None]:
    """Return a body as it is where it is text, so that a person can read the record."""
    if body is None:
        return {"body": None}
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"body": base64.b64encode(body).decode()}


def _load_body(data: dict[str, Any]) -> bytes | None:
    if "text" in data:
        return _text(data["text"]).encode()
    return None if data["body"] is None else base64.b64decode(data["body"], validate=True)


def _text(value: object) -> str:
    if not isinstance(value, str):
        msg = f"received {type(value).__name__} where text is stored"
        raise TypeError(msg)
    return value
