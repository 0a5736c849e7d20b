"""`Idempotency-Key` over HTTP, under WSGI and ASGI, on every store."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import Client

from app.core.context import request_context
from app.core.errors import BusinessRuleError, NotFoundError, RateLimitError, ValidationError
from app.core.idempotency_errors import IdempotencyStoreError
from app.settings import Settings
from app.web.bootstrap import Services
from app.web.idempotency import Operations, idempotency

from ..conftest import Log
from ..idempotency_stores import settings_for
from .keyed import INTERFACES, ORDER, Caller, in_thread, serving

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["sql", "memory", "redis"])
def settings(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Settings]:
    """Run each test on every store."""
    with settings_for(request.param, settings) as chosen:
        yield chosen


@pytest.fixture(params=INTERFACES)
def caller(request: pytest.FixtureRequest, services: Services) -> Caller:
    """Run each test under both interfaces."""
    return Caller(request.param)


only_sql = pytest.mark.parametrize("settings", ["sql"], indirect=True)


def test_replay(caller: Caller) -> None:
    """A repeated request gets the first answer, byte for byte, marked as a replay; the operation does not run."""
    first, again = caller.place(), caller.place('"key-1"')
    assert (again.status_code, again.content) == (201, first.content)
    assert (again["location"], again["content-type"]) == (first["location"], first["content-type"])
    assert (again["idempotent-replayed"], again["cache-control"]) == ("true", "no-store")
    assert "idempotent-replayed" not in first
    assert again["x-request-id"] != first["x-request-id"]
    assert caller.count() == 1


def test_without_key(caller: Caller) -> None:
    """Without the header each request runs."""
    for _ in range(2):
        caller.place(None)
    assert caller.count() == 2


def test_parallel(services: Services) -> None:
    """Of many requests at once with one key, one runs and the rest are told to wait or get its answer."""
    caller = Caller("wsgi")
    with ThreadPoolExecutor(10) as pool:
        responses = list(pool.map(in_thread(lambda _: caller.place()), range(30)))
    waiting = [r for r in responses if r.status_code == 409]
    assert {r.status_code for r in responses} <= {201, 409}
    assert all(r.json()["code"] == "IDEMPOTENCY_IN_PROGRESS" and "retry-after" in r for r in waiting)
    assert caller.count() == 1


@pytest.mark.parametrize(
    ("address", "body", "headers"),
    [
        ("/orders", {**ORDER, "quantity": 3}, {}),
        ("/orders?x=1", ORDER, {}),
        ("/orders", ORDER, {"content-type": "application/json; charset=utf-8"}),
    ],
)
def test_key_of_another_request(caller: Caller, address: str, body: Any, headers: dict[str, str]) -> None:
    """A key that was used with another body, query or content type is refused."""
    caller.place()
    response = caller.post(address, body, **headers)
    assert (response.status_code, response.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert response["link"] == '</docs>; rel="describedby"; type="text/html"'
    assert caller.count() == 1


def test_key_on_another_path_and_route(caller: Caller) -> None:
    """A key is bound to the path it was used with; on another route it is another key."""
    ids = [caller.place(None).json()["id"] for _ in range(2)]
    caller.place()
    assert caller.post(f"/orders/{ids[0]}/cancel").status_code == 200
    assert caller.post(f"/orders/{ids[1]}/cancel").status_code == 422


@only_sql
@pytest.mark.parametrize("value", ["", '""', "a b", "x" * 256, "é", "a,b", '"open', "\x7f"])
def test_malformed_key(caller: Caller, value: str) -> None:
    """A key that is not 1 to 255 visible ASCII characters is refused, with a link to the documentation."""
    response = caller.place(value)
    assert (response.status_code, response.json()["code"]) == (400, "IDEMPOTENCY_KEY_INVALID")
    assert response["link"].startswith("</docs>")


@only_sql
def test_what_ignores_the_header(caller: Caller) -> None:
    """Only POST and PATCH look at the header, and only where something serves them."""
    malformed = {"idempotency-key": "a b"}
    assert caller.request("GET", "/orders", headers=malformed).status_code == 200
    assert caller.request("POST", "/unknown", headers=malformed).status_code == 404
    assert caller.request("PATCH", "/orders", headers=malformed).status_code == 405


class Views:
    """A view whose runs are noted, and which answers in a way of the test's own."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.outcomes: dict[str, Any] = {
            "rule": BusinessRuleError(),
            "missing": NotFoundError(),
            "crash": RuntimeError("broken"),
            "rate": RateLimitError(),
            "validation": ValidationError(),
            "returned-500": lambda: HttpResponse(status=500),
            "returned-409": lambda: HttpResponse(status=409),
            "empty": lambda: HttpResponse(status=204),
            "cookie": self._cookie,
            "stream": lambda: StreamingHttpResponse(iter([b"a", b"b"]), content_type="text/plain"),
            "file": lambda: FileResponse(BytesIO(b"a file"), as_attachment=True),
            "large": lambda: HttpResponse(b"x" * 2_000_000),
        }

    def _cookie(self) -> HttpResponse:
        response = HttpResponse(b"\x00\xff", headers={"etag": "v1"}, content_type="image/png")
        response.set_cookie("a", "b")
        return response

    def __call__(self, request: HttpRequest) -> Any:
        """Answer."""
        name = request.GET["name"]
        self.ran.append(name)
        outcome = self.outcomes[name]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome()


