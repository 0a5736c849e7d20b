"""Prometheus finds figures that stay few, whatever clients send."""

import re

from .logs import access_line
from .orders import order, placed
from .plans import KEY
from .server import Service, new_id

SAMPLE = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(\{.*\})? (-?[0-9.]+(e[+-]?[0-9]+)?|[+-]Inf|NaN)( [0-9.]+)?")


def _metrics(service: Service) -> str:
    return service.get("/metrics").body.decode()


def test_format(service: Service) -> None:
    """The metrics are Prometheus's text format."""
    response = service.get("/metrics")
    assert response.status == 200
    assert (response.header("Content-Type") or "").startswith("text/plain; version=")
    for line in response.body.decode().splitlines():
        assert not line or line.startswith("#") or SAMPLE.fullmatch(line), line


def test_route_templates(service: Service) -> None:
    """A request is counted under its route's template, not under its path."""
    created, request_id = placed(service), new_id()
    service.get(f"/orders/{created['id']}", ("X-Request-ID", request_id))
    route = access_line(service, request_id)["route"]
    assert created["id"] not in route
    assert f'"{route}"' in _metrics(service)
    assert created["id"] not in _metrics(service)


def test_requests_are_counted(service: Service) -> None:
    """Each request adds one to its route's count."""
    before = _count(service)
    for _ in range(3):
        service.get("/orders?limit=1")
    assert _count(service) == before + 3


def _count(service: Service) -> float:
    samples = [line for line in _metrics(service).splitlines() if "_count{" in line or "_total{" in line]
    found = [line for line in samples if '"/orders"' in line and '"GET"' in line and "200" in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found[:1])


def test_unknown_paths_share_a_label(service: Service) -> None:
    """Paths that nothing serves add no label of their own."""
    service.get("/zq7marker-path")
    size = len(_metrics(service).splitlines())
    for _ in range(20):
        service.get(f"/zq7marker-path/{new_id()}")
    assert "zq7marker" not in _metrics(service)
    assert len(_metrics(service).splitlines()) == size


def test_unknown_methods_share_a_label(service: Service) -> None:
    """Methods that HTTP does not know add no label of their own."""
    service.request("ZQFIRST", "/orders")
    size = len(_metrics(service).splitlines())
    for number in range(20):
        service.request(f"ZQMARKER{number}", "/orders")
    assert "ZQ" not in _metrics(service)
    assert len(_metrics(service).splitlines()) == size


def test_errors_are_counted(service: Service) -> None:
    """A client error shows under its status."""
    service.get("/orders?limit=0")
    assert any('"422"' in line and '"/orders"' in line for line in _metrics(service).splitlines())


def test_idempotency_is_counted(service: Service) -> None:
    """What becomes of requests with a key is counted: new ones, replays, and keys used for another request."""
    before = _idempotency(service)
    for _ in range(5):
        body, key = order(), new_id()
        for _ in range(3):
            service.post("/orders", body, (KEY, key))
        service.post("/orders", order(), (KEY, key))
    after = _idempotency(service)
    grown = sorted(after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0))
    # 5 of 5 run and 5 of 15 are mismatches; a series that counts all of them, or their durations, may stand beside.
    assert grown[:2] == [5, 5], grown
    assert 10 in grown, grown


def _idempotency(service: Service) -> dict[str, float]:
    """Return the counters whose names speak of idempotency."""
    samples = [line.rpartition(" ") for line in _metrics(service).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in samples if "idempoten" in name and "_created" not in name}
