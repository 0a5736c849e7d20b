"""Each request leaves one line that says what was asked, by whom, and how it went."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from .conftest import Launch
from .logs import Line, access_line, access_lines, lines, of_request, settle
from .orders import encoded, placed
from .server import Service, new_id
from .wire import SlowUpload

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|\+00:00)")
EVERY_LINE = {"timestamp", "level", "logger", "event", "service", "environment", "version"}
EVERY_REQUEST = EVERY_LINE | {
    "method",
    "route",
    "path",
    "status_code",
    "duration_ms",
    "client_ip",
    "user_agent",
    "request_id",
    "trace_id",
    "span_id",
    "domain",
    "action",
    "status",
}


def _ask(service: Service, method: str, path: str, *headers: tuple[str, str], body: bytes | None = None) -> Line:
    """Send a request and return its access line."""
    request_id = new_id()
    kind = [("Content-Type", "application/json")] if body is not None else []
    service.request(method, path, headers=[*headers, *kind, ("X-Request-ID", request_id)], body=body)
    return access_line(service, request_id)


def test_every_line(service: Service) -> None:
    """Every line, start-up included, says when, how grave, from where and by which service."""
    placed(service)
    settle(service)
    found = lines(service)
    assert found
    for line in found:
        assert set(line) >= EVERY_LINE, line
        assert TIMESTAMP.fullmatch(line["timestamp"]), line
        assert line["level"] in {"debug", "info", "warning", "error", "critical"}, line


def test_nothing_beside_the_log(service: Service) -> None:
    """The service prints nothing but log lines."""
    placed(service)
    service.get("/nowhere")
    settle(service)
    assert lines(service)
    assert service.err == []


def test_all_fields(service: Service) -> None:
    """An access line has every field."""
    line = _ask(service, "GET", "/orders?limit=1", ("User-Agent", "contract/1"))
    assert not EVERY_REQUEST - set(line)
    assert (line["method"], line["route"], line["path"]) == ("GET", "/orders", "/orders")
    assert (line["status_code"], line["status"], line["level"]) == (200, "success", "info")
    assert (line["client_ip"], line["user_agent"]) == ("127.0.0.1", "contract/1")
    assert 0 <= line["duration_ms"] < 60_000


def test_time_is_now(service: Service) -> None:
    """A line's timestamp is the current time in UTC."""
    logged = datetime.fromisoformat(_ask(service, "GET", "/orders")["timestamp"])
    assert abs(datetime.now(UTC) - logged) < timedelta(minutes=1)


def test_route_is_the_template(service: Service) -> None:
    """The route is the template, the path is what was asked."""
    order_id = placed(service)["id"]
    line = _ask(service, "GET", f"/orders/{order_id}")
    assert line["path"] == f"/orders/{order_id}"
    assert re.fullmatch(r"/orders/\{\w+\}", line["route"])


def test_unknown_path_has_no_template(service: Service) -> None:
    """A path that nothing serves is not taken for a template."""
    line = _ask(service, "GET", "/zq7marker")
    assert line["path"] == "/zq7marker"
    assert line["route"] != "/zq7marker"
    assert (line["status_code"], line["status"], line["level"]) == (404, "client_error", "info")


@pytest.mark.parametrize(
    ("method", "path", "body", "status_code"),
    [
        ("POST", "/orders", encoded(), 201),
        ("POST", "/orders", b"{", 400),
        ("POST", "/orders", b"{}", 422),
        ("DELETE", "/orders", None, 405),
        ("GET", "/orders/00000000-0000-4000-8000-000000000000", None, 404),
    ],
)
def test_status(service: Service, method: str, path: str, body: bytes | None, status_code: int) -> None:
    """The line's status sums up the status code."""
    line = _ask(service, method, path, body=body)
    assert line["status_code"] == status_code
    assert line["status"] == ("success" if status_code < 300 else "client_error")


def test_known_route_on_refusal(service: Service) -> None:
    """A request that is refused before its operation is still logged under its route."""
    assert _ask(service, "POST", "/orders", body=b"{")["route"] == "/orders"
    assert _ask(service, "DELETE", "/orders")["route"] == "/orders"


