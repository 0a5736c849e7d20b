"""Every error is a problem document, and every fault of the service is reported once."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI, HTTPException, Response
from sqlalchemy.exc import InternalError, OperationalError
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.adapters.reporters.log import LogReporter
from app.adapters.reporting import ErrorReporting, error_reporting
from app.api.application import create_app
from app.api.errors import has_other_handlers
from app.api.middleware import BUILDERS
from app.bootstrap import Services, bootstrap
from app.core import errors
from app.core.context import current_context
from app.core.logging import is_reported
from app.core.reporting import ErrorContext, ReportCap, report_error
from app.settings import Settings
from app.settings_groups import HttpSettings

from ..conftest import Log
from ..processes import run_python

JSON = {"content-type": "application/json"}


class Noted(ErrorReporting):
    """Reporting that notes what is new to it."""

    def __init__(self) -> None:
        super().__init__(cap=ReportCap(1000, 60), on_outcome=lambda *_: None)
        self.errors: list[BaseException] = []
        self.contexts: list[ErrorContext] = []

    def _take(self, error: BaseException, context: ErrorContext, *, in_log: bool) -> str | None:
        self.errors.append(error)
        self.contexts.append(context)
        return super()._take(error, context, in_log=in_log)


@pytest.fixture
def noted() -> Noted:
    """Return what errors are reported to."""
    return Noted()


@pytest.fixture
async def services(settings: Settings, noted: Noted) -> AsyncIterator[Services]:
    """Return the service's parts, which report to a list."""
    built = bootstrap(settings, reporting=noted)
    yield built
    await built.aclose()


def raising(error: Exception) -> Callable[[], None]:
    """Return an endpoint that fails."""

    def endpoint() -> None:
        raise error

    return endpoint


async def problem_of(client: httpx2.AsyncClient, app: FastAPI, error: Exception) -> httpx2.Response:
    """Return what a caller is told when an endpoint raises."""
    app.get("/fails")(raising(error))
    return await client.get("/fails")


def assert_problem(response: httpx2.Response, status: int, code: str) -> None:
    """Hold a response to the contract of every error."""
    body = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert body["trace_id"] == response.headers["x-trace-id"]
    assert body["request_id"] == response.headers["x-request-id"]
    assert {"type", "title", "detail", "instance"} < set(body)


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (errors.ValidationError(), 422, None),
        (errors.MalformedInputError(), 400, None),
        (errors.AuthenticationError(), 401, "www-authenticate"),
        (errors.PermissionDeniedError(), 403, None),
        (errors.NotFoundError(), 404, None),
        (errors.NotAcceptableError(), 406, None),
        (errors.AlreadyExistsError(), 409, None),
        (errors.InvalidStateError(), 409, None),
        (errors.PayloadTooLargeError(), 413, None),
        (errors.UnsupportedMediaTypeError(), 415, None),
        (errors.BusinessRuleError(), 422, None),
        (errors.RateLimitError(retry_after=7), 429, "retry-after"),
        (errors.ExternalServiceError(), 502, None),
        (errors.InfrastructureError(), 503, "retry-after"),
    ],
)
async def test_taxonomy(
    client: httpx2.AsyncClient, app: FastAPI, error: errors.AppError, status: int, header: str | None
) -> None:
    """Each kind of error has its status, its code and the header that the status needs."""
    response = await problem_of(client, app, error)
    assert_problem(response, status, error.code)
    assert header is None or header in response.headers


async def test_unexpected_error_tells_nothing(client: httpx2.AsyncClient, app: FastAPI, log: Log) -> None:
    """An error that nobody foresaw tells the caller nothing, and is in the log once."""
    response = await problem_of(client, app, RuntimeError("secret plan"))
    assert_problem(response, 500, "INTERNAL_ERROR")
    assert "secret plan" not in response.text
    assert [line["exception"][0]["type"] for line in log.events if "exception" in line] == ["RuntimeError"]