@pytest.fixture
def views(caller: Caller) -> Iterator[Views]:
    """Return the view."""
    view = Views()
    with serving(does=view):
        yield view


@pytest.mark.parametrize(("name", "status"), [("rule", 422), ("missing", 404), ("returned-409", 409), ("empty", 204)])
def test_stored_answers(caller: Caller, views: Views, name: str, status: int) -> None:
    """What the operation answered is replayed, an error of the domain too."""
    responses = [caller.post(f"/does?name={name}") for _ in range(2)]
    assert [r.status_code for r in responses] == [status, status]
    assert responses[0].content == responses[1].content
    assert "idempotent-replayed" in responses[1]
    assert views.ran == [name]


@pytest.mark.parametrize("name", ["crash", "rate", "validation", "returned-500"])
def test_answers_that_are_not_stored(caller: Caller, views: Views, name: str) -> None:
    """After a failure, or a refusal before the operation, the key is free again."""
    responses = [caller.post(f"/does?name={name}") for _ in range(2)]
    assert views.ran == [name, name]
    assert "idempotent-replayed" not in responses[1]


def test_headers_of_a_replay(caller: Caller, views: Views) -> None:
    """End-to-end headers are replayed, cookies are not, and bytes stay bytes."""
    first, again = (caller.post("/does?name=cookie") for _ in range(2))
    assert (again.content, again["etag"], again["content-type"]) == (b"\x00\xff", "v1", "image/png")
    assert ("a" in first.cookies, "a" in again.cookies) == (True, False)


@pytest.mark.parametrize("name", ["stream", "file", "large"])
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
def test_answer_that_cannot_be_kept(caller: Caller, views: Views, name: str) -> None:
    """A streamed or very large answer arrives; a repetition is told that the operation ran, and does not run it."""
    first, again = (caller.post(f"/does?name={name}") for _ in range(2))
    first.close()
    assert first.status_code == 200
    assert (again.status_code, again.json()["code"]) == (409, "IDEMPOTENCY_NOT_REPLAYABLE")
    assert views.ran == [name]


@only_sql
def test_policy_of_a_view(caller: Caller) -> None:
    """A view can require the header, or ignore it; the others are not concerned."""
    ran: list[str] = []

    @idempotency(required=True)
    def required(_request: HttpRequest) -> HttpResponse:
        ran.append("required")
        return HttpResponse()

    @idempotency(enabled=False)
    def ignored(_request: HttpRequest) -> HttpResponse:
        ran.append("ignored")
        return HttpResponse()

    with serving(required=required, ignored=ignored):
        missing = caller.post("/required", key=None)
        assert (missing.status_code, missing.json()["code"]) == (400, "IDEMPOTENCY_KEY_MISSING")
        for _ in range(2):
            caller.post("/ignored")
        assert caller.place(None).status_code == 201
    assert ran == ["ignored", "ignored"]