def test_ids_match_the_response(service: Service) -> None:
    """The line carries the ids that the client was told, and the server's own span."""
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    response = service.get("/orders", ("traceparent", f"00-{trace}-{parent}-01"))
    line = access_line(service, response.header("X-Request-ID"))
    assert line["trace_id"] == trace == response.header("X-Trace-ID")
    assert re.fullmatch("[0-9a-f]{16}", line["span_id"])
    assert line["span_id"] != parent


def test_one_line_per_request(service: Service) -> None:
    """Each request has exactly one access line, however it ends."""
    ids = [new_id() for _ in range(20)]
    for request_id in ids:
        service.get("/orders?limit=1", ("X-Request-ID", request_id))
    access_line(service, ids[-1])
    logged = [line["request_id"] for line in access_lines(service)]
    assert [request_id for request_id in logged if request_id in ids] == ids


def test_no_second_access_log(service: Service) -> None:
    """The server's own access log is silent: nobody else logs the request at its end."""
    response = service.get("/orders?limit=7")
    found = of_request(service, response.header("X-Request-ID"))
    assert [line["event"] for line in found] == ["http.request"]
    assert not [line for line in lines(service) if line["logger"] == "uvicorn.access"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_health_paths_are_left_out(service: Service, path: str) -> None:
    """Health and metrics requests leave no line."""
    service.get(path)
    placed(service)
    _ask(service, "GET", "/orders")
    assert path not in [line["path"] for line in access_lines(service)]


def test_crash_is_logged_once(probe: Service) -> None:
    """A crash is logged once, with its frames, and its access line is an error."""
    response = probe.post("/probe/crash")
    found = of_request(probe, response.header("X-Request-ID"))
    access = [line for line in found if line["event"] == "http.request"]
    assert [(line["level"], line["status_code"], line["status"]) for line in access] == [("error", 500, "server_error")]
    (exception,) = [line["exception"] for line in found if line.get("exception")]
    assert exception[-1]["type"].endswith("RuntimeError")
    assert exception[-1]["frames"]
    assert {line["trace_id"] for line in found} == {response.header("X-Trace-ID")}


def test_crash_shows_no_local_variables(probe: Service) -> None:
    """The frames of an exception come without the values of variables."""
    response = probe.post("/probe/crash")
    of_request(probe, response.header("X-Request-ID"))
    assert "zq7local" not in probe.output()


def test_cause_is_logged(probe: Service) -> None:
    """An exception's cause is logged before it: the innermost comes last."""
    response = probe.post("/probe/crash-with-cause")
    found = of_request(probe, response.header("X-Request-ID"))
    (exception,) = [line["exception"] for line in found if line.get("exception")]
    assert [link["type"].rsplit(".", 1)[-1] for link in exception] == ["RuntimeError", "KeyError"]


def test_context_does_not_leak(service: Service) -> None:
    """A line outside any request carries no request's ids."""
    response = service.get("/orders")
    access_line(service, response.header("X-Request-ID"))
    start = [line for line in lines(service) if line["event"] != "http.request"]
    assert not [line for line in start if line.get("request_id") == response.header("X-Request-ID")]


def test_client_goes_away(service: Service) -> None:
    """A client that goes away in the middle of its body leaves one line, and no exception."""
    request_id = new_id()
    SlowUpload(service.port, "/orders", encoded(), [("X-Request-ID", request_id)]).abandon()
    found = of_request(service, request_id)
    assert len([line for line in found if line["event"] == "http.request"]) == 1
    assert not [line for line in found if line.get("exception")]


def test_names_come_from_settings(launch: Launch) -> None:
    """The service's name, version and environment are the settings'."""
    service = launch(SERVICE_NAME="billing", SERVICE_VERSION="7.8.9", ENVIRONMENT="test")
    line = _ask(service, "GET", "/orders")
    assert (line["service"], line["version"], line["environment"]) == ("billing", "7.8.9", "test")


def test_level(launch: Launch) -> None:
    """A level silences what lies below it."""
    service = launch(LOG__LEVEL="ERROR")
    service.get("/orders")
    service.stop()
    assert lines(service) == []


def test_level_of_one_logger(launch: Launch) -> None:
    """A level of one logger silences that logger, and no other."""
    service = launch()
    name = _ask(service, "GET", "/orders")["logger"]
    service.stop()
    silenced = launch(LOG__LEVELS=json.dumps({name: "CRITICAL"}))
    silenced.get("/orders")
    silenced.stop()
    assert access_lines(silenced) == []
    assert lines(silenced)
