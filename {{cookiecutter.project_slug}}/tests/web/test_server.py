"""The real process, whichever server it is: its port, its signals, its last words."""

import re
import signal
import socket
import time
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from app.serving.stopping import REPEATED_SECONDS
from app.web.__main__ import main

from ..served import BODY, PATIENCE, Process, finish, running, wait_for

WEB = "app.web"
JSON = "Content-Type: application/json"
ON_EACH_SERVER = pytest.mark.parametrize("server", ["gthread", "asgi", "uvicorn"])
ON_EACH_INTERFACE = pytest.mark.parametrize("server", ["gthread", "uvicorn"])


def converse(process: Process, *parts: str, body: bytes = b"") -> bytes:
    """Send lines of a request and whatever follows them, and return all that comes until the connection ends."""
    with closing(process.connection()) as connection:
        connection.sendall("".join(f"{part}\r\n" for part in (*parts, "")).encode() + body)
        received = b""
        while data := connection.recv(65536):
            received += data
    return received


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@ON_EACH_SERVER
def test_stops_cleanly(tmp_path: Path, server: str, sent: signal.Signals) -> None:
    """A signal ends the process with 0, its last line arrives, and every line has the service's shape."""
    with running(WEB, tmp_path, WEB__SERVER=server) as process:
        process.popen.send_signal(sent)
        assert process.popen.wait(PATIENCE) == 0
        events = [line["event"] for line in process.events()]
    assert "service.started" in events
    assert "service.stopped" in events
    assert [line["signal"] for line in process.events() if line["event"] == "service.stopping"] == [sent.name]


@ON_EACH_SERVER
def test_request_in_flight_finishes(tmp_path: Path, server: str) -> None:
    """After SIGTERM a request in flight finishes; until then the service answers, and is not ready."""
    with running(WEB, tmp_path, WEB__SERVER=server) as process:
        assert process.status("/readyz") == 200
        connection = process.upload()
        wait_for(lambda: process.status("/livez") == 200)
        process.popen.send_signal(signal.SIGTERM)
        wait_for(lambda: process.status("/readyz") == 503)
        assert process.status("/livez") == 200
        assert finish(connection).startswith(b"HTTP/1.1 201 ")
        assert process.popen.wait(PATIENCE) == 0
        assert process.status("/livez") is None


@ON_EACH_SERVER
def test_request_that_never_ends(tmp_path: Path, server: str) -> None:
    """A request that does not end in time is told so, and does not keep the process."""
    with running(WEB, tmp_path, WEB__SERVER=server, SHUTDOWN_TIMEOUT="5") as process:
        connection = process.upload()
        wait_for(lambda: process.status("/livez") == 200)
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(PATIENCE) == 0
        with connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 503 ")


@ON_EACH_SERVER
def test_shutdown_delay(tmp_path: Path, server: str) -> None:
    """With a delay the service goes on serving, not ready, so that a load balancer notices."""
    with running(WEB, tmp_path, WEB__SERVER=server, SHUTDOWN_DELAY="2") as process:
        process.popen.send_signal(signal.SIGTERM)
        wait_for(lambda: process.status("/readyz") == 503)
        assert process.status("/orders") == 200
        assert process.popen.wait(PATIENCE) == 0


@ON_EACH_SERVER
def test_second_signal_ends_at_once(tmp_path: Path, server: str) -> None:
    """A second signal does not wait for anybody, and leaves nothing behind."""
    with running(WEB, tmp_path, WEB__SERVER=server, SHUTDOWN_TIMEOUT="300") as process:
        connection = process.upload()
        wait_for(lambda: process.status("/livez") == 200)
        process.popen.send_signal(signal.SIGTERM)
        wait_for(lambda: process.status("/readyz") == 503)
        time.sleep(2 * REPEATED_SECONDS)
        process.popen.send_signal(signal.SIGINT)
        with connection:
            assert process.popen.wait(PATIENCE) == 128 + signal.SIGINT
        assert process.status("/livez") is None


@ON_EACH_SERVER
def test_signal_that_arrives_twice(tmp_path: Path, server: str) -> None:
    """A signal that a parent hands on besides is one request to stop: what is in flight finishes."""
    with running(WEB, tmp_path, WEB__SERVER=server) as process:
        connection = process.upload()
        wait_for(lambda: process.status("/livez") == 200)
        for _ in range(3):
            process.popen.send_signal(signal.SIGTERM)
        wait_for(lambda: process.status("/readyz") == 503)
        assert finish(connection).startswith(b"HTTP/1.1 201 ")
        assert process.popen.wait(PATIENCE) == 0


