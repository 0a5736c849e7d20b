"""What happens to a request with a key between its claim and its answer, under WSGI and ASGI, on every store."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import DatabaseError, OperationalError, connections, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.test import AsyncClient

from app.core.errors import BusinessRuleError
from app.core.idempotency_errors import IdempotencyStoreError
from app.settings import Settings
from app.web.bootstrap import Services
from app.web.idempotency import idempotency
from app.web.idempotency_store import OrmIdempotencyStore
from app.web.models import IdempotencyRecord
from app.web.orders import service

from ..conftest import Log
from ..idempotency_stores import settings_for
from .keyed import INTERFACES, KEY, Caller, in_thread, serving

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["sql", "memory", "redis"])
def settings(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Settings]:
    """Run each test on every store."""
    with settings_for(request.param, settings, lease=60, max_response_bytes=2_000_000) as chosen:
        yield chosen


@pytest.fixture(params=INTERFACES)
def caller(request: pytest.FixtureRequest, services: Services) -> Caller:
    """Run each test under both interfaces."""
    return Caller(request.param)


only_sql = pytest.mark.parametrize("settings", ["sql"], indirect=True)
only_memory = pytest.mark.parametrize("settings", ["memory"], indirect=True)


def placing(answer: Callable[[], Any]) -> tuple[Callable[[HttpRequest], Any], list[str]]:
    """Return a view that places an order and then answers, and the names of its runs."""
    ran: list[str] = []

    def act(_request: HttpRequest) -> Any:
        ran.append("act")
        service.place_order("T", 1, "ada@example.com")
        return answer()

    return act, ran


def raising(error: Exception) -> Callable[[], HttpResponse]:
    """Return what raises."""

    def fail() -> HttpResponse:
        raise error

    return fail


def away(*_: Any, **__: Any) -> bool:
    """Fail as a store that is not there."""
    raise IdempotencyStoreError


@pytest.mark.parametrize("body", [b"", b"\x00\xff\xfe", b"x" * 1024 * 1024])
def test_bytes_are_kept(caller: Caller, body: bytes) -> None:
    """Whatever an answer's bytes are, a replay has the same, and the headers that say what they are."""
    headers = {"etag": '"1"', "location": "/x", "content-encoding": "identity", "content-type": "image/png"}
    act, _ = placing(lambda: HttpResponse(body, status=201, headers=headers))
    with serving(act=act):
        first, again = (caller.post("/act") for _ in range(2))
    assert (again.status_code, again.content) == (first.status_code, first.content) == (201, body)
    assert {name: again[name] for name in headers} == headers
    assert again["content-length"] == str(len(body))


@pytest.mark.parametrize("key", ["key-1"])
@pytest.mark.parametrize(
    "error", [BusinessRuleError(), RuntimeError("broken"), Http404()], ids=lambda e: type(e).__name__
)
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_an_error_undoes_the_work(caller: Caller, key: str, error: Exception, accept: str) -> None:
    """What was done before an error is undone, also where its answer is kept, and where that is a page."""
    act, ran = placing(raising(error))
    with serving(act=act):
        first, again = (caller.post("/act", key=key, accept=accept) for _ in range(2))
    assert caller.count() == 0
    assert (first.status_code, first.content) == (again.status_code, first.content)
    assert len(ran) == (2 if first.status_code == 500 else 1)


def test_a_server_error_undoes_the_work(caller: Caller) -> None:
    """An answer from 500 up undoes the work too; one below commits it, even when it is not kept."""
    for status, orders in ((500, 0), (429, 1)):
        act, _ = placing(partial(HttpResponse, status=status))
        with serving(act=act):
            assert caller.post("/act").status_code == status
        assert caller.count() == orders


def test_work_that_the_view_gave_up(caller: Caller) -> None:
    """A refusal for which the view undid its transaction is kept; a success that was undone is a failure."""
    for status, runs in ((409, 1), (201, 2)):

        def give_up(status: int = status) -> HttpResponse:
            transaction.set_rollback(True)
            return HttpResponse(status=status)

        act, ran = placing(give_up)
        with serving(act=act):
            answers = [caller.post("/act", key=f"key-{status}") for _ in range(2)]
        assert (caller.count(), len(ran)) == (0, runs)
        assert answers[0].status_code == (409 if status == 409 else 500)


