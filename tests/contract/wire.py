"""Speak HTTP to a port, byte for byte where a client library would tidy things up."""

import http.client
import json
import select
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

HOST = "127.0.0.1"
TIMEOUT = 30

HeaderList = Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Response:
    """What came back, with repeated headers kept apart."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Return every value of the header *name*, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """Return the only value of the header *name*, or None."""
        values = self.all(name)
        assert len(values) < 2, f"{name} is repeated: {values}"
        return values[0] if values else None

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


def request(
    port: int,
    method: str,
    path: str,
    *,
    headers: HeaderList = (),
    body: bytes | None = None,
) -> Response:
    """Send one request on a connection of its own."""
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return _read(connection.getresponse())
    finally:
        connection.close()


def exchange(port: int, data: bytes, *, method: str = "POST") -> Response:
    """Send exactly *data* and read one response."""
    with socket.create_connection((HOST, port), timeout=TIMEOUT) as connection:
        connection.sendall(data)
        return read_response(connection, method)


def read_response(connection: socket.socket, method: str = "POST") -> Response:
    """Read the next response from an open socket."""
    answer = http.client.HTTPResponse(connection, method=method)
    answer.begin()
    return _read(answer)


def _read(answer: http.client.HTTPResponse) -> Response:
    return Response(answer.status, tuple(answer.getheaders()), answer.read())


def head(method: str, path: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return the request line and headers, ready to be followed by a body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{k}: {v}" for k, v in headers)]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


class SlowUpload:
    """A POST whose body arrives in two halves, so that it is in flight in between."""

    def __init__(self, port: int, path: str, body: bytes, headers: HeaderList = ()) -> None:
        """Send the head and the first half of *body*."""
        self._rest = body[len(body) // 2 :]
        self._socket = socket.create_connection((HOST, port), timeout=TIMEOUT)
        length = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        self._socket.sendall(head("POST", path, [*headers, *length]))
        self._socket.sendall(body[: len(body) // 2])

    def finish(self) -> Response:
        """Send the second half and return the response."""
        with self._socket:
            self.send_rest()
            return read_response(self._socket)

    def send_rest(self) -> None:
        """Send the second half."""
        self._socket.sendall(self._rest)

    def abandon(self) -> None:
        """Go away without a word."""
        self._socket.close()


def flood(port: int, start: bytes, chunk: bytes, limit: int) -> Response:
    """Send *start* and then *chunk* until the server answers; it need not read to the end."""
    with socket.create_connection((HOST, port), timeout=TIMEOUT) as connection:
        connection.sendall(start)
        sent = 0
        # Time to answer after each chunk: bytes that cross with an answer reset the connection, and the answer is lost.
        while sent < limit and not select.select([connection], [], [], 0.02)[0]:
            connection.sendall(chunk)
            sent += len(chunk)
        assert sent < limit, f"{sent} bytes were taken without an answer"
        return read_response(connection)


@contextmanager
def idle_connection(port: int, path: str) -> Iterator[socket.socket]:
    """Keep a connection open after one finished request."""
    with socket.create_connection((HOST, port), timeout=TIMEOUT) as connection:
        connection.sendall(head("GET", path))
        assert read_response(connection, "GET").status == 200
        yield connection


def eventually(check: Any, *, within: float = 15, every: float = 0.05) -> Any:
    """Call *check* until it returns something true, and return that; fail after *within* seconds."""
    end = time.monotonic() + within
    while not (result := check()):
        assert time.monotonic() < end, f"{check} stayed {result!r} for {within} s"
        time.sleep(every)
    return result
