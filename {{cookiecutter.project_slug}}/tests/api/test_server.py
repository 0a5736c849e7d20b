"""The real process: its port, its signals, its last words."""

import logging
import re
import signal
import socket
import time
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest
import uvicorn

from app.api.__main__ import main
from app.api.application import create_app
from app.serving.http_protocol import MAX_HEAD_BYTES
from app.serving.stopping import REPEATED_SECONDS
from app.settings import Settings

from ..conftest import Log
from ..served import PATIENCE, Process, finish, running, wait_for

API = "app.api"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_stops_cleanly(tmp_path: Path, sent: signal.Signals) -> None:
    """A signal ends the process with 0, and its last line arrives."""
    with running(API, tmp_path) as process:
        process.popen.send_signal(sent)
        assert process.popen.wait(PATIENCE) == 0
        events = [line["event"] for line in process.events()]
    assert "service.stopped" in events
    assert [line["signal"] for line in process.events() if line["event"] == "service.stopping"] == [sent.name]


def test_request_in_flight_finishes(tmp_path: Path) -> None:
    """After SIGTERM a request in flight finishes; until then the service answers, and is not ready."""
    with running(API, tmp_path) as process:
        assert process.status("/readyz") == 200
        connection = process.upload()
        wait_for(lambda: process.status("/livez") == 200)
        process.popen.send_signal(signal.SIGTERM)
        wait_for(lambda: process.status("/readyz") == 503)
        assert process.status("/livez") == 200
        assert finish(connection).startswith(b"HTTP/1.1 201 ")
        assert process.popen.wait(PATIENCE) == 0
        assert process.status("/livez") is None


def test_request_that_never_ends(tmp_path: Path) -> None:
    """A request that does not end in time is told so, and does not keep the process."""
    with running(API, tmp_path, SHUTDOWN_TIMEOUT="3") as process:
        connection = process.upload()
        wait_for(lambda: process.status("/livez") == 200)
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(PATIENCE) == 0
        with connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 503 ")


def test_shutdown_delay(tmp_path: Path) -> None:
    """With a delay the service goes on serving, not ready, so that a load balancer notices."""
    with running(API, tmp_path, SHUTDOWN_DELAY="2") as process:
        process.popen.send_signal(signal.SIGTERM)
        wait_for(lambda: process.status("/readyz") == 503)
        assert process.status("/orders") == 200
        assert process.popen.wait(PATIENCE) == 0


def test_second_signal_ends_at_once(tmp_path: Path) -> None:
    """A second signal does not wait for anybody."""
    with running(API, tmp_path, SHUTDOWN_TIMEOUT="300") as process:
        connection = process.upload()
        wait_for(lambda: process.status("/livez") == 200)
        process.popen.send_signal(signal.SIGTERM)
        wait_for(lambda: process.status("/readyz") == 503)
        time.sleep(2 * REPEATED_SECONDS)
        process.popen.send_signal(signal.SIGTERM)
        with connection:
            assert process.popen.wait(PATIENCE) == 128 + signal.SIGTERM


def test_signal_that_arrives_twice(tmp_path: Path) -> None:
    """A signal that a parent hands on besides is one request to stop: what is in flight finishes."""
    with running(API, tmp_path) as process:
        connection = process.upload()
        wait_for(lambda: process.status("/livez") == 200)
        for _ in range(3):
            process.popen.send_signal(signal.SIGTERM)
        wait_for(lambda: process.status("/readyz") == 503)
        assert finish(connection).startswith(b"HTTP/1.1 201 ")
        assert process.popen.wait(PATIENCE) == 0


def test_idle_connection_does_not_hold_it(tmp_path: Path) -> None:
    """A kept-alive connection without a request does not delay the stop."""
    with running(API, tmp_path, SHUTDOWN_TIMEOUT="300") as process:
        connection = HTTPConnection("127.0.0.1", process.port)
        connection.request("GET", "/livez")
        with connection.getresponse() as response:
            response.read()
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(PATIENCE) == 0
        connection.close()


def test_wrong_setting(tmp_path: Path) -> None:
    """A wrong value ends the start with one message and no traceback."""
    with running(API, tmp_path, PORT="http") as process:
        assert process.popen.wait(PATIENCE) == 1
        assert "PORT: received 'http'" in process.output
        assert "Traceback" not in process.output


