"""What happens to a request with a key between its claim and its answer, on every store."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import pytest
from fastapi import BackgroundTasks, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import text
from starlette.types import Message, Receive, Scope, Send

from app.adapters.idempotency import SqlIdempotencyStore
from app.api.dependencies import Orders
from app.api.idempotency import idempotency
from app.bootstrap import Services
from app.core.idempotency_errors import IdempotencyStoreError
from app.settings import Settings

from ..conftest import Log
from ..idempotency_stores import settings_for

ORDER = {"sku": "TEA-42", "quantity": 2, "customer_email": "ada@example.com"}
KEY = {"idempotency-key": "key-1"}
STORES = ("sql", "memory", "redis")
# Long enough to be renewed in time on a busy machine.
LEASE = 0.6


@pytest.fixture(params=STORES)
def settings(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Settings]:
    """Run each test on every store."""
    with settings_for(request.param, settings, lease=0.3, max_response_bytes=2_000_000) as chosen:
        yield chosen


only_sql = pytest.mark.parametrize("settings", ["sql"], indirect=True)
only_memory = pytest.mark.parametrize("settings", ["memory"], indirect=True)


async def orders_of(client: httpx2.AsyncClient) -> int:
    """Return how many orders there are."""
    return len((await client.get("/orders", params={"limit": 100})).json()["items"])


def add(app: FastAPI, answer: Callable[[], Response]) -> list[str]:
    """Add an endpoint that places an order, and return the names of its runs."""
    ran: list[str] = []

    @app.post("/act")
    async def act(orders: Orders) -> Response:
        ran.append("act")
        await orders.place("T", 1, "ada@example.com")
        return answer()

    return ran


async def send_raw(app: FastAPI, send: Callable[[Message], Any], *pieces: Message, leaves: bool = False) -> None:
    """Send a request as a server would.

    Args:
        app: The application.
        send: Called with each message of the answer; may fail.
        pieces: The request's body; a complete and empty one when left out.
        leaves: Whether the client is gone as soon as its body was read.

    """
    pending = list(pieces) or [{"type": "http.request", "body": b"", "more_body": False}]
    answered = asyncio.Event()

    async def receive() -> Message:
        if pending:
            return pending.pop(0)
        if not leaves:
            await answered.wait()
        return {"type": "http.disconnect"}

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/act", "raw_path": b"/act", "query_string": b"", "root_path": "", "client": ("127.0.0.1", 1),
        "server": ("service", 80), "headers": [(b"idempotency-key", b"key-1")],
    }  # fmt: skip

    async def sending(message: Message) -> None:
        send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            answered.set()

    await app(scope, receive, sending)


@pytest.mark.parametrize("body", [b"", b"\x00\xff\xfe", gzip.compress(b"text" * 100, mtime=0), b"x" * 1024 * 1024])
async def test_bytes_are_kept(client: httpx2.AsyncClient, app: FastAPI, body: bytes) -> None:
    """Whatever an answer's bytes are, a replay has the same, and the headers that say what they are."""
    headers = {"etag": '"1"', "location": "/x", "content-encoding": "identity", "content-type": "image/png"}
    add(app, lambda: Response(body, 201, headers))
    first, again = [await client.post("/act", headers=KEY) for _ in range(2)]
    assert (again.status_code, again.content) == (first.status_code, first.content) == (201, body)
    assert {name: again.headers[name] for name in headers} == headers
    assert again.headers["content-length"] == str(len(body))