@ON_EACH_SERVER
def test_connections_without_a_request_do_not_hold_it(tmp_path: Path, server: str) -> None:
    """Neither a kept-alive connection, nor a new one, nor half a request line delays the stop."""
    with running(WEB, tmp_path, WEB__SERVER=server, SHUTDOWN_TIMEOUT="300") as process:
        kept = HTTPConnection("127.0.0.1", process.port)
        kept.request("GET", "/livez")
        with kept.getresponse() as response:
            response.read()
        with closing(kept), closing(process.connection()), closing(process.connection()) as begun:
            begun.sendall(b"GET /liv")
            process.popen.send_signal(signal.SIGTERM)
            assert process.popen.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"PORT": "http"}, "PORT: received 'http'"),
        ({"WEB__SERVER": "wsgiref"}, "WEB__SERVER: received 'wsgiref'"),
        ({"HTTP__MIDDLEWARE": '["zq"]'}, "HTTP__MIDDLEWARE: received ['zq']"),
    ],
)
def test_wrong_setting(tmp_path: Path, wrong: dict[str, str], message: str) -> None:
    """A wrong value ends the start with one message and no traceback, also one that only Django's settings look at."""
    with running(WEB, tmp_path, **wrong) as process:
        assert process.popen.wait(PATIENCE) == 1
        assert message in process.output
        assert process.output.count("received") == 1
        assert "Traceback" not in process.output


def test_layer_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A layer's file that cannot be opened ends the start like a wrong value does."""
    monkeypatch.setenv("LOG__LAYERS", '{"errors": {"sink": "/dev/null"}}')
    assert main() == 1
    assert capsys.readouterr().err.startswith("LOG__LAYERS['errors']: received sink '/dev/null'; it cannot be opened")