def test_one_transaction(caller: Caller, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order and the key's completion are one commit where the store can do that."""
    commits: list[str] = []
    wrapper: Any = type(connections["default"])
    plain = wrapper._commit

    def counted(self: Any) -> None:
        commits.append("commit")
        plain(self)

    monkeypatch.setattr(wrapper, "_commit", counted)
    caller.place()
    assert commits == ["commit"]


def test_a_failed_commit_is_never_a_success(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the commit fails the caller hears of a failure, nothing was done, and the key is free again."""

    def fails(_self: object) -> None:
        msg = "gone"
        raise OperationalError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(type(connections["default"]), "_commit", fails)
        response = caller.place()
    assert (response.status_code, response.json()["code"]) == (503, "DATABASE_ERROR")
    assert caller.count() == 0
    assert caller.place().status_code == 201


def test_a_broken_transaction(caller: Caller) -> None:
    """A view that goes on after its transaction broke has done nothing, is told so, and its key is free."""

    def act(_request: HttpRequest) -> HttpResponse:
        service.place_order("T", 1, "ada@example.com")
        with suppress(DatabaseError), transaction.atomic(savepoint=False):
            raise DatabaseError
        return HttpResponse(status=201)

    with serving(act=act):
        assert caller.post("/act").status_code >= 500
    assert caller.count() == 0
    assert caller.place().status_code == 201


def test_what_happens_on_commit(caller: Caller) -> None:
    """What a view asks for after its commit happens once, when order and answer last."""
    found: list[int] = []

    def act(_request: HttpRequest) -> HttpResponse:
        service.place_order("T", 1, "ada@example.com")
        transaction.on_commit(lambda: found.append(len(service.newest_orders(5))))
        return HttpResponse()

    with serving(act=act):
        for _ in range(2):
            caller.post("/act")
    assert found == [1]


def test_long_request_keeps_its_key(services: Services, log: Log) -> None:
    """A request that takes longer than its lease, here one of its own, keeps its key."""
    goes_on, caller = threading.Event(), Caller("wsgi")

    @idempotency(lease=1)
    def act(_request: HttpRequest) -> HttpResponse:
        goes_on.wait(10)
        return HttpResponse()

    with serving(act=act), ThreadPoolExecutor(1) as pool:
        first = pool.submit(in_thread(lambda: caller.post("/act")))
        time.sleep(2)
        assert caller.post("/act").status_code == 409
        goes_on.set()
        assert first.result().status_code == 200
    assert log.named("idempotency.lease_lost") == []


def test_lost_claim(services: Services, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lost the key to another request cannot complete it; what it did is undone where the store can do that."""
    goes_on, started, caller = threading.Event(), threading.Event(), Caller("wsgi")
    ran: list[str] = []

    @idempotency(lease=0.05)
    def act(_request: HttpRequest) -> HttpResponse:
        ran.append("act")
        name = f"run {len(ran)}"
        if len(ran) == 1:
            started.set()
            goes_on.wait(10)
        service.place_order("T", 1, "ada@example.com")
        return HttpResponse(name)

    monkeypatch.setattr(services.idempotency_store, "renew", away)
    with serving(act=act), ThreadPoolExecutor(1) as pool:
        late = pool.submit(in_thread(lambda: caller.post("/act")))
        started.wait(10)
        time.sleep(0.1)
        second = caller.post("/act")
        goes_on.set()
        is_sql = services.idempotency_store.transactional
        answer = late.result()
        assert (second.content, answer.status_code) == (b"run 2", 409 if is_sql else 200)
        assert ("retry-after" in answer) == is_sql
        assert caller.count() == (1 if is_sql else 2)
        assert caller.post("/act").content == b"run 2"
    assert len(log.named("idempotency.lease_lost")) == 1
    assert 'idempotency_requests_total{outcome="lease_lost"} 1' in services.metrics.render().decode()


def test_store_is_away_at_the_end(
    caller: Caller, services: Services, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client gets its answer though the store cannot keep it, unless order and answer are one; the loss is told."""
    with monkeypatch.context() as patch:
        patch.setattr(services.idempotency_store, "complete", away)
        first = caller.place()
    again = caller.place()
    if services.idempotency_store.transactional:
        assert (first.status_code, again.status_code) == (503, 201)
    else:
        assert (first.status_code, again.status_code) == (201, 409)
        assert [line["operation"] for line in log.named("error.reported")] == ["idempotency.answer_lost"]
    assert caller.count() == 1


def test_key_that_cannot_be_freed(
    caller: Caller, services: Services, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the store cannot free a key, the client still gets the answer, and the key is taken until its lease ends."""
    monkeypatch.setattr(services.idempotency_store, "release", away)
    act, _ = placing(lambda: HttpResponse(status=500))
    with serving(act=act):
        assert [caller.post("/act").status_code for _ in range(2)] == [500, 409]
    assert len(log.named("idempotency.release_failed")) == 1


@only_sql
@pytest.mark.parametrize("answer", ["} no answer", '{"v":99}', '{"v":2,"status":99,"headers":[],"text":""}'])
def test_damaged_record(caller: Caller, services: Services, log: Log, answer: str) -> None:
    """A record that cannot be read is refused and not run again; it is logged once, without the key."""
    caller.place()
    assert isinstance(services.idempotency_store, OrmIdempotencyStore)
    IdempotencyRecord.objects.update(answer=answer)
    for _ in range(2):
        response = caller.place()
        assert (response.status_code, response.json()["code"]) == (409, "IDEMPOTENCY_NOT_REPLAYABLE")
    assert len(log.named("idempotency.record_damaged")) == 1
    assert "key-1" not in "".join(log)
    assert caller.count() == 1


async def in_request(act: Callable[[], Any]) -> Any:
    """Run a request as a server does: in a thread of its own, which leaves no connection."""
    async with ThreadSensitiveContext():
        try:
            return await act()
        finally:
            await sync_to_async(connections.close_all)()


@pytest.mark.parametrize("is_async", [False, True])
async def test_client_leaves(services: Services, is_async: bool) -> None:
    """A request that is cut off while it runs has done nothing and frees its key, whichever kind its view is."""
    started, goes_on = threading.Event(), threading.Event()
    ran: list[str] = []

    def act(_request: HttpRequest) -> HttpResponse:
        service.place_order("T", 1, "ada@example.com")
        started.set()
        if not ran:
            goes_on.wait(10)
        return HttpResponse()

    async def act_later(request: HttpRequest) -> HttpResponse:
        response = await sync_to_async(act)(request)
        await asyncio.sleep(0 if ran else 60)
        return response

    def post() -> Any:
        return AsyncClient(raise_request_exception=False).post("/act", headers=KEY)

    if is_async:
        goes_on.set()
    with serving(act=act_later if is_async else act):
        first = asyncio.create_task(in_request(post))
        await asyncio.to_thread(started.wait, 10)
        first.cancel()
        ran.append("first")
        await asyncio.sleep(0.1)
        goes_on.set()
        await asyncio.gather(first, return_exceptions=True)
        again = await in_request(post)
    assert (again.status_code, "idempotent-replayed" in again) == (200, False)
    orders = await in_request(sync_to_async(lambda: len(service.newest_orders(5))))
    assert orders == 1


async def test_client_leaves_while_its_key_is_claimed(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is cut off before its operation begins has not used its key."""
    claiming, goes_on = threading.Event(), threading.Event()
    begin: Any = services.idempotency_store.begin

    def slow(*arguments: Any, **options: Any) -> Any:
        decision = begin(*arguments, **options)
        claiming.set()
        goes_on.wait(10)
        return decision

    act, ran = placing(HttpResponse)

    def post() -> Any:
        return AsyncClient(raise_request_exception=False).post("/act", headers=KEY)

    with serving(act=act):
        with monkeypatch.context() as patch:
            patch.setattr(services.idempotency_store, "begin", slow)
            first = asyncio.create_task(in_request(post))
            await asyncio.to_thread(claiming.wait, 10)
            first.cancel()
            await asyncio.sleep(0.05)
            goes_on.set()
            await asyncio.gather(first, return_exceptions=True)
        assert ran == []
        assert (await in_request(post)).status_code == 200


async def test_side_by_side(services: Services) -> None:
    """Requests at the same moment under ASGI have a transaction each: one that fails undoes its own work alone."""

    def act(request: HttpRequest) -> HttpResponse:
        service.place_order("T", 1, "ada@example.com")
        if request.GET.get("fails"):
            raise BusinessRuleError
        return HttpResponse()

    def post(number: int) -> Any:
        client = AsyncClient(raise_request_exception=False)
        query = "?fails=1" if number % 2 else ""
        return client.post(f"/act{query}", headers={"idempotency-key": f"key-{number}"})

    with serving(act=act):
        answers = await asyncio.gather(*(in_request(partial(post, number)) for number in range(10)))
    assert [answer.status_code for answer in answers] == [200, 422] * 5
    assert await in_request(sync_to_async(lambda: len(service.newest_orders(50)))) == 5


def test_body_that_cannot_be_read(caller: Caller) -> None:
    """A body beyond the limit is refused, and the key stays unused."""
    act, ran = placing(HttpResponse)
    with serving(act=act):
        assert caller.post("/act", b"x" * 2_000_000).status_code == 413
        assert ran == []
        assert caller.post("/act", b"x").status_code == 200