@only_sql
def test_nobody_looks_for_an_operation_without_need(services: Services) -> None:
    """Where no operation requires a key, requests without one are looked up nowhere."""
    assert not Operations().any_required


@only_sql
@pytest.mark.parametrize(("on_failure", "status"), [("reject", 503), ("run", 201)])
def test_store_failure(
    caller: Caller, services: Services, log: Log, monkeypatch: pytest.MonkeyPatch, on_failure: str, status: int
) -> None:
    """Without the store a request is refused, or runs unprotected with a warning, and is counted."""

    def fails(*_: Any, **__: Any) -> None:
        raise IdempotencyStoreError

    monkeypatch.setattr(services.idempotency_store, "begin", fails)
    monkeypatch.setattr(services.idempotency.journal, "_rejects", on_failure == "reject")
    response = caller.place()
    assert response.status_code == status
    assert 'idempotency_requests_total{outcome="store_error"} 1' in services.metrics.render().decode()
    assert ("retry-after" in response) == (status == 503)
    assert len(log.named("idempotency.unprotected")) == (on_failure == "run")
    assert caller.count() == (on_failure == "run")


@only_sql
def test_outcomes_are_counted(caller: Caller, services: Services) -> None:
    """Each outcome is counted."""
    for quantity in (1, 1, 2):
        caller.place(quantity=quantity)
    text = services.metrics.render().decode()
    for outcome in ("run", "replay", "mismatch"):
        assert f'outcome="{outcome}"' + "} 1" in text


@only_sql
def test_the_key_is_never_logged(caller: Caller, log: Log) -> None:
    """The key is in no log line; a replay is logged under the route that it replays."""
    for _ in range(2):
        caller.place("my-private-key-1")
    assert "my-private-key-1" not in "".join(log)
    assert [line["route"] for line in log.named("http.request")] == ["/orders", "/orders"]


@only_sql
def test_callers_are_apart(services: Services) -> None:
    """Each user has keys of their own, and never sees the answer that another one got."""
    people = get_user_model().objects
    clients = [Client() for _ in range(3)]
    for client, name in zip(clients, ("ada", "bob"), strict=False):
        client.force_login(people.create_user(name))
    seen = []
    for client in (*clients, *clients):
        response = client.post("/orders", ORDER, "application/json", headers={"idempotency-key": "key-1"})
        seen.append((response.json()["id"], "idempotent-replayed" in response))
    assert len({order for order, _ in seen[:3]}) == 3
    assert seen[3:] == [(order, True) for order, _ in seen[:3]]


@only_sql
def test_caller_of_another_authentication(services: Services) -> None:
    """Where Django knows no user, the caller is the one whom a middleware named."""
    caller, orders = Caller("wsgi"), []
    for name in ("ada", "bob", "ada"):
        with request_context(user_id=name), pytest.MonkeyPatch.context() as patch:
            patch.setattr("app.web.idempotency.current_context", lambda name=name: {"user_id": name})
            orders.append(caller.place().json()["id"])
    assert orders[0] == orders[2] != orders[1]


@only_sql
def test_time_of_a_view(caller: Caller, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view can have a time to live and a lease of its own."""
    begin, seen = services.idempotency_store.begin, []

    def watched(claim: Any, *, lease: float, ttl: float) -> Any:
        seen.append((lease, ttl))
        return begin(claim, lease=lease, ttl=ttl)

    @idempotency(lease=7, ttl=70)
    def act(_request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    monkeypatch.setattr(services.idempotency_store, "begin", watched)
    with serving(act=act):
        caller.post("/act")
        caller.place()
    settings = services.settings.idempotency
    assert seen == [(7, 70), (settings.lease, settings.ttl)]
