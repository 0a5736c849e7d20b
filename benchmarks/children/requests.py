"""The two requests that every application answers, as an ASGI scope and as bytes on the wire."""

from dataclasses import dataclass
from typing import Any

from ..loggers.events import random_id

BODY = b'{"name":"Green tea","price":12.5,"tags":["a"]}'
# One request in a hundred carries the flag, when one in a hundred is to be sampled.
CYCLE = 100
HEADERS = (
    (b"host", b"service.example"),
    (b"user-agent", b"benchmark/1.0"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b"en"),
    (b"x-forwarded-proto", b"https"),
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One of the endpoints, and how it is called."""

    method: str
    path: str
    query: str
    body: bytes
    status: int

    def headers(self, number: int, sampled: float) -> list[tuple[bytes, bytes]]:
        """Return the headers of a request, with a trace position whose flag agrees with the share that is sampled.

        Args:
            number: Which request it is.
            sampled: The share, 0.01 or 1.
        """
        flag = b"01" if number % CYCLE < sampled * CYCLE else b"00"
        parent = f"00-{random_id(2 * number + 1, 128)}-{random_id(2 * number + 2, 64)}-".encode() + flag
        own = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(self.body))] if self.body else []
        return [*HEADERS, (b"traceparent", parent), *own]

    def scope(self, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
        """Return a new ASGI scope, as uvicorn makes it.

        Args:
            headers: They are copied, for some middleware changes them.
        """
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 50000),
            "scheme": "http",
            "root_path": "",
            "method": self.method,
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query.encode(),
            "headers": list(headers),
            "state": {},
        }

    def wire(self, number: int, sampled: float) -> bytes:
        """Return the request as HTTP/1.1 bytes.

        Args:
            number: Which request it is.
            sampled: The share, 0.01 or 1.
        """
        target = f"{self.path}?{self.query}" if self.query else self.path
        lines = [b"%b: %b\r\n" % header for header in self.headers(number, sampled)]
        return b"".join([f"{self.method} {target} HTTP/1.1\r\n".encode(), *lines, b"\r\n", self.body])


ENDPOINTS = {
    "GET": Endpoint("GET", "/items/42", "q=tea", b"", 200),
    "POST": Endpoint("POST", "/items", "", BODY, 201),
}