async def test_database_outage(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """A database that does not answer is a temporary failure."""
    response = await problem_of(client, app, OperationalError("SELECT 1", {}, Exception("refused")))
    assert_problem(response, 503, "DATABASE_ERROR")
    assert response.headers["retry-after"] == "1"


async def test_lost_connection(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """A statement whose connection is gone is a temporary failure, whatever the driver calls it."""
    lost = InternalError("SELECT 1", {}, Exception("terminated"), connection_invalidated=True)
    assert_problem(await problem_of(client, app, lost), 503, "DATABASE_ERROR")


async def test_connection_outage(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """A connection that fails is a temporary failure, and not the database's."""
    assert_problem(await problem_of(client, app, ConnectionRefusedError()), 503, "NETWORK_ERROR")


async def test_failure_of_another_service(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """A call to another service that fails in whatever way is that service's failure."""
    response = await problem_of(client, app, httpx2.ConnectTimeout("https://bank.test/internal"))
    assert_problem(response, 502, "EXTERNAL_SERVICE_ERROR")
    assert "bank" not in response.text


async def test_raised_redirect(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """What is raised below 400 is no problem, and has no body."""
    response = await problem_of(client, app, HTTPException(303, headers={"Location": "/orders"}))
    assert (response.status_code, response.headers["location"], response.content) == (303, "/orders", b"")


async def test_framework_exception(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """FastAPI's own exception keeps its status, detail and headers."""
    response = await problem_of(client, app, HTTPException(409, "taken", {"X-Why": "because"}))
    assert_problem(response, 409, "INVALID_STATE")
    assert (response.json()["detail"], response.headers["x-why"]) == ("taken", "because")


async def test_unknown_path(client: httpx2.AsyncClient) -> None:
    """A path that nobody serves is a problem document."""
    response = await client.get("/nowhere?token=abc")
    assert_problem(response, 404, "NOT_FOUND")
    assert response.json()["instance"] == "/nowhere"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("DELETE", "/orders", "GET, POST"), ("PUT", "/orders/1", "GET"), ("GET", "/orders/1/cancel", "POST")],
)
async def test_wrong_method(client: httpx2.AsyncClient, method: str, path: str, allow: str) -> None:
    """A wrong method is answered with all methods that the path has."""
    response = await client.request(method, path)
    assert_problem(response, 405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == allow


@pytest.mark.parametrize("content", ["", "{", "nul", '{"sku": "\\ud800"}', "[" * 100_000])
async def test_body_that_is_no_json(client: httpx2.AsyncClient, content: str) -> None:
    """A body that cannot be read is refused, and never crashes the service."""
    response = await client.post("/orders", content=content, headers=JSON)
    assert response.status_code in (400, 422)
    assert response.json()["code"] in ("MALFORMED_REQUEST", "VALIDATION_ERROR")


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_other_media_type(client: httpx2.AsyncClient, media_type: str | None) -> None:
    """A body in another format is not guessed at."""
    headers = {"content-type": media_type} if media_type else {}
    response = await client.post("/orders", content='{"sku": "T"}', headers=headers)
    assert_problem(response, 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    ("accept", "status"),
    [("application/xml", 406), ("application/json;q=0", 406), ("text/html, */*;q=0.1", 200), ("application/*", 200)],
)
async def test_accept(client: httpx2.AsyncClient, accept: str, status: int) -> None:
    """A caller that accepts no JSON is told so."""
    assert (await client.get("/orders", headers={"accept": accept})).status_code == status


async def test_failure_in_middleware(client: httpx2.AsyncClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error inside middleware is a problem document with the ids."""
    monkeypatch.setattr("app.api.transaction.UnitOfWork", raising(RuntimeError("broken")))
    assert_problem(await client.get("/orders"), 500, "INTERNAL_ERROR")


async def test_no_secret_in_a_problem(client: httpx2.AsyncClient) -> None:
    """A problem document does not repeat an address that stood in the path."""
    address = "@".join(["ada", "example.com"])
    response = await client.get(f"/orders/{address}")
    assert response.status_code == 404
    assert address not in response.text


async def test_no_redirect(client: httpx2.AsyncClient) -> None:
    """A slash too many is an unknown path, not a redirect that no description declares."""
    assert_problem(await client.get("/livez/"), 404, "NOT_FOUND")


async def test_error_after_the_start(app: FastAPI, log: Log) -> None:
    """An error after the answer has begun is logged once, by the access line, and goes on to the server."""

    class Broken(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            msg = "late"
            raise RuntimeError(msg)

    @app.get("/breaks")
    async def breaks() -> Response:
        return Broken()

    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://s") as client:
        with pytest.raises(RuntimeError) as raised:
            await client.get("/breaks")
    logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=raised.value)
    (line,) = [line for line in log.events if "exception" in line]
    assert (line["event"], line["level"], line["status"]) == ("http.request", "error", "server_error")
    assert is_reported(raised.value)


# One per middleware that stands inside the one for errors.
MIDDLEWARE = [name for name in BUILDERS if name not in ("observability", "errors")]


class Broken:
    """A middleware that fails.

    Args:
        app: What is further in.

    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Fail."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        msg = "broken inside"
        raise RuntimeError(msg)


def asgi_client(app: FastAPI) -> httpx2.AsyncClient:
    """Return a client that sees answers, whatever the application raises afterwards."""
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://s")


@pytest.mark.parametrize("name", MIDDLEWARE)
async def test_failure_inside_each_middleware(
    services: Services, noted: Noted, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whichever middleware fails, the answer is a problem document with the ids, and the fault is reported once."""
    monkeypatch.setitem(BUILDERS, name, lambda _services: Middleware(Broken))
    async with asgi_client(create_app(services.settings, services=services)) as client:
        assert_problem(await client.get("/orders"), 500, "INTERNAL_ERROR")
    assert [str(error) for error in noted.errors] == ["broken inside"]


@pytest.mark.parametrize("names", [(), ("observability",)])
async def test_without_the_middleware(services: Services, noted: Noted, names: tuple[str, ...]) -> None:
    """With the middleware for errors switched off a fault is a problem document all the same, and reported once."""
    settings = services.settings.model_copy(update={"http": HttpSettings(middleware=names)})
    app = create_app(settings, services=replace(services, settings=settings))
    app.get("/fails")(raising(RuntimeError("secret plan")))
    async with asgi_client(app) as client:
        response = await client.get("/fails", headers={"x-request-id": "mine"})
    assert (response.status_code, response.json()["code"]) == (500, "INTERNAL_ERROR")
    assert response.json()["request_id"] == "mine"
    assert "secret plan" not in response.text
    assert len(noted.errors) == 1


async def test_fault_is_logged_without_an_access_line(services: Services, log: Log) -> None:
    """With observability switched off nobody else logs the fault: the report does."""
    settings = services.settings.model_copy(update={"http": HttpSettings(middleware=("errors",))})
    reporting = error_reporting(settings, database=LogReporter, on_outcome=lambda *_: None)
    app = create_app(settings, services=replace(services, settings=settings, reporting=reporting))
    app.get("/fails")(raising(RuntimeError()))
    async with asgi_client(app) as client:
        await client.get("/fails")
    assert [line["operation"] for line in log.named("error.reported")] == ["GET /fails"]


async def test_failure_of_the_outermost_middleware(app: FastAPI, noted: Noted) -> None:
    """Even what stands around everything may fail: the answer is a problem document with ids, the fault reported."""
    app.add_middleware(Broken)
    assert not has_other_handlers(app)
    async with asgi_client(app) as client:
        response = await client.get("/orders", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    assert_problem(response, 500, "INTERNAL_ERROR")
    assert response.headers["x-trace-id"] == "a" * 32
    assert [str(error) for error in noted.errors] == ["broken inside"]


async def test_outermost_failure_after_the_start(app: FastAPI, noted: Noted) -> None:
    """An answer that has begun is not begun again; the error goes on to the server."""

    class Late(Broken):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.app(scope, receive, send)
            await super().__call__(scope, receive, send)

    app.add_middleware(Late)
    async with asgi_client(app) as client:
        assert (await client.get("/livez")).status_code == 200
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://s") as client:
        with pytest.raises(RuntimeError, match="broken inside"):
            await client.get("/livez")
    assert [str(error) for error in noted.errors] == ["broken inside"] * 2


async def test_fault_is_reported_once(client: httpx2.AsyncClient, app: FastAPI, noted: Noted, log: Log) -> None:
    """A fault is reported with its request, and logged by the access line alone."""
    error = RuntimeError("broken")
    response = await problem_of(client, app, error)
    assert noted.errors == [error]
    (context,) = noted.contexts
    assert (context.operation, context.code) == ("GET /fails", "INTERNAL_ERROR")
    assert context.extra == {"method": "GET", "route": "/fails", "path": "/fails", "status_code": 500}
    (line,) = [line for line in log.events if "exception" in line]
    assert (line["event"], line["request_id"]) == ("http.request", response.headers["x-request-id"])
    assert log.named("error.reported") == []


async def test_report_finds_the_request(client: httpx2.AsyncClient, app: FastAPI, services: Services) -> None:
    """The report has the ids that the caller was told."""
    reports: list[dict[str, object]] = []

    @app.get("/fails/{number}")
    async def fails(number: int) -> None:
        raise RuntimeError

    def keep(*_: object, **__: object) -> None:
        reports.append(dict(current_context()))

    services.reporting._take = keep  # type: ignore[method-assign]
    response = await client.get("/fails/7")
    assert (
        reports[0].items()
        >= {"request_id": response.headers["x-request-id"], "trace_id": response.headers["x-trace-id"]}.items()
    )


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (errors.NotFoundError(), False),
        (errors.SecurityError(), False),
        (errors.RateLimitError(), False),
        (HTTPException(404), False),
        (HTTPException(503), True),
        (errors.ExternalServiceError(), True),
        (errors.InfrastructureError(), True),
        (errors.ConfigurationFaultError(), True),
        (OperationalError("SELECT 1", {}, Exception("refused")), True),
        (ExceptionGroup("several", [ValueError()]), True),
    ],
)
async def test_what_is_reported(
    client: httpx2.AsyncClient, app: FastAPI, noted: Noted, error: Exception, reported: bool
) -> None:
    """Answers that the caller asked for are not reported; faults of the service and of what it needs are."""
    await problem_of(client, app, error)
    assert noted.errors == ([error] if reported else [])


async def test_reported_by_hand(client: httpx2.AsyncClient, app: FastAPI, noted: Noted) -> None:
    """What an endpoint reports and raises again is reported once, with what the endpoint said."""

    @app.get("/fails")
    async def fails() -> None:
        error = RuntimeError()
        report_error(error, operation="pay")
        raise error

    await client.get("/fails")
    assert [context.operation for context in noted.contexts] == ["pay"]


async def test_one_object_in_two_requests(client: httpx2.AsyncClient, app: FastAPI, noted: Noted) -> None:
    """An exception object that is raised in two requests is reported in both."""
    app.get("/fails")(raising(RuntimeError()))
    for _ in range(2):
        await client.get("/fails")
    assert len(noted.errors) == 2


async def test_error_after_the_start_is_reported(app: FastAPI, noted: Noted) -> None:
    """An error that breaks an answer half-way is reported once, though it was one that callers may ask for."""
    error = errors.NotFoundError()

    class Broken(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise error

    @app.get("/breaks")
    async def breaks() -> Response:
        return Broken()

    async with asgi_client(app) as client:
        await client.get("/breaks")
    assert noted.errors == [error]


async def test_callers_who_leave_are_no_fault(client: httpx2.AsyncClient, app: FastAPI, noted: Noted) -> None:
    """Neither a request that is cancelled when the service stops nor one whose caller left is reported."""

    @app.get("/stops")
    async def stops() -> None:
        raise asyncio.CancelledError

    response = await client.get("/stops")
    assert_problem(response, 503, "INFRASTRUCTURE_ERROR")
    assert response.headers["retry-after"] == "1"
    assert noted.errors == []


async def test_fault_at_the_start(settings: Settings, services: Services, noted: Noted, log: Log) -> None:
    """A service that cannot start reports why, and logs it once."""
    own = replace(services, settings=settings)
    app = create_app(settings, services=own)
    with pytest.raises(RuntimeError, match="no table"):
        async with app.router.lifespan_context(app):
            raising(RuntimeError("no table"))()
    assert [str(error) for error in noted.errors] == ["no table"]
    assert [line["event"] for line in log.events if "exception" in line] == ["service.failed"]


def test_crash_of_the_process() -> None:
    """The entry point has crashes reported, and they arrive before the process ends."""
    script = """
from app.api import server
from app.api.__main__ import main
def serve(*_):
    raise RuntimeError("crashed")
server.serve = serve
main()
"""
    ended = run_python("-c", script, ERRORS__REPORTERS='["file"]')
    assert ended.returncode == 1
    (line,) = Path("var/errors.jsonl").read_bytes().splitlines()
    assert json.loads(line)["message"] == "crashed"


async def test_tasks_that_nobody_awaits(app: FastAPI, noted: Noted) -> None:
    """While the service runs, an error in a task that nobody awaits is reported."""

    async def forgotten() -> None:
        raise RuntimeError

    async with app.router.lifespan_context(app):
        task = asyncio.get_running_loop().create_task(forgotten())
        await asyncio.wait([task])
        del task
    assert len(noted.errors) == 1


async def test_internals_of_a_fault_stay_inside(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """Details of an error from 500 up are for reports, not for callers."""
    response = await problem_of(client, app, errors.DatabaseError("x", details={"table": "users"}))
    assert_problem(response, 503, "DATABASE_ERROR")
    assert "users" not in response.text


async def test_own_validation_errors(client: httpx2.AsyncClient, app: FastAPI) -> None:
    """A rule that the domain checks itself is told in the same shape as the framework's."""
    response = await problem_of(client, app, errors.invalid_field("body", "sku", msg="Not in the catalogue"))
    assert_problem(response, 422, "VALIDATION_ERROR")
    assert response.json()["errors"] == [{"loc": ["body", "sku"], "msg": "Not in the catalogue", "type": "value_error"}]
