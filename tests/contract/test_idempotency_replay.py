"""A request with a key runs once; repeating it gives the same answer again."""

import gzip
import json
import socket
from functools import partial

import pytest

from .conftest import ON_EACH_STORE, Launch
from .orders import encoded, order, placed, with_sku
from .plans import KEY, Plan, is_replay, keyed
from .problems import assert_problem
from .server import Service, new_id
from .wire import HOST, TIMEOUT, eventually, exchange, flood, head

JSON = ("Content-Type", "application/json")


def _comparable(headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Leave out what belongs to one exchange, and what marks a replay."""
    own = {"date", "x-request-id", "x-trace-id", "idempotent-replayed", "cache-control", "connection"}
    return sorted((name.lower(), value) for name, value in headers if name.lower() not in own)


def test_order_is_placed_once(service: Service) -> None:
    """The same order with the same key is placed once and answered the same, byte for byte."""
    body, key = order(), new_id()
    first, second = (service.post("/orders", body, (KEY, key)) for _ in range(2))
    assert (first.status, is_replay(first), is_replay(second)) == (201, False, True)
    assert (second.status, second.body) == (201, first.body)
    assert second.header("Location") == first.header("Location")
    assert _comparable(second.headers) == _comparable(first.headers)
    assert len(with_sku(service, body["sku"])) == 1


def test_replay_has_its_own_ids(service: Service) -> None:
    """A replay carries the ids of its own request, not those of the first."""
    body, key = order(), new_id()
    first, second = (service.post("/orders", body, (KEY, key)) for _ in range(2))
    assert first.header("X-Request-ID") != second.header("X-Request-ID")
    assert first.header("X-Trace-ID") != second.header("X-Trace-ID")


def test_without_key_each_request_counts(service: Service) -> None:
    """Without a key the same request is another order."""
    body = order()
    for _ in range(2):
        assert not is_replay(service.post("/orders", body))
    assert len(with_sku(service, body["sku"])) == 2


def test_cancel_is_replayed(service: Service) -> None:
    """A repeated cancellation with its key succeeds again instead of failing."""
    path, key = f"/orders/{placed(service)['id']}/cancel", new_id()
    first, second = (service.post(path, None, (KEY, key)) for _ in range(2))
    assert (first.status, second.status, second.body) == (200, 200, first.body)
    assert is_replay(second)
    assert_problem(service.post(path), 409)


def test_refusal_by_the_operation_is_replayed(service: Service) -> None:
    """What the operation answered is stored, refusals included."""
    path, key = f"/orders/{placed(service)['id']}/cancel", new_id()
    assert service.post(path).status == 200
    first, second = (service.post(path, None, (KEY, key)) for _ in range(2))
    assert (first.status, second.status, is_replay(second)) == (409, 409, True)
    assert second.body == first.body
    assert second.header("Content-Type") == "application/problem+json"


def test_invalid_order_is_not_stored(service: Service) -> None:
    """A validation problem leaves the key free for the corrected request."""
    key, body = new_id(), order()
    for _ in range(2):
        response = service.post("/orders", {**body, "quantity": 0}, (KEY, key))
        assert (response.status, is_replay(response)) == (422, False)
    assert service.post("/orders", body, (KEY, key)).status == 201


@pytest.mark.parametrize(
    ("refused", "status"),
    [((b"{", JSON), 400), ((encoded(), ("Content-Type", "text/plain")), 415), ((b" " * 5_000_000, JSON), 413)],
)
def test_unread_request_is_not_stored(service: Service, refused: tuple[bytes, tuple[str, str]], status: int) -> None:
    """A request that never reached its operation leaves the key free."""
    key, (body, kind) = new_id(), refused
    response = service.request("POST", "/orders", headers=[kind, (KEY, key)], body=body)
    assert response.status == status
    response = service.post("/orders", order(), (KEY, key))
    assert (response.status, is_replay(response)) == (201, False)


def test_replay_survives_a_restart(launch: Launch) -> None:
    """The SQL store remembers over a restart."""
    body, key = order(), new_id()
    service = launch()
    first = service.post("/orders", body, (KEY, key))
    service.stop()
    second = launch().post("/orders", body, (KEY, key))
    assert (second.body, is_replay(second)) == (first.body, True)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT"])
def test_other_methods_ignore_the_key(service: Service, method: str) -> None:
    """A key means nothing on other methods, not even a malformed one."""
    for key in ("", new_id(), "a b"):
        response = service.request(method, "/orders", headers=[(KEY, key)])
        assert response.status == (405 if method in ("DELETE", "PUT") else response.status)
        assert response.status != 400
        assert not is_replay(response)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"plain"),
        (204, b""),
        (202, b""),
        (200, bytes(range(256))),
        (200, gzip.compress(b"packed" * 99, mtime=0)),
        (200, b"x" * 500_000),
        (303, b""),
        (404, b"{}"),
        (418, b"tea"),
    ],
)
@ON_EACH_STORE
def test_exact_answer(probe: Service, status: int, body: bytes) -> None:
    """Status, body and end-to-end headers come back as they were, whatever they are."""
    headers = [["ETag", '"v1"'], ["Location", "/x"], ["Content-Type", "application/x-probe"], ["X-Own", "1"]]
    plan, key = Plan(probe.folder, status=status, body=body, headers=headers), new_id()
    first, second = (plan.send(probe, key) for _ in range(2))
    assert (second.status, second.body, is_replay(second)) == (status, body, True)
    assert _comparable(second.headers) == _comparable(first.headers)
    assert plan.runs() == 1


@ON_EACH_STORE
def test_headers_that_are_not_replayed(probe: Service) -> None:
    """A replay never sets the first caller's cookie, and carries no trace of the first exchange."""
    headers = [["Set-Cookie", "session=zq7"], ["traceparent", "00-aa"], ["Cache-Control", "public, max-age=60"]]
    plan, key = Plan(probe.folder, headers=headers), new_id()
    first, second = (plan.send(probe, key) for _ in range(2))
    assert first.header("Set-Cookie") == "session=zq7"
    assert second.header("Set-Cookie") is None
    assert second.header("traceparent") is None
    assert second.all("Cache-Control") == ["no-store"]
    assert len(second.all("Date")) == 1


@ON_EACH_STORE
def test_repeated_headers_are_kept_apart(probe: Service) -> None:
    """Of a header that was given twice both values come again, in as many fields: one where a framework keeps one."""
    plan, key = Plan(probe.folder, headers=[["Link", "</a>"], ["Link", "</b>"]]), new_id()
    first, second = (plan.send(probe, key) for _ in range(2))
    assert ", ".join(first.all("Link")) == "</a>, </b>"
    assert second.all("Link") == first.all("Link")


@ON_EACH_STORE
@pytest.mark.parametrize("kind", ["authentication", "permission", "rate-limit", "infrastructure", "crash"])
def test_passing_failures_are_not_stored(probe: Service, kind: str) -> None:
    """What may pass (401, 403, 429, any 5xx, an exception) is not stored: the next request runs."""
    plan, key = Plan(probe.folder, error=kind), new_id()
    for _ in range(2):
        response = plan.send(probe, key)
        assert not is_replay(response)
        assert_problem(response, response.status)
    assert plan.runs() == 2


@ON_EACH_STORE
@pytest.mark.parametrize("status", [401, 403, 413, 429, 500, 502, 503])
def test_passing_statuses_are_not_stored(probe: Service, status: int) -> None:
    """An operation that answers with such a status has freed its key by the time that the answer is there."""
    for _ in range(20):
        plan, key = Plan(probe.folder, status=status), new_id()
        answers = [plan.send(probe, key) for _ in range(2)]
        assert [(answer.status, is_replay(answer)) for answer in answers] == [(status, False)] * 2
        assert plan.runs() == 2


@ON_EACH_STORE
@pytest.mark.parametrize("kind", ["not-found", "conflict", "rule"])
def test_lasting_errors_are_stored(probe: Service, kind: str) -> None:
    """What the operation decided against stays decided."""
    plan, key = Plan(probe.folder, error=kind), new_id()
    first, second = (plan.send(probe, key) for _ in range(2))
    assert (second.status, second.body, is_replay(second)) == (first.status, first.body, True)
    assert plan.runs() == 1


@ON_EACH_STORE
@pytest.mark.parametrize("chunks", [4, 300])
def test_streamed_answer(probe: Service, chunks: int) -> None:
    """A streamed answer arrives whole, and repeating the request never runs it again in silence."""
    plan, key = Plan(probe.folder, body=b"x" * 10_000, chunks=chunks), new_id()
    first = plan.send(probe, key)
    assert (first.status, len(first.body)) == (200, 10_000 * chunks)
    second = plan.send(probe, key)
    assert second.status in (200, 409)
    assert second.status == 409 or (is_replay(second) and second.body == first.body)
    assert plan.runs() == 1


@ON_EACH_STORE
def test_large_answer(probe: Service) -> None:
    """An answer too large to keep arrives whole, and the operation still runs once."""
    plan, key = Plan(probe.folder, body=b"x" * 100_000, times=30), new_id()
    assert len(plan.send(probe, key).body) == 3_000_000
    assert plan.send(probe, key).status in (200, 409)
    assert plan.runs() == 1


LIMIT = 1024 * 1024


@ON_EACH_STORE
def test_answer_at_the_limit(probe: Service) -> None:
    """An answer of one mebibyte is kept; that of one byte more is not, and repeating its request is refused."""
    for body, status in ((b"x" * 1024, 200), (b"x" * 1025, 409)):
        plan, key = Plan(probe.folder, body=body, times=1024), new_id()
        assert len(plan.send(probe, key).body) == 1024 * len(body)
        second = plan.send(probe, key)
        assert (second.status, is_replay(second)) == (status, status == 200)
        assert status == 409 or second.body == body * 1024
        assert plan.runs() == 1


@ON_EACH_STORE
def test_request_at_the_limit(probe: Service) -> None:
    """A request of one mebibyte reaches its operation whole, and is told from one that differs in its last byte."""
    key, body = new_id(), encoded().ljust(LIMIT)
    send = partial(probe.request, "POST", "/orders", headers=[JSON, (KEY, key)])
    first, second = (send(body=body) for _ in range(2))
    assert (first.status, second.status, is_replay(second)) == (201, 201, True)
    assert_problem(send(body=body[:-1] + b"\n"), 422, "IDEMPOTENCY_KEY_REUSED")


def test_endless_request(probe: Service) -> None:
    """A request without Content-Length that never ends is cut off, with a key as without, and the key stays free."""
    plan, key = Plan(probe.folder), new_id()
    start = head("POST", "/probe/act", [JSON, *keyed(key), ("Transfer-Encoding", "chunked")])
    assert flood(probe.port, start, b"10000\r\n" + b" " * 0x10000 + b"\r\n", 8 * LIMIT).status == 413
    assert not is_replay(plan.send(probe, key))


@ON_EACH_STORE
def test_endless_answer(probe: Service) -> None:
    """Of an answer that is streamed without an end the client has the first part at once; it is never replayed."""
    events = [["Content-Type", "text/event-stream"]]
    plan, key = Plan(probe.folder, body=b"data: 1\n\n", chunks=2, headers=events), new_id()
    plan.document["hold"] = plan.gate.name
    body = json.dumps(plan.document).encode()
    start = head("POST", "/probe/act", [JSON, *keyed(key), ("Content-Length", str(len(body)))])
    with socket.create_connection((HOST, probe.port), timeout=TIMEOUT) as connection:
        connection.sendall(start + body)
        received = b""
        while b"data: 1" not in received:
            received += connection.recv(65536)
        assert_problem(plan.send(probe, key), 409)
        plan.open()
        while received.count(b"data: 1") < 2:
            received += connection.recv(65536)
    assert_problem(plan.send(probe, key), 409)
    assert plan.runs() == 1


@ON_EACH_STORE
def test_work_after_the_answer(probe: Service) -> None:
    """What an operation leaves for after its answer is done once, however often the request is repeated."""
    plan, key = Plan(probe.folder), new_id()
    after = probe.folder / new_id("after")
    plan.document["after"] = after.name
    replays = [is_replay(plan.send(probe, key)) for _ in range(3)]
    assert replays == [False, True, True]
    # Behind it in the queue of a process that works one thing after the other.
    other = Plan(probe.folder)
    other.send(probe, new_id())
    assert eventually(lambda: after.exists() and after.read_text()).count("\n") == 1


@ON_EACH_STORE
def test_patch(probe: Service) -> None:
    """PATCH takes a key as POST does."""
    plan, key = Plan(probe.folder), new_id()
    for replay in (False, True):
        body = b'{"note": "%s"}' % plan.note.name.encode()
        response = probe.request("PATCH", "/probe/act", headers=[JSON, *keyed(key)], body=body)
        assert is_replay(response) is replay
    assert plan.runs() == 1


@ON_EACH_STORE
def test_chunked_request(probe: Service) -> None:
    """A request without Content-Length is the same request as one with it."""
    plan, key = Plan(probe.folder), new_id()
    assert not is_replay(plan.send(probe, key))
    body = json.dumps(plan.document).encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:9], body[9:])) + b"0\r\n\r\n"
    data = head("POST", "/probe/act", [JSON, *keyed(key), ("Transfer-Encoding", "chunked")])
    assert is_replay(exchange(probe.port, data + chunks))
