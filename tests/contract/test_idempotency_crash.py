"""What was running when something died is neither lost for ever nor done twice."""

import json
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from .conftest import Environment, Launch
from .orders import database, idempotency_tables, order, orders_table, with_sku
from .plans import KEY, Plan, is_replay, keyed
from .problems import assert_problem, assert_retry_after
from .server import Service, new_id
from .wire import Response, SlowUpload, eventually

IN_PROGRESS = "IDEMPOTENCY_IN_PROGRESS"
LEASE = "3"


def _left_running(service: Service, plan: Plan, key: str) -> Future[Response]:
    """Send a plan that waits, and return once its operation runs."""
    pool = ThreadPoolExecutor(1)
    sent = pool.submit(plan.send, service, key)
    eventually(plan.runs)
    pool.shutdown(wait=False)
    return sent


def _once_free(plan: Plan, service: Service, key: str) -> Response:
    """Repeat the request until it is no longer refused as running."""
    refused = []

    def ask() -> Response | None:
        response = plan.send(service, key)
        if response.status != 409:
            return response
        refused.append(assert_problem(response, 409, IN_PROGRESS))
        assert_retry_after(response)
        return None

    response: Response = eventually(ask)
    assert refused, "the key was free before the lease ended"
    return response


def test_killed_process(launch: Launch) -> None:
    """A key whose process died is refused until its lease ends; then one request runs it."""
    first, second = (launch(probes=True, IDEMPOTENCY__LEASE=LEASE) for _ in range(2))
    plan, key = Plan(first.folder, wait=True), new_id()
    sent = _left_running(first, plan, key)
    first.kill()
    assert sent.exception() is not None
    plan.open()
    assert not is_replay(_once_free(plan, second, key))
    assert is_replay(plan.send(second, key))
    assert plan.runs() == 2


def test_many_after_a_killed_process(launch: Launch, shared: Environment) -> None:
    """When a dead process's lease ends, of many equal requests at once one runs."""
    first, *services = (launch(probes=True, IDEMPOTENCY__LEASE=LEASE, **shared) for _ in range(3))
    plan, key = Plan(first.folder, wait=True), new_id()
    _left_running(first, plan, key)
    first.kill()
    plan.open()
    with ThreadPoolExecutor(10) as pool:
        responses = list(pool.map(lambda n: _until_run(plan, services[n % 2], key), range(10)))
    assert [response.status for response in responses] == [200] * 10
    assert plan.runs() == 2


def test_lease_ends_while_it_is_looked_at(launch: Launch) -> None:
    """A request that finds the lease over a moment after it could not take it does not run beside the next one."""
    first, second = (launch(probes=True, IDEMPOTENCY__LEASE=LEASE) for _ in range(2))
    plan, key = Plan(first.folder, wait=True), new_id()
    _left_running(first, plan, key)
    first.kill()
    plan.open()
    with database(second.database) as connection:
        (table,) = idempotency_tables(connection)
    # Claiming now takes about a second, so that one of the requests begins before the lease's end and looks after it.
    _make_inserts_slow(second, table, rows=2_000_000, moment="BEFORE")
    _until_run(plan, second, key)
    assert is_replay(plan.send(second, key))
    assert plan.runs() == 2


def _until_run(plan: Plan, service: Service, key: str) -> Response:
    """Repeat the request without a pause until it is no longer refused as running."""
    response: Response = eventually(lambda: _unless_running(plan.send(service, key)), every=0)
    return response


def test_other_request_after_a_killed_process(launch: Launch) -> None:
    """A dead process's key is not open to another request: of many at once not more than one runs."""
    first = launch(probes=True, IDEMPOTENCY__LEASE="1")
    plan, key = Plan(first.folder, wait=True), new_id()
    _left_running(first, plan, key)
    first.kill()
    second = launch(probes=True, IDEMPOTENCY__LEASE="1")
    # Each is another request, and all use the one key.
    others = [Plan(first.folder) for _ in range(5)]
    for _ in range(20):
        for other in others:
            assert other.send(second, key).status in (200, 409, 422)
    assert sum(other.runs() for other in others) <= 1


