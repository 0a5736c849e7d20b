"""A key belongs to one method and route, and stands for one request there."""

import json

import pytest

from .conftest import ON_EACH_STORE
from .orders import order, place, placed, with_sku
from .plans import KEY, Plan, is_replay, keyed
from .problems import assert_problem
from .server import Service, new_id
from .wire import Response

REUSED = "IDEMPOTENCY_KEY_REUSED"


def _post(service: Service, path: str, body: bytes, key: str, kind: str = "application/json") -> Response:
    return service.request("POST", path, headers=[("Content-Type", kind), (KEY, key)], body=body)


def test_other_body(service: Service) -> None:
    """Another body under a used key is a problem, and does nothing."""
    key, sku = new_id(), new_id("sku")
    assert place(service, (KEY, key)).status == 201
    assert_problem(place(service, (KEY, key), sku=sku), 422, REUSED)
    assert with_sku(service, sku) == []


def test_first_request_stays(service: Service) -> None:
    """A mismatch does not spoil the stored answer."""
    key, body = new_id(), order()
    first = service.post("/orders", body, (KEY, key))
    assert_problem(place(service, (KEY, key)), 422, REUSED)
    assert service.post("/orders", body, (KEY, key)).body == first.body


def test_same_json_in_other_bytes(service: Service) -> None:
    """The body is compared byte for byte: other spacing or order of members is another request."""
    key, body = new_id(), order()
    assert _post(service, "/orders", json.dumps(body).encode(), key).status == 201
    for text in (json.dumps(body, indent=1), json.dumps(dict(reversed(body.items())))):
        assert_problem(_post(service, "/orders", text.encode(), key), 422, REUSED)


def test_other_query(service: Service) -> None:
    """Another query under a used key is a problem."""
    key, body = new_id(), json.dumps(order()).encode()
    assert _post(service, "/orders?a=1", body, key).status == 201
    for path in ("/orders", "/orders?a=2", "/orders?a=1&b=1"):
        assert_problem(_post(service, path, body, key), 422, REUSED)


def test_other_content_type(service: Service) -> None:
    """Another content type under a used key is a problem."""
    key, body = new_id(), json.dumps(order()).encode()
    assert _post(service, "/orders", body, key).status == 201
    response = _post(service, "/orders", body, key, "application/json; charset=utf-8")
    assert_problem(response, 422, REUSED)


def test_other_path_of_one_route(service: Service) -> None:
    """A key used for one order's cancellation is refused for another's."""
    key = new_id()
    first, second = placed(service)["id"], placed(service)["id"]
    assert service.post(f"/orders/{first}/cancel", None, (KEY, key)).status == 200
    assert_problem(service.post(f"/orders/{second}/cancel", None, (KEY, key)), 422, REUSED)
    assert service.get(f"/orders/{second}").json()["status"] == "pending"


def test_other_route(service: Service) -> None:
    """A key used on one route is free on another."""
    key = new_id()
    created = place(service, (KEY, key)).json()
    response = service.post(f"/orders/{created['id']}/cancel", None, (KEY, key))
    assert (response.status, is_replay(response)) == (200, False)


def test_other_method(probe: Service) -> None:
    """A key used with one method is free with another."""
    plan, key = Plan(probe.folder), new_id()
    assert not is_replay(plan.send(probe, key))
    body = json.dumps(plan.document).encode()
    headers = [("Content-Type", "application/json"), *keyed(key)]
    assert not is_replay(probe.request("PATCH", "/probe/act", headers=headers, body=body))
    assert plan.runs() == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [(("a:b", "c"), ("a", "b:c")), (("a/b", "c"), ("a", "b/c")), (("1", "11"), ("11", "1"))],
)
def test_parts_do_not_run_together(probe: Service, first: tuple[str, str], second: tuple[str, str]) -> None:
    """Two keys with different paths never meet, however their texts join."""
    plan = Plan(probe.folder)
    for (name, key), runs in ((first, 1), (second, 2)):
        plan.send(probe, key + plan.note.name, f"/probe/act/{name.replace('/', '%2F')}")
        assert plan.runs() == runs


def test_query_and_body_do_not_run_together(probe: Service) -> None:
    """Moving bytes from the query into the body makes another request."""
    plan, key = Plan(probe.folder), new_id()
    body = json.dumps(plan.document).encode()
    assert _post(probe, "/probe/act?q=", body, key).status == 200
    assert_problem(_post(probe, "/probe/act?q", b"=" + body, key), 422, REUSED)


@ON_EACH_STORE
def test_callers_do_not_meet(probe: Service) -> None:
    """One key of two callers, and of a caller who is not known, is three keys: nobody sees another's answer."""
    key, answers = new_id(), {}
    for user in ("ada", "grace", None):
        plan = Plan(probe.folder, body=(user or "nobody").encode())
        caller = [] if user is None else [("X-Probe-User", user)]
        for replay in (False, True):
            answers[user] = probe.post("/probe/act", plan.document, (KEY, key), *caller)
            assert is_replay(answers[user]) is replay
        assert plan.runs() == 1
    assert [answer.body for answer in answers.values()] == [b"ada", b"grace", b"nobody"]


@pytest.mark.parametrize(
    ("first", "second"),
    [(("a:b", "c"), ("a", "b:c")), (("1", "11"), ("11", "1")), (("anonymous", "k"), ("", "anonymousk"))],
)
def test_callers_and_keys_do_not_run_together(probe: Service, first: tuple[str, str], second: tuple[str, str]) -> None:
    """No caller can choose a key that is another's."""
    plan = Plan(probe.folder)
    for (user, key), runs in ((first, 1), (second, 2)):
        headers = [("X-Probe-User", user + plan.note.name), (KEY, key + plan.note.name)]
        probe.post("/probe/act", plan.document, *headers)
        assert plan.runs() == runs


def test_same_key_for_all_anonymous_callers(service: Service) -> None:
    """Callers who are not known share one scope, whatever they claim to be."""
    key, body = new_id(), order()
    service.post("/orders", body, (KEY, key), ("User-Agent", "one"), ("X-Forwarded-For", "10.0.0.1"))
    second = service.post("/orders", body, (KEY, key), ("User-Agent", "two"), ("X-User-ID", "7"))
    assert is_replay(second)