async def test_answer_in_several_pieces(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """An answer that says how long it is may come in pieces, and is kept whole."""
    add(app, lambda: StreamingResponse(iter(["a", "b", "c"]), headers={"content-length": "3"}))
    first, again = [await client.post("/act", headers=KEY) for _ in range(2)]
    assert (first.content, again.content, again.headers["idempotent-replayed"]) == (b"abc", b"abc", "true")


async def test_announced_pieces_beyond_the_limit(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """An answer whose pieces grow beyond the limit passes on whole, and is kept without its body."""
    pieces = [b"x" * 900_000] * 4
    ran = add(app, lambda: StreamingResponse(iter(pieces), headers={"content-length": "3600000"}))
    first, again = [await client.post("/act", headers=KEY) for _ in range(2)]
    assert (len(first.content), again.json()["code"]) == (3_600_000, "IDEMPOTENCY_NOT_REPLAYABLE")
    assert ran == ["act"]


async def test_stream_is_not_held_back(app: FastAPI, client: httpx2.AsyncClient) -> None:
    """Each piece of a stream leaves before the next one is made."""
    seen: list[str] = []

    async def pieces() -> AsyncIterator[str]:
        for name in ("a", "b", "c"):
            seen.append(f"made {name}")
            yield name

    add(app, lambda: StreamingResponse(pieces()))
    await send_raw(app, lambda message: seen.append(f"sent {message.get('body', b'')!r}"))
    assert seen == ["made a", "sent b''", "sent b'a'", "made b", "sent b'b'", "made c", "sent b'c'", "sent b''"]


async def test_file_that_the_server_reads(app: FastAPI, client: httpx2.AsyncClient) -> None:
    """An answer by an extension of the server passes in its order, and is known to have been given."""

    class PathSend(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.pathsend", "path": "/file"})

    ran = add(app, PathSend)
    sent: list[str] = []
    for _ in range(2):
        await send_raw(app, lambda message: sent.append(message["type"].removeprefix("http.response.")))
    assert sent == ["start", "pathsend", "start", "body"]
    assert ran == ["act"]


async def test_background_tasks(client: httpx2.AsyncClient, app: FastAPI, services: Services, log: Log) -> None:
    """Background tasks run once, after the order and the answer last; however long they take, no claim is lost."""
    found: list[Any] = []

    @app.post("/act")
    async def act(orders: Orders, tasks: BackgroundTasks) -> dict[str, str]:
        await orders.place("T", 1, "ada@example.com")
        tasks.add_task(look)
        return {"a": "b"}

    async def look() -> None:
        found.append((await orders_of(client), (await client.post("/act", headers=KEY)).headers["idempotent-replayed"]))
        await asyncio.sleep(0.3)

    await client.post("/act", headers=KEY)
    await client.post("/act", headers=KEY)
    assert found == [(1, "true")]
    assert log.named("idempotency.lease_lost") == []


async def test_background_task_that_fails(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """A background task that fails does not take the answer back."""
    ran: list[str] = []

    @app.post("/act")
    async def act(tasks: BackgroundTasks) -> None:
        ran.append("act")
        tasks.add_task(lambda: 1 / 0)

    for _ in range(2):
        await client.post("/act", headers=KEY)
    assert ran == ["act"]


async def test_client_leaves_after_the_commit(client: httpx2.AsyncClient, app: FastAPI, log: Log) -> None:
    """A client that is gone when the answer leaves finds it when it asks again."""
    ran = add(app, lambda: Response(b"done"))

    def gone(_message: Message) -> None:
        msg = "the client is gone"
        raise OSError(msg)

    with pytest.raises(OSError, match="gone"):
        await send_raw(app, gone)
    again = await client.post("/act", headers=KEY)
    assert (again.content, again.headers["idempotent-replayed"]) == (b"done", "true")
    assert (ran, await orders_of(client)) == (["act"], 1)


@only_memory
async def test_client_and_store_leave_after_the_commit(
    client: httpx2.AsyncClient, app: FastAPI, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has taken effect does not happen again within the lease, even if client and store are both gone."""
    ran = add(app, lambda: Response(b"done"))

    async def away(*_: Any, **__: Any) -> bool:
        raise IdempotencyStoreError

    def gone(_message: Message) -> None:
        msg = "the client is gone"
        raise OSError(msg)

    monkeypatch.setattr(services.idempotency_store, "complete", away)
    with pytest.raises(OSError, match="gone"):
        await send_raw(app, gone)
    assert ((await client.post("/act", headers=KEY)).status_code, ran) == (409, ["act"])


async def test_client_leaves_before_the_effect(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """An operation that gives up because its client is gone has done nothing, and its key is free."""
    ran: list[bool] = []

    @app.post("/act")
    async def act(request: Request, orders: Orders) -> None:
        await orders.place("T", 1, "ada@example.com")
        await request.body()
        ran.append(await request.is_disconnected())
        if ran[-1]:
            msg = "nobody waits for this"
            raise RuntimeError(msg)

    await send_raw(app, lambda _message: None, leaves=True)
    assert (ran, await orders_of(client)) == ([True], 0)
    again = await client.post("/act", headers=KEY)
    assert (again.status_code, "idempotent-replayed" in again.headers) == (200, False)


async def test_client_leaves_within_its_body(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """A client that goes away before its body is there has not used its key."""
    add(app, Response)
    begun: Message = {"type": "http.request", "body": b"{", "more_body": True}
    await send_raw(app, lambda _message: pytest.fail("nobody is there"), begun, leaves=True)
    assert (await client.post("/act", headers=KEY)).status_code == 200


async def test_cancelled(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """A request that is cut off while it runs, as at the end of a shutdown, has done nothing and frees its key."""
    started = asyncio.Event()

    @app.post("/act")
    async def act(orders: Orders) -> None:
        await orders.place("T", 1, "ada@example.com")
        started.set()
        await asyncio.sleep(0 if ran else 60)

    ran: list[str] = []
    first = asyncio.create_task(client.post("/act", headers=KEY))
    await started.wait()
    ran.append("first")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert await orders_of(client) == 0
    assert (await client.post("/act", headers=KEY)).status_code == 200
    assert await orders_of(client) == 1


@only_memory
async def test_cancelled_while_the_answer_is_kept(
    client: httpx2.AsyncClient, app: FastAPI, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has taken effect gets its answer kept, even if the request is cut off just then."""
    ran = add(app, lambda: Response(b"done"))
    complete: Any = services.idempotency_store.complete
    waits = asyncio.Event()

    async def slow(*args: Any, **kwargs: Any) -> bool:
        if not waits.is_set():
            waits.set()
            await asyncio.sleep(60)
        return await complete(*args, **kwargs)  # type: ignore[no-any-return]

    monkeypatch.setattr(services.idempotency_store, "complete", slow)
    first = asyncio.create_task(client.post("/act", headers=KEY))
    await waits.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    again = await client.post("/act", headers=KEY)
    assert (again.content, again.headers["idempotent-replayed"], ran) == (b"done", "true", ["act"])


async def test_long_request_keeps_its_key(client: httpx2.AsyncClient, app: FastAPI, log: Log) -> None:
    """A request that takes longer than its lease, here one of its own, keeps its key."""
    goes_on = asyncio.Event()
    ran: list[str] = []

    @app.post("/act")
    @idempotency(lease=LEASE)
    async def act() -> None:
        ran.append("act")
        # A second one, which must not be, ends at once instead of waiting with the first.
        if len(ran) == 1:
            await goes_on.wait()

    first = asyncio.create_task(client.post("/act", headers=KEY))
    await asyncio.sleep(LEASE * 1.5)
    assert (await client.post("/act", headers=KEY)).status_code == 409
    goes_on.set()
    assert (await first).status_code == 200
    assert log.named("idempotency.lease_lost") == []


async def test_lost_claim(
    client: httpx2.AsyncClient, app: FastAPI, services: Services, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who lost the key to another request cannot complete it; what it did is undone where the store can do that."""
    goes_on, started = asyncio.Event(), asyncio.Event()
    ran: list[str] = []

    @app.post("/act")
    @idempotency(lease=0.05)
    async def act(orders: Orders) -> str:
        ran.append("act")
        name = f"run {len(ran)}"
        if len(ran) == 1:
            started.set()
            await goes_on.wait()
        await orders.place("T", 1, "ada@example.com")
        return name

    async def away(*_: Any, **__: Any) -> bool:
        raise IdempotencyStoreError

    monkeypatch.setattr(services.idempotency_store, "renew", away)
    late = asyncio.create_task(client.post("/act", headers=KEY))
    await started.wait()
    await asyncio.sleep(0.1)
    second = await client.post("/act", headers=KEY)
    goes_on.set()
    is_sql = services.idempotency_store.transactional
    answer = await late
    assert (second.json(), answer.status_code) == ("run 2", 409 if is_sql else 200)
    assert ("retry-after" in answer.headers) == is_sql
    assert await orders_of(client) == (1 if is_sql else 2)
    assert (await client.post("/act", headers=KEY)).json() == "run 2"
    assert len(log.named("idempotency.lease_lost")) == 1
    assert 'idempotency_requests_total{outcome="lease_lost"} 1' in services.metrics.render().decode()


async def test_store_is_away_at_the_end(
    client: httpx2.AsyncClient, services: Services, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client gets its answer though the store cannot keep it, unless order and answer are one; the loss is told."""

    async def away(*_: Any, **__: Any) -> bool:
        raise IdempotencyStoreError

    with monkeypatch.context() as patch:
        patch.setattr(services.idempotency_store, "complete", away)
        first = await client.post("/orders", json=ORDER, headers=KEY)
    again = await client.post("/orders", json=ORDER, headers=KEY)
    if services.idempotency_store.transactional:
        assert (first.status_code, again.status_code) == (503, 201)
    else:
        assert (first.status_code, again.status_code) == (201, 409)
        assert [line["operation"] for line in log.named("error.reported")] == ["idempotency.answer_lost"]
    assert await orders_of(client) == 1


async def test_key_that_cannot_be_freed(
    client: httpx2.AsyncClient, app: FastAPI, services: Services, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the store cannot free a key, the client still gets the answer, and the key is taken until its lease ends."""

    async def away(*_: Any, **__: Any) -> bool:
        raise IdempotencyStoreError

    monkeypatch.setattr(services.idempotency_store, "release", away)
    add(app, lambda: Response(status_code=500))
    assert [(await client.post("/act", headers=KEY)).status_code for _ in range(2)] == [500, 409]
    assert len(log.named("idempotency.release_failed")) == 1


@only_sql
@pytest.mark.parametrize("answer", ["} no answer", '{"v":99}', '{"v":2,"status":99,"headers":[],"text":""}'])
async def test_damaged_record(client: httpx2.AsyncClient, services: Services, log: Log, answer: str) -> None:
    """A record that cannot be read is refused and not run again; it is logged once, without the key."""
    await client.post("/orders", json=ORDER, headers=KEY)
    assert isinstance(services.idempotency_store, SqlIdempotencyStore)
    async with services.database.session() as session, session.begin():
        await session.execute(text("UPDATE idempotency_records SET answer = :answer"), {"answer": answer})
    for _ in range(2):
        response = await client.post("/orders", json=ORDER, headers=KEY)
        assert (response.status_code, response.json()["code"]) == (409, "IDEMPOTENCY_NOT_REPLAYABLE")
    assert len(log.named("idempotency.record_damaged")) == 1
    assert "key-1" not in "".join(log)
    assert await orders_of(client) == 1


async def test_failed_commit_of_an_answer_that_is_not_kept(
    client: httpx2.AsyncClient, app: FastAPI, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the commit before a refusal fails, the key is free all the same, before its lease ends."""
    add(app, lambda: Response(status_code=429))

    async def fails(_self: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr("app.adapters.unit_of_work.AsyncSession.commit", fails)
        assert (await client.post("/act", headers=KEY)).status_code == 503
    assert (await client.post("/act", headers=KEY)).status_code == 429
    assert log.named("idempotency.release_failed") == []


async def test_chunked_body(client: httpx2.AsyncClient, app: FastAPI, services: Services) -> None:
    """A body without a length reaches the operation whole, and a replay knows it again."""
    bodies: list[bytes] = []

    @app.post("/act")
    async def act(request: Request) -> None:
        bodies.append(await request.body())

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"a", b"b", b"c"):
            yield piece

    await client.post("/act", content=pieces(), headers=KEY)
    again = await client.post("/act", content=b"abc", headers=KEY)
    assert (bodies, again.headers["idempotent-replayed"]) == ([b"abc"], "true")


async def test_chunked_body_is_bounded(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """A body without a length is read up to the limit, and the key stays unused."""
    ran = add(app, Response)
    sent: list[int] = []

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(100):
            sent.append(number)
            yield b"x" * 100_000

    assert (await client.post("/act", content=pieces(), headers=KEY)).status_code == 413
    assert ran == []
    assert (await client.post("/act", headers=KEY)).status_code == 200