def test_paused_process_does_not_overwrite(launch: Launch, shared: Environment) -> None:
    """A process that wakes after its lease was taken over cannot replace the answer of the one that took it."""
    late, other = (launch(probes=True, IDEMPOTENCY__LEASE=LEASE, **shared) for _ in range(2))
    plan, key = Plan(late.folder, wait=True, sign=True), new_id()
    sent = _left_running(late, plan, key)
    late.pause()
    plan.open()
    own = _once_free(plan, other, key)
    late.go_on()
    outcome = sent.result()
    assert (own.status, plan.runs()) == (200, 2)
    # The late one hears that it lost, or gets the answer that stands. Only where an answer is kept after its effect has
    # lasted there is nothing to take back: its client hears of that effect.
    is_late = shared["IDEMPOTENCY__STORE"] == "redis" and outcome.status == 200
    assert outcome.status == 409 or is_replay(outcome) or is_late
    for service in (late, other):
        replay = plan.send(service, key)
        assert (is_replay(replay), replay.header("X-Process")) == (True, own.header("X-Process"))
    assert plan.runs() == 2


def test_long_operation_keeps_its_lease(launch: Launch, store: Environment) -> None:
    """An operation that takes longer than the lease keeps its key to the end."""
    service = launch(probes=True, IDEMPOTENCY__LEASE="1", **store)
    plan, key = Plan(service.folder, wait=True), new_id()
    sent = _left_running(service, plan, key)
    several_leases = time.monotonic() + 4
    while time.monotonic() < several_leases:
        assert_problem(plan.send(service, key), 409, IN_PROGRESS)
    plan.open()
    assert sent.result().status == 200
    assert is_replay(plan.send(service, key))
    assert plan.runs() == 1


def test_key_expires(launch: Launch, store: Environment) -> None:
    """After its time a key is forgotten, and the request counts as new."""
    service = launch(IDEMPOTENCY__TTL="1", **store)
    body, key = order(), new_id()
    assert not is_replay(service.post("/orders", body, (KEY, key)))
    eventually(lambda: not is_replay(service.post("/orders", body, (KEY, key))))
    assert len(with_sku(service, body["sku"])) == 2


def test_client_leaves_before_its_body_is_there(launch: Launch, store: Environment) -> None:
    """A client that goes away in the middle of its body has not used its key."""
    service = launch(**store)
    body, key = order(), new_id()
    SlowUpload(service.port, "/orders", json.dumps(body).encode(), keyed(key)).abandon()
    response = service.post("/orders", body, (KEY, key))
    assert (response.status, is_replay(response)) == (201, False)


def test_client_leaves_before_the_answer(launch: Launch, store: Environment) -> None:
    """A client that goes away while its order is placed finds one order when it asks again."""
    service = launch(**store)
    for _ in range(10):
        body, key = order(), new_id()
        upload = SlowUpload(service.port, "/orders", json.dumps(body).encode(), keyed(key))
        upload.send_rest()
        upload.abandon()
        response = _once_not_running(service, body, key)
        assert response.status == 201
        assert len(with_sku(service, body["sku"])) == 1


def test_client_leaves_while_it_runs(launch: Launch, store: Environment) -> None:
    """A client that goes away in the middle of the operation finds one answer when it asks again."""
    service = launch(probes=True, **store)
    plan, key = Plan(service.folder, wait=True), new_id()
    upload = SlowUpload(service.port, "/probe/act", json.dumps(plan.document).encode(), keyed(key))
    upload.send_rest()
    eventually(plan.runs)
    upload.abandon()
    plan.open()
    answers = [_until_run(plan, service, key), plan.send(service, key)]
    assert [answer.status for answer in answers] == [200, 200]
    assert is_replay(answers[1])
    # What was begun may go on without its client, or end with it; what ended without an effect runs again, once.
    assert plan.runs() == (1 if is_replay(answers[0]) else 2)