@ON_EACH_INTERFACE
def test_port_in_use(tmp_path: Path, server: str) -> None:
    """A port that is taken ends the start with 1, and the log says why."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = Process(WEB, tmp_path, WEB__SERVER=server, PORT=str(taken.getsockname()[1]))
        assert process.popen.wait(PATIENCE) == 1
        assert "address already in use" in process.output.lower()
        assert process.events()


@ON_EACH_SERVER
def test_failed_start(tmp_path: Path, server: str) -> None:
    """A start that fails ends with 1, and its reason is a line with the exception, not a traceback as text."""
    with running(WEB, tmp_path, WEB__SERVER=server, DATABASE_URL=f"sqlite:///{tmp_path}") as process:
        assert process.popen.wait(PATIENCE) == 1
    assert [line["event"] for line in process.events() if "exception" in line] == ["service.failed"]
    assert "Traceback" not in process.output


@ON_EACH_SERVER
def test_requests_of_one_connection(tmp_path: Path, server: str) -> None:
    """Requests follow each other on a connection: in pieces, without a body, with one whose length nobody knows."""
    with running(WEB, tmp_path, WEB__SERVER=server) as process, closing(process.connection()) as connection:
        for part in (b"GET /li", b"vez HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            connection.sendall(part)
            time.sleep(0.05)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"HEAD /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).endswith(b"\r\n\r\n")
        connection.sendall(
            b"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for part in (BODY[:10], BODY[10:], b""):
            connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
            time.sleep(0.05)
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")


@ON_EACH_SERVER
def test_client_that_waits_before_it_sends(tmp_path: Path, server: str) -> None:
    """A client that asks whether to send its body is told to."""
    head = ["POST /orders HTTP/1.1", "Host: localhost", JSON, f"Content-Length: {len(BODY)}", "Expect: 100-continue"]
    with running(WEB, tmp_path, WEB__SERVER=server) as process, closing(process.connection()) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(BODY)
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")


@ON_EACH_SERVER
def test_what_is_no_request(tmp_path: Path, server: str) -> None:
    """Bytes that are no request are refused in plain text, and are one line of the log without what they were."""
    with running(WEB, tmp_path, WEB__SERVER=server) as process:
        for line in ("GET /livez zq7", "GET /livez HTTP/1.1\r\nzq7 zq7: 1", "POST / HTTP/1.1\r\nContent-Length: zq7"):
            answer = converse(process, line, "Host: localhost")
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert b"html" not in answer
        assert process.status("/livez") == 200
        assert "zq7" not in process.output
        assert process.events()


@ON_EACH_SERVER
def test_unknown_method(tmp_path: Path, server: str) -> None:
    """A method that HTTP does not know is a problem document too: the server hands it on."""
    with running(WEB, tmp_path, WEB__SERVER=server) as process:
        answer = converse(process, "BREW /orders HTTP/1.1", "Host: localhost", "Connection: close").lower()
        assert answer.startswith(b"http/1.1 405 ")
        assert b"application/problem+json" in answer


@ON_EACH_SERVER
def test_head_of_a_request_is_bounded(tmp_path: Path, server: str) -> None:
    """Header fields that never end are refused."""
    with running(WEB, tmp_path, WEB__SERVER=server) as process, closing(process.connection()) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        with suppress(ConnectionError):
            for number in range(20_000):
                connection.sendall(b"x-%06d: %s\r\n" % (number, b"x" * 90))
        with suppress(ConnectionError):
            assert re.match(rb"HTTP/1.1 4\d\d ", connection.recv(65536))
        assert process.status("/livez") == 200


@ON_EACH_SERVER
def test_repeated_key(tmp_path: Path, server: str) -> None:
    """Two keys are none, also when together they would read as one."""
    with running(WEB, tmp_path, WEB__SERVER=server) as process:
        answer = converse(
            process,
            "POST /orders HTTP/1.1",
            "Host: localhost",
            "Connection: close",
            JSON,
            f"Content-Length: {len(BODY)}",
            'Idempotency-Key: "a',
            'Idempotency-Key: b"',
            body=BODY,
        )
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"IDEMPOTENCY_KEY" in answer


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [("Content-Length: 500", BODY, None), ("Transfer-Encoding: chunked", b"zq\r\n", b"HTTP/1.1 400 ")],
)
@ON_EACH_INTERFACE
def test_body_that_is_not_whole(tmp_path: Path, server: str, coding: str, body: bytes, status: bytes | None) -> None:
    """Of a body that ends too early, or is not encoded as was said, no part is taken for the whole."""
    with running(WEB, tmp_path, WEB__SERVER=server) as process:
        with closing(process.connection()) as connection:
            head = ["POST /orders HTTP/1.1", "Host: localhost", JSON, coding, "", ""]
            connection.sendall("\r\n".join(head).encode() + body)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536)
            assert answer.startswith(status) if status else not answer.startswith(b"HTTP/1.1 201 ")
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(PATIENCE) == 0
        assert "order.placed" not in process.output
        assert not [line for line in process.events() if line["level"] == "error"]


@pytest.mark.parametrize(("trusted", "seen"), [('["127.0.0.1"]', "9.9.9.9"), ('["10.0.0.1"]', "127.0.0.1")])
@ON_EACH_SERVER
def test_trusted_proxies(tmp_path: Path, server: str, trusted: str, seen: str) -> None:
    """A forwarded address is believed only when a trusted proxy says it."""
    with running(WEB, tmp_path, WEB__SERVER=server, HTTP__TRUSTED_PROXIES=trusted) as process:
        head = ["GET /orders HTTP/1.1", "Host: localhost", "Connection: close", "X-Forwarded-For: 9.9.9.9"]
        assert converse(process, *head).startswith(b"HTTP/1.1 200 ")
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(PATIENCE) == 0
    assert [line["client_ip"] for line in process.events() if line["event"] == "http.request"] == [seen]


@ON_EACH_SERVER
def test_nothing_leaks_between_requests_of_a_connection(tmp_path: Path, server: str) -> None:
    """What one request says of itself is on none of the next one's lines, though both use one connection."""
    with running(WEB, tmp_path, WEB__SERVER=server, WEB__THREADS="1") as process:
        with closing(HTTPConnection("127.0.0.1", process.port, timeout=5)) as connection:
            for headers in ({"X-Request-ID": "r1", "X-Correlation-ID": "c1", "User-Agent": "first"}, {}):
                connection.request("GET", "/orders", headers=headers)
                with connection.getresponse() as response:
                    response.read()
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(PATIENCE) == 0
    first, second = (line for line in process.events() if line["event"] == "http.request")
    assert (first["request_id"], first["correlation_id"], first["user_agent"]) == ("r1", "c1", "first")
    assert "correlation_id" not in second
    assert second["request_id"] != "r1"
    assert second["trace_id"] != first["trace_id"]
    assert second["user_agent"] is None


@ON_EACH_SERVER
def test_log_lines_are_counted(tmp_path: Path, server: str) -> None:
    """The process counts what it logs."""
    with running(WEB, tmp_path, WEB__SERVER=server) as process:
        answer = converse(process, "GET /metrics HTTP/1.1", "Host: localhost", "Connection: close")
        assert re.search(rb'^log_records_total\{level="info"\} [1-9]', answer, re.MULTILINE)
