"""Health and metrics of a process that answers nothing else: the same answers as over HTTP, and nobody holds it up."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse

import pytest

from app.core.health import CheckResult, Report, Status
from app.serving import admin_server
from app.serving.admin_server import AdminServer
from app.settings import ConfigurationError

from ..conftest import Log

HOST = "127.0.0.1"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Numbers:
    """Stands for the series."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"
    fails = False

    def render(self) -> bytes:
        """Return the exposition."""
        if self.fails:
            msg = "no numbers"
            raise RuntimeError(msg)
        return b"orders_total 1\n"


def received(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


class Served:
    """A server and what it tells.

    Attributes:
        status: What readiness says.

    """

    def __init__(self) -> None:
        self.status = Status.OK
        self.numbers = Numbers()
        self.server = AdminServer(HOST, 0, ready=self._report, metrics=self.numbers)

    def _report(self) -> Report:
        return Report(self.status, (CheckResult("broker", self.status, 0.25),))

    def ask(self, method: str, path: str, **headers: str) -> tuple[HTTPResponse, bytes]:
        """Return an answer and its body."""
        with closing(HTTPConnection(HOST, self.server.port, timeout=10)) as connection:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response, response.read()

    def send(self, sent: bytes) -> bytes:
        """Return what is answered to these bytes."""
        with socket.create_connection((HOST, self.server.port), timeout=10) as connection:
            connection.sendall(sent)
            return received(connection)


@pytest.fixture
def served() -> Iterator[Served]:
    """Return a server that answers."""
    served = Served()
    with served.server.serving():
        yield served


def test_live(served: Served) -> None:
    """Liveness says that the process is there, whatever readiness says."""
    served.status = Status.FAILED
    response, body = served.ask("GET", "/livez?verbose")
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == {"status": "ok"}


@pytest.mark.parametrize(
    ("status", "code"),
    [(Status.OK, 200), (Status.DEGRADED, 200), (Status.FAILED, 503), (Status.SHUTTING_DOWN, 503)],
)
def test_ready(served: Served, status: Status, code: int) -> None:
    """Readiness has the checks, and a status that says whether work may come."""
    served.status = status
    response, body = served.ask("GET", "/readyz")
    assert (response.status, response.headers["cache-control"]) == (code, "no-store")
    check = {"name": "broker", "status": status.value, "duration": 0.25, "required": True}
    assert json.loads(body) == {"status": status.value, "checks": [check]}


def test_metrics(served: Served) -> None:
    """The series are there in Prometheus's format."""
    response, body = served.ask("GET", "/metrics")
    assert (response.status, response.headers["content-type"], body) == (200, Numbers.content_type, b"orders_total 1\n")


def test_metrics_are_switched_off() -> None:
    """Where they are switched off they are not there."""
    server = AdminServer(HOST, 0, ready=lambda: Report(Status.OK, ()))
    served = Served()
    served.server.close()
    served.server = server
    with server.serving():
        assert served.ask("GET", "/metrics")[0].status == 404


def test_head(served: Served) -> None:
    """HEAD has the headers of GET, and no body."""
    response, body = served.ask("HEAD", "/metrics")
    assert (response.status, response.headers["content-length"], body) == (200, "15", b"")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/orders", 404, "NOT_FOUND"),
        ("GET", "/livez/", 404, "NOT_FOUND"),
        ("POST", "/livez", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/readyz", 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_problems(served: Served, method: str, path: str, status: int, code: str) -> None:
    """What is not there is a problem document with the ids of the answer."""
    response, body = served.ask(method, path, **{"x-request-id": "r-1", "traceparent": TRACEPARENT})
    problem = json.loads(body)
    assert (response.status, response.headers["content-type"]) == (status, "application/problem+json")
    assert (problem["status"], problem["code"], problem["instance"]) == (status, code, path)
    assert problem["request_id"] == response.headers["x-request-id"] == "r-1"
    assert problem["trace_id"] == response.headers["x-trace-id"] == TRACEPARENT.split("-")[1]
    assert (response.headers.get("allow") == "GET, HEAD") is (status == 405)


def test_failure(served: Served, log: Log) -> None:
    """A view that fails is a 500 that tells nothing, and a line in the log."""
    served.numbers.fails = True
    response, body = served.ask("GET", "/metrics")
    assert (response.status, json.loads(body)["code"]) == (500, "INTERNAL_ERROR")
    assert b"no numbers" not in body
    assert log.named("admin.failed")[0]["path"] == "/metrics"


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET /livez\r\n\r\n",
        b"GET livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nx: " + b"a" * 20_000 + b"\r\n\r\n",
        b"\xff" * 20_000,
    ],
)
def test_malformed(served: Served, sent: bytes) -> None:
    """What is no request, or too large, is answered 400; the next one is served."""
    assert served.send(sent).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert served.ask("GET", "/livez")[0].status == 200


def test_body_is_not_waited_for(served: Served) -> None:
    """A request with a body that never comes is answered."""
    sent = b"GET /livez HTTP/1.1\r\ncontent-length: 1000000\r\n\r\nhalf"
    assert served.send(sent).endswith(b'{"status":"ok"}')


def test_slow_caller(monkeypatch: pytest.MonkeyPatch, served: Served) -> None:
    """A caller that sends no request in time is let go, however it dribbles."""
    monkeypatch.setattr(admin_server, "SECONDS", 0.1)
    with socket.create_connection((HOST, served.server.port), timeout=10) as connection:
        connection.sendall(b"GET /livez HT")
        assert connection.recv(1) == b""


def test_too_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number of connections further ones are let go, and served again when there is room."""
    monkeypatch.setattr(admin_server, "MAX_CONNECTIONS", 2)
    served = Served()
    with served.server.serving():
        waiting = [socket.create_connection((HOST, served.server.port), timeout=10) for _ in range(2)]
        with socket.create_connection((HOST, served.server.port), timeout=10) as late:
            assert late.recv(1) == b""
        for connection in waiting:
            connection.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
            assert b"200 OK" in received(connection)
            connection.close()


def test_port_is_taken(served: Served) -> None:
    """A port that somebody else has stops the start, and the message names the setting."""
    with pytest.raises(ConfigurationError, match=rf"^ADMIN_PORT: received {served.server.port}, .* allowed: a port"):
        AdminServer(HOST, served.server.port, ready=lambda: Report(Status.OK, ()))


def test_address_of_another_machine() -> None:
    """So does an address that is not this machine's."""
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1"):
        AdminServer("192.0.2.1", 0, ready=lambda: Report(Status.OK, ()))


def test_nobody_listens_afterwards(served: Served) -> None:
    """After its end the port is free."""
    port = served.server.port
    served.server.close()
    AdminServer(HOST, port, ready=lambda: Report(Status.OK, ())).close()


@pytest.mark.skipif(sys.platform == "win32", reason="it has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked_child_does_not_listen(served: Served) -> None:
    """A forked child has no part in the port; its parent goes on."""
    pid = os.fork()
    if not pid:
        os._exit(0 if served.server._listener.fileno() < 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert served.ask("GET", "/livez")[0].status == 200
