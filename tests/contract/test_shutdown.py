"""A service that is told to stop finishes what it has begun, and then is gone."""

import signal
import time

import pytest

from .conftest import Launch
from .logs import access_lines, lines
from .orders import encoded
from .server import Service, new_id
from .wire import SlowUpload, eventually, idle_connection

BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)


def _in_flight(service: Service, request_id: str) -> SlowUpload:
    """Begin an order whose body is only half there."""
    upload = SlowUpload(service.port, "/orders", encoded(), [("X-Request-ID", request_id)])
    # The server has taken the connection once it has answered one that came later.
    assert service.get("/livez").status == 200
    return upload


def _assert_draining(service: Service) -> None:
    """Readiness turns 503, and every new connection hears so for as long as a load balancer may take to notice."""
    eventually(lambda: service.readiness() == 503)
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        assert service.readiness() == 503


@BOTH
def test_request_in_flight_finishes(launch: Launch, number: int) -> None:
    """A request in flight is answered, readiness says 503 meanwhile, the process ends with 0 and logs to the end."""
    service, request_id = launch(SHUTDOWN_TIMEOUT="15"), new_id()
    upload = _in_flight(service, request_id)
    service.signal(number)
    _assert_draining(service)
    assert upload.finish().status == 201
    assert service.wait(15) == 0
    assert request_id in [line["request_id"] for line in access_lines(service)]
    assert "stopped" in " ".join(line["event"] for line in lines(service)[-3:])


@BOTH
def test_idle_process_ends(launch: Launch, number: int) -> None:
    """Without requests the process ends at once with 0."""
    service = launch(SHUTDOWN_TIMEOUT="60")
    service.signal(number)
    assert service.wait(15) == 0
    assert "Traceback" not in service.output()


def test_idle_connections_do_not_hold_it(launch: Launch) -> None:
    """Open connections without a request do not delay the end."""
    service = launch(SHUTDOWN_TIMEOUT="60")
    with idle_connection(service.port, "/livez"), idle_connection(service.port, "/orders"):
        service.signal(signal.SIGTERM)
        assert service.wait(15) == 0


def test_requests_are_served_while_draining(launch: Launch) -> None:
    """Until the last request in flight ends, the process lives and serves those that still come."""
    service = launch(SHUTDOWN_TIMEOUT="15")
    upload = _in_flight(service, new_id())
    service.signal(signal.SIGTERM)
    _assert_draining(service)
    assert service.get("/livez").status == 200
    assert service.get("/orders").status == 200
    upload.finish()
    assert service.wait(15) == 0


def test_end_within_the_timeout(launch: Launch) -> None:
    """A request that never ends does not hold the process longer than SHUTDOWN_TIMEOUT."""
    service = launch(SHUTDOWN_TIMEOUT="2")
    upload = _in_flight(service, new_id())
    began = time.monotonic()
    service.signal(signal.SIGTERM)
    assert service.wait(15) == 0
    assert time.monotonic() - began < 10
    upload.abandon()


@pytest.mark.parametrize(
    ("first", "second"),
    [(signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGINT)],
)
def test_second_signal_ends_it_at_once(launch: Launch, first: int, second: int) -> None:
    """A second signal ends the process without waiting for what is in flight."""
    service = launch(SHUTDOWN_TIMEOUT="300")
    upload = _in_flight(service, new_id())
    service.signal(first)
    eventually(lambda: service.readiness() == 503)
    # The same signal at once would be the first one, handed on by a parent such as make.
    time.sleep(0.5)
    service.signal(second)
    service.wait(15)
    upload.abandon()


def test_signal_during_start(prepare: Launch) -> None:
    """A process that is told to stop before it serves stops."""
    service = prepare().spawn()
    eventually(lambda: service.out or service.err or service.readiness())
    service.signal(signal.SIGTERM)
    assert service.wait(15) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    assert "Traceback" not in service.output()


def test_nothing_listens_afterwards(launch: Launch) -> None:
    """After the end nobody answers on the port."""
    service = launch()
    service.stop()
    assert service.readiness() is None


def test_last_line(launch: Launch) -> None:
    """The log goes on to the end: it says that the service is stopped."""
    service = launch()
    before = len(lines(service))
    service.stop()
    assert [line for line in lines(service)[before:] if "stopped" in line["event"]]