def _once_not_running(service: Service, body: dict[str, Any], key: str) -> Response:
    """Place an order again until it is no longer refused as running."""
    response: Response = eventually(lambda: _unless_running(service.post("/orders", body, (KEY, key))))
    return response


def _unless_running(response: Response) -> Response | None:
    return None if response.status == 409 else response


def test_kill_while_placing(launch: Launch) -> None:
    """A crash while orders are placed leaves of each either the order and its answer, or neither."""
    first = launch(IDEMPOTENCY__LEASE="2")
    bodies, keys = [order() for _ in range(60)], [new_id() for _ in range(60)]
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(first.post, "/orders", body, (KEY, key)) for body, key in zip(bodies, keys, strict=True)]
        eventually(lambda: sum(future.done() for future in sent) > 10)
        first.kill()
    second = launch(IDEMPOTENCY__LEASE="2")
    for body, key, future in zip(bodies, keys, sent, strict=True):
        response = _once_not_running(second, body, key)
        assert response.status == 201
        assert future.exception() or future.result().body == response.body
        assert len(with_sku(second, body["sku"])) == 1


def test_kill_in_the_transaction(launch: Launch) -> None:
    """A crash after the insert and before the commit leaves no order, and the key becomes free."""
    first = launch(IDEMPOTENCY__LEASE=LEASE)
    body, key = order(), new_id()
    with database(first.database) as connection:
        table = orders_table(connection)
    _make_inserts_slow(first, table, rows=10**10, moment="AFTER")
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(first.post, "/orders", body, (KEY, key))
        eventually(lambda: _claims(first))
        assert not sent.done()
        first.kill()
    _make_inserts_fast(first)
    second = launch(IDEMPOTENCY__LEASE=LEASE)
    assert with_sku(second, body["sku"]) == []
    response = _once_not_running(second, body, key)
    assert (response.status, is_replay(response)) == (201, False)
    assert len(with_sku(second, body["sku"])) == 1


def _make_inserts_slow(service: Service, table: str, *, rows: int, moment: str) -> None:
    """Give a table a trigger that counts *rows* at each insert: millions are a second, billions have no end."""
    with database(service.database) as connection:
        # A trigger may hold no WITH of its own, but may read a view that does.
        connection.execute(
            f"CREATE VIEW slow AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {rows})"
            " SELECT count(*) AS x FROM n"
        )
        connection.execute(f"CREATE TRIGGER crawl {moment} INSERT ON {table} BEGIN SELECT x FROM slow; END")


def _make_inserts_fast(service: Service) -> None:
    with database(service.database) as connection:
        connection.execute("DROP TRIGGER crawl")
        connection.execute("DROP VIEW slow")


def _claims(service: Service) -> int:
    with database(service.database) as connection:
        (table,) = idempotency_tables(connection)
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_stop_while_running(launch: Launch, shared: Environment) -> None:
    """A request that runs when SIGTERM comes finishes, and its answer is kept."""
    service = launch(probes=True, SHUTDOWN_TIMEOUT="20", **shared)
    plan, key = Plan(service.folder, wait=True), new_id()
    sent = _left_running(service, plan, key)
    service.signal(signal.SIGTERM)
    eventually(lambda: service.readiness() == 503)
    plan.open()
    assert sent.result().status == 200
    assert service.wait(20) == 0
    assert is_replay(plan.send(launch(probes=True, **shared), key))
    assert plan.runs() == 1


def test_stop_at_the_timeout(launch: Launch) -> None:
    """A request that SHUTDOWN_TIMEOUT cuts off leaves its key free."""
    service = launch(probes=True, SHUTDOWN_TIMEOUT="2", IDEMPOTENCY__LEASE=LEASE)
    plan, key = Plan(service.folder, wait=True), new_id()
    _left_running(service, plan, key)
    service.signal(signal.SIGTERM)
    assert service.wait(20) == 0
    plan.open()
    again = launch(probes=True, IDEMPOTENCY__LEASE=LEASE)
    response = eventually(lambda: _unless_running(plan.send(again, key)))
    assert (response.status, is_replay(response)) == (200, False)