def test_layer_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A layer's file that cannot be opened ends the start like a wrong value does."""
    monkeypatch.setenv("LOG__LAYERS", '{"errors": {"sink": "/dev/null"}}')
    assert main() == 1
    assert capsys.readouterr().err.startswith("LOG__LAYERS['errors']: received sink '/dev/null'; it cannot be opened")


def test_uvicorns_own_logging(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever lets uvicorn configure its logging gets its lines in the log, and no others."""
    uvicorn.Config(create_app(Settings()), log_config=uvicorn.config.LOGGING_CONFIG)
    logging.getLogger("uvicorn.error").info("Started")
    logging.getLogger("uvicorn.access").info("GET /")
    assert [line["event"] for line in log.events] == ["Started"]
    assert capfd.readouterr() == ("", "")


def test_port_in_use(tmp_path: Path) -> None:
    """A port that is taken ends the start with 1, and the log says why."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = Process(API, tmp_path, PORT=str(taken.getsockname()[1]))
        assert process.popen.wait(PATIENCE) == 1
        assert "address already in use" in process.output


def test_unknown_method(tmp_path: Path) -> None:
    """A method that HTTP does not know is a problem document too: the server hands it on."""
    with running(API, tmp_path) as process, closing(HTTPConnection("127.0.0.1", process.port, timeout=5)) as connection:
        connection.request("BREW", "/orders", headers={"Connection": "close"})
        with connection.getresponse() as response:
            assert (response.status, response.headers["Allow"]) == (405, "GET, POST")
            assert response.headers["Content-Type"] == "application/problem+json"


def test_head_of_a_request_is_bounded(tmp_path: Path) -> None:
    """Header fields that never end are refused; one request after another, in pieces or not, is served."""
    with (
        running(API, tmp_path) as process,
        socket.create_connection(("127.0.0.1", process.port), timeout=5) as connection,
    ):
        for part in (b"GET /li", b"vez HTTP/1.1\r\nHost: s\r\n\r\n", b"GET /livez HTTP/1.1\r\nHost: s\r\n\r\n"):
            connection.sendall(part)
            time.sleep(0.05)
        received = b""
        while received.count(b'{"status":"ok"}') < 2:
            piece = connection.recv(65536)
            assert piece, received
            received += piece
        assert received.count(b"HTTP/1.1 200 ") == 2
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        with suppress(ConnectionError):
            for number in range(2 * MAX_HEAD_BYTES // 100):
                connection.sendall(b"x-%06d: %s\r\n" % (number, b"x" * 90))
        assert connection.recv(12) == b"HTTP/1.1 400"


@pytest.mark.parametrize(("trusted", "seen"), [('["127.0.0.1"]', "9.9.9.9"), ('["10.0.0.1"]', "127.0.0.1")])
def test_trusted_proxies(tmp_path: Path, trusted: str, seen: str) -> None:
    """A forwarded address is believed only when a trusted proxy says it."""
    with running(API, tmp_path, HTTP__TRUSTED_PROXIES=trusted) as process:
        with closing(HTTPConnection("127.0.0.1", process.port, timeout=5)) as connection:
            connection.request("GET", "/orders", headers={"X-Forwarded-For": "9.9.9.9", "Connection": "close"})
            with connection.getresponse() as response:
                assert response.status == 200
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(PATIENCE) == 0
    assert [line["client_ip"] for line in process.events() if line["event"] == "http.request"] == [seen]


def test_nothing_leaks_between_requests_of_a_connection(tmp_path: Path) -> None:
    """What one request says of itself is on none of the next one's lines, though both use one connection."""
    with running(API, tmp_path) as process:
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


def test_log_lines_are_counted(tmp_path: Path) -> None:
    """The process counts what it logs."""
    with running(API, tmp_path) as process, closing(HTTPConnection("127.0.0.1", process.port, timeout=5)) as connection:
        connection.request("GET", "/metrics", headers={"Connection": "close"})
        with connection.getresponse() as response:
            assert re.search(rb'^log_records_total\{level="info"\} [1-9]', response.read(), re.MULTILINE)


def test_failed_start(tmp_path: Path) -> None:
    """A start that fails ends with 1, and its reason is a line with the exception, not a traceback as text."""
    with running(API, tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}") as process:
        assert process.popen.wait(PATIENCE) == 1
    assert [line["event"] for line in process.events() if "exception" in line] == ["service.failed"]
    assert "Traceback" not in process.output
