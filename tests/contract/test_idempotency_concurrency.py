"""However many requests come at once with one key, from however many processes, one of them runs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .conftest import ON_EACH_STORE, Environment, Launch
from .orders import order, with_sku
from .plans import KEY, Plan, is_replay
from .problems import assert_problem, assert_retry_after
from .server import Service, new_id
from .wire import Response, eventually

IN_PROGRESS = "IDEMPOTENCY_IN_PROGRESS"


def _together(count: int, call: Callable[[int], Response]) -> list[Response]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def _assert_one_ran(responses: list[Response], status: int) -> None:
    """One response is the operation's own; the others repeat it or say that it still runs."""
    own = [r for r in responses if r.status == status and not is_replay(r)]
    assert len(own) == 1, [r.status for r in responses]
    for response in responses:
        if response.status == 409:
            assert_retry_after(response)
            assert_problem(response, 409, IN_PROGRESS)
        else:
            assert (response.status, response.body) == (status, own[0].body)


@ON_EACH_STORE
def test_hundred_at_once(probe: Service) -> None:
    """Of a hundred equal orders at once one is placed, and nobody sees a server error."""
    body, key = order(), new_id()
    _assert_one_ran(_together(100, lambda _: probe.post("/orders", body, (KEY, key))), 201)
    assert len(with_sku(probe, body["sku"])) == 1


def test_two_processes(launch: Launch, shared: Environment) -> None:
    """Two processes on one store share their keys."""
    services = [launch(**shared), launch(**shared)]
    body, key = order(), new_id()
    responses = _together(60, lambda n: services[n % 2].post("/orders", body, (KEY, key)))
    _assert_one_ran(responses, 201)
    assert len(with_sku(services[0], body["sku"])) == 1


def test_many_keys_over_two_processes(launch: Launch) -> None:
    """Many keys at once, each sent to both processes, place one order each."""
    services = [launch(), launch()]
    bodies, keys = [order() for _ in range(20)], [new_id() for _ in range(20)]
    responses = _together(40, lambda n: services[n % 2].post("/orders", bodies[n // 2], (KEY, keys[n // 2])))
    for number, body in enumerate(bodies):
        _assert_one_ran(responses[2 * number : 2 * number + 2], 201)
        assert len(with_sku(services[1], body["sku"])) == 1


@ON_EACH_STORE
def test_still_running(probe: Service) -> None:
    """While the first request runs, the same one gets a 409 that says when to come back."""
    plan, key = Plan(probe.folder, wait=True), new_id()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(plan.send, probe, key)
        eventually(plan.runs)
        second = plan.send(probe, key)
        assert_problem(second, 409, IN_PROGRESS)
        assert_retry_after(second)
        plan.open()
        assert first.result().status == 200
    assert is_replay(plan.send(probe, key))
    assert plan.runs() == 1


@ON_EACH_STORE
def test_other_request_while_running(probe: Service) -> None:
    """While the first request runs, another one with its key is a reuse of the key."""
    plan, other, key = Plan(probe.folder, wait=True), Plan(probe.folder), new_id()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(plan.send, probe, key)
        eventually(plan.runs)
        assert_problem(other.send(probe, key), 422, "IDEMPOTENCY_KEY_REUSED")
        plan.open()
        assert first.result().status == 200
    assert other.runs() == 0


@ON_EACH_STORE
def test_other_keys_do_not_wait(probe: Service) -> None:
    """Fifty other keys are served while one request runs."""
    plan = Plan(probe.folder, wait=True)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(plan.send, probe, new_id())
        eventually(plan.runs)
        others = _together(50, lambda _: Plan(probe.folder).send(probe, new_id()))
        assert {(r.status, is_replay(r)) for r in others} == {(200, False)}
        plan.open()
        assert first.result().status == 200


@ON_EACH_STORE
def test_failure_frees_the_key_for_one(probe: Service) -> None:
    """When the running request fails, those that come later at once run it one at a time."""
    failing, key = Plan(probe.folder, error="crash"), new_id()
    assert failing.send(probe, key).status == 500
    plan = Plan(probe.folder)
    _assert_one_ran(_together(30, lambda _: plan.send(probe, key)), 200)
    assert plan.runs() == 1
