"""Every error is a problem document."""

import logging
from collections.abc import Callable

import httpx2
import pytest
from fastapi import FastAPI, HTTPException, Response
from sqlalchemy.exc import OperationalError
from starlette.types import Receive, Scope, Send

from app.core import errors
from app.core.logging import is_reported

from ..conftest import Log

JSON = {"content-type": "application/json"}


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
