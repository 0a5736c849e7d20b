"""A neighbour that the service calls, and what it sees of the trace (https://www.w3.org/TR/trace-context-2/)."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .server import Service
from .wire import exchange, head

TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Seen:
    """The trace context of one call that the service made."""

    trace_id: str
    parent_id: str
    flags: int
    members: Pairs

    @property
    def state(self) -> dict[str, str]:
        """The members of tracestate, the first of two with one key."""
        return dict(reversed(self.members))

    @classmethod
    def of(cls, headers: Pairs) -> "Seen":
        """Read the context from the headers of a call, which must carry one valid traceparent."""
        (traceparent,) = [value for name, value in headers if name.lower() == "traceparent"]
        match = TRACEPARENT.fullmatch(traceparent)
        assert match, traceparent
        joined = ",".join(value for name, value in headers if name.lower() == "tracestate")
        members = [member.partition("=") for member in joined.split(",") if member]
        return cls(match[1], match[2], int(match[3], 16), [(key, value) for key, _, value in members])


@dataclass
class Neighbour:
    """An HTTP server on a thread that keeps the headers and the body of every call."""

    calls: list[Pairs] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @contextmanager
    def listening(self) -> Iterator["Neighbour"]:
        """Listen within the block."""
        neighbour = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                neighbour.calls.append(list(self.headers.items()))
                neighbour.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.url = f"http://127.0.0.1:{server.server_port}/"
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            yield self
            server.shutdown()
            thread.join()

    def seen_through(self, service: Service, headers: Pairs, count: int = 1) -> list[Seen]:
        """Send *headers* to the service, have it call here *count* times, and return what arrives."""
        self.calls.clear()
        calls = json.dumps([{"url": self.url, "arguments": []}] * count).encode()
        start = head(
            "POST",
            "/test",
            [*headers, ("Content-Type", "application/json"), ("Content-Length", str(len(calls)))],
        )
        response = exchange(service.port, start + calls)
        assert response.status == 200, response
        assert len(self.calls) == count
        return [Seen.of(call) for call in self.calls]
