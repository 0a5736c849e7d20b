"""Read a service's output as the log lines that the contract promises."""

import json
from typing import Any

from .server import Service
from .wire import eventually

Line = dict[str, Any]


def parse(text: str) -> Line:
    """Return one line of output as a log line."""
    line = json.loads(text)
    assert isinstance(line, dict), f"not an object: {text}"
    return line


def lines(service: Service) -> list[Line]:
    """Return every log line so far; fails when a line of stdout is anything else."""
    return [parse(text) for text in list(service.out)]


def access_lines(service: Service) -> list[Line]:
    """Return the access lines so far."""
    return [line for line in lines(service) if line["event"] == "http.request"]


def access_line(service: Service, request_id: str | None) -> Line:
    """Wait for the access line of one request."""
    found: list[Line] = eventually(lambda: _of(access_lines(service), request_id))
    assert len(found) == 1, f"one access line expected, got {found}"
    return found[0]


def of_request(service: Service, request_id: str | None) -> list[Line]:
    """Wait for the access line of one request and return all its lines."""
    access_line(service, request_id)
    return _of(lines(service), request_id)


def settle(service: Service) -> None:
    """Wait until what was logged so far is there: an answer may be quicker than its lines, which keep their order."""
    access_line(service, service.get("/orders?limit=1").header("X-Request-ID"))


def _of(found: list[Line], request_id: str | None) -> list[Line]:
    return [line for line in found if line.get("request_id") == request_id]
