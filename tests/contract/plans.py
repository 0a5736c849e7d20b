"""
What a probe endpoint is asked to act out, and how often it did.

A plan is the JSON body of `POST /probe/act` (or PATCH, or `/probe/act/<name>`, or `/probe/required`). Every member may
be left out:

    note      name of a file in the service's folder that gets one line per run
    wait      name of a file in that folder; the answer waits until it exists
    error     kind of error to raise, as in `ERRORS` of the probe server
    message   the error's message
    status    of the answer
    headers   of the answer, a list of pairs
    body      of the answer, base64
    times     how often the body is repeated within the answer
    chunks    how often the body is streamed instead of sent at once
    sign      whether the answer says which process made it, in the header `X-Process`
    hold      name of a file in that folder; a streamed answer waits after its first chunk until it exists
    after     name of a file in that folder that gets one line per run, once the answer has been sent

The header `X-Probe-User` names the caller, as authentication would.
"""

import base64
from pathlib import Path
from typing import Any

from .server import Service, new_id
from .wire import Response

KEY = "Idempotency-Key"


class Plan:
    """A plan, and the marks that acting it out leaves in the service's folder."""

    def __init__(self, folder: Path, *, wait: bool = False, body: bytes = b"{}", **members: Any) -> None:
        """Prepare a plan for services that run in *folder*."""
        self.note = folder / new_id("note")
        self.gate = folder / new_id("gate")
        self.document = {"note": self.note.name, "body": base64.b64encode(body).decode(), **members}
        if wait:
            self.document["wait"] = self.gate.name

    def send(self, service: Service, key: str | None = None, path: str = "/probe/act") -> Response:
        """Ask *service* to act the plan out."""
        return service.post(path, self.document, *keyed(key))

    def runs(self) -> int:
        """Return how often it was acted out, by all services."""
        return len(self.note.read_text().splitlines()) if self.note.exists() else 0

    def open(self) -> None:
        """Let those that wait go on."""
        self.gate.touch()


def keyed(key: str | None) -> list[tuple[str, str]]:
    """Return the headers of a request with *key*, or of one without."""
    return [] if key is None else [(KEY, key)]


def is_replay(response: Response) -> bool:
    """Whether the response says that it is an earlier one again."""
    assert response.header("Idempotent-Replayed") in (None, "true")
    replayed = response.header("Idempotent-Replayed") is not None
    assert not replayed or response.header("Cache-Control") == "no-store"
    return replayed
