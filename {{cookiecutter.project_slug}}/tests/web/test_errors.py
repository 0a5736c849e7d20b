"""Every error is a problem document, and every fault of the service is reported once."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import httpx2
import pytest
from django.core.cache import cache
from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
)
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from django.views.decorators.http import require_safe
from ninja.errors import AuthenticationError, AuthorizationError, HttpError, Throttled
from ninja.security import HttpBearer
from ninja.throttling import AnonRateThrottle

from app.adapters.reporters.log import LogReporter
from app.adapters.reporting import ErrorReporting, error_reporting
from app.core import errors
from app.core.context import current_context
from app.core.reporting import ErrorContext, ReportCap, installed, report_error
from app.orders.models import place
from app.web.bootstrap import Services, using_services
from app.web.errors import error_of
from app.web.middleware import PATHS, middleware
from app.web.orders.models import OrderRecord

from ..conftest import Log
from .conftest import Ask
from .paths import operation, raising, serving

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
JSON = "application/json"


class Noted(ErrorReporting):
    """Reporting that notes what is new to it."""

    def __init__(self) -> None:
        super().__init__(cap=ReportCap(1000, 60), on_outcome=lambda *_: None)
        self.errors: list[BaseException] = []
        self.contexts: list[ErrorContext] = []
        self.found: list[dict[str, Any]] = []

    def _take(self, error: BaseException, context: ErrorContext, *, in_log: bool) -> str | None:
        self.errors.append(error)
        self.contexts.append(context)
        self.found.append(dict(current_context()))
        return super()._take(error, context, in_log=in_log)


@pytest.fixture
def noted(services: Services) -> Iterator[Noted]:
    """Return what errors are reported to."""
    reporting = Noted()
    with using_services(replace(services, reporting=reporting)):
        yield reporting


@pytest.fixture(params=[False, True], ids=["", "debug"])
def debug(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Run a test without Django's DEBUG, and with it."""
    with override_settings(DEBUG=request.param):
        yield request.param


def assert_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """Hold a response to the contract of every error, and return its document."""
    body: dict[str, Any] = json.loads(response.content)
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    assert response["content-type"] == "application/problem+json"
    assert response["content-length"] == str(len(response.content))
    assert body["trace_id"] == response["x-trace-id"]
    assert body["request_id"] == response["x-request-id"]
    assert {"type", "title", "detail", "instance"} < set(body)
    return body


def answer_to(ask: Ask, error: BaseException) -> HttpResponse:
    """Return what a caller is told when an operation raises."""
    with serving(operation("/fails", raising(error))):
        response: HttpResponse = ask("GET", "/fails")
    return response


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
def test_taxonomy(ask: Ask, error: errors.AppError, status: int, header: str | None) -> None:
    """Each kind of error has its status, its code and the header that the status needs."""
    response = answer_to(ask, error)
    assert_problem(response, status, error.code)
    assert header is None or header in response


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Http404("No OrderRecord matches the given query."), 404, "NOT_FOUND"),
        (PermissionDenied("internal"), 403, "PERMISSION_DENIED"),
        (SuspiciousOperation("internal"), 400, "MALFORMED_REQUEST"),
        (TooManyFieldsSent("internal"), 400, "MALFORMED_REQUEST"),
        (BadRequest("internal"), 400, "MALFORMED_REQUEST"),
        (MultiPartParserError("internal"), 400, "MALFORMED_REQUEST"),
        (RequestDataTooBig("internal"), 413, "PAYLOAD_TOO_LARGE"),
        (UnreadablePostError("internal"), 499, "REQUEST_ERROR"),
        (OperationalError("internal"), 503, "DATABASE_ERROR"),
        (InterfaceError("internal"), 503, "DATABASE_ERROR"),
        (IntegrityError("internal"), 500, "INTERNAL_ERROR"),
        (ConnectionRefusedError("internal"), 503, "NETWORK_ERROR"),
        (httpx2.ConnectTimeout("internal"), 502, "EXTERNAL_SERVICE_ERROR"),
        (RuntimeError("internal"), 500, "INTERNAL_ERROR"),
        (HttpError(409, "taken"), 409, "INVALID_STATE"),
        (HttpError(503, "internal"), 503, "INFRASTRUCTURE_ERROR"),
        (AuthenticationError(), 401, "AUTHENTICATION_REQUIRED"),
        (AuthorizationError(), 403, "PERMISSION_DENIED"),
        (Throttled(wait=7), 429, "RATE_LIMIT_EXCEEDED"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_errors_of_others(ask: Ask, debug: bool, error: Exception, status: int, code: str) -> None:
    """What Django, Ninja and clients raise has its status too, and tells nothing of the inside, with DEBUG as well."""
    response = answer_to(ask, error)
    assert_problem(response, status, code)
    for text in ("internal", "OrderRecord", "Unauthorized", "Too many requests."):
        assert text not in response.content.decode() or status in (401, 429)
    assert status != 401 or response["www-authenticate"] == "Bearer"
    assert status != 429 or response["retry-after"] == "7"
    assert status != 503 or response["retry-after"] == "1"


def test_own_sentence(ask: Ask) -> None:
    """What an operation says with Ninja's own exception, the caller is told."""
    assert assert_problem(answer_to(ask, HttpError(409, "taken")), 409, "INVALID_STATE")["detail"] == "taken"


def test_ninja_refuses(ask: Ask) -> None:
    """What Ninja refuses before the operation runs is a problem as well."""

    class Never(HttpBearer):
        def authenticate(self, request: HttpRequest, token: str) -> None: ...

    with serving(operation("/secret", lambda request: None, auth=Never())):
        assert_problem(ask("GET", "/secret"), 401, "AUTHENTICATION_REQUIRED")
        assert_problem(ask("GET", "/secret", headers={"authorization": "Bearer x"}), 401, "AUTHENTICATION_REQUIRED")
    cache.clear()
    with serving(operation("/few", lambda request: None, throttle=AnonRateThrottle("1/h"))):
        assert ask("GET", "/few").status_code == 200
        response = ask("GET", "/few")
    assert_problem(response, 429, "RATE_LIMIT_EXCEEDED")
    assert 3500 < int(response["retry-after"]) <= 3600


def test_unexpected_error_tells_nothing(ask: Ask, log: Log, debug: bool) -> None:
    """An error that nobody foresaw tells the caller nothing, and is in the log once."""
    response = answer_to(ask, RuntimeError("secret plan"))
    assert_problem(response, 500, "INTERNAL_ERROR")
    assert "secret plan" not in response.content.decode()
    assert [line["exception"][0]["type"] for line in log.events if "exception" in line] == ["RuntimeError"]


@pytest.mark.parametrize("where", ["/nowhere", "/", "/orders/1/2/3", "/livez/"])
def test_unknown_path(ask: Ask, debug: bool, where: str) -> None:
    """A path that nobody serves is a problem document, and never a redirect."""
    response = ask("GET", where + "?token=abc", headers={"accept": "application/json"})
    assert assert_problem(response, 404, "NOT_FOUND")["instance"] == where


@pytest.mark.parametrize(
    ("method", "where", "allow"),
    [
        ("DELETE", "/orders", "GET, POST"),
        ("BREW", "/orders", "GET, POST"),
        ("PUT", "/orders/1", "GET"),
        ("GET", "/orders/1/cancel", "POST"),
        ("HEAD", "/orders", "GET, POST"),
        ("POST", "/static/admin/css/base.css", "GET, HEAD"),
        ("POST", "/own", "GET, HEAD"),
    ],
)
def test_wrong_method(ask: Ask, method: str, where: str, allow: str) -> None:
    """A wrong method is answered with all methods that the path has."""
    with serving(path("own", require_safe(lambda request: HttpResponse()))):
        response = ask(method, where)
    if method != "HEAD":
        assert_problem(response, 405, "METHOD_NOT_ALLOWED")
    assert (response.status_code, response["allow"]) == (405, allow)


@pytest.mark.parametrize("content", ["{", "nul", "\ufeff{", "[" * 100_000, "9" * 5000, b"\xff\xfe"])
def test_body_that_is_no_json(ask: Ask, debug: bool, content: str | bytes) -> None:
    """A body that cannot be read is refused, and never crashes the service."""
    response = ask("POST", "/orders", content, content_type=JSON)
    problem = assert_problem(response, 400, "MALFORMED_REQUEST")
    assert problem["detail"] == "The request body is not valid JSON."


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_other_media_type(ask: Ask, media_type: str) -> None:
    """A body in another format is not guessed at."""
    response = ask("POST", "/orders", '{"sku": "T"}', content_type=media_type)
    assert_problem(response, 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    ("method", "where", "content", "places"),
    [
        ("POST", "/orders", "{}", [["body", "sku"], ["body", "quantity"], ["body", "customer_email"]]),
        ("POST", "/orders", "[]", [["body"]]),
        ("POST", "/orders", "null", [["body"]]),
        ("POST", "/orders", "", [["body"]]),
        ("GET", "/orders?limit=zq7", "", [["query", "limit"]]),
        ("GET", "/numbers/zq7", "", [["path", "number"]]),
    ],
)
def test_validation(ask: Ask, method: str, where: str, content: str, places: list[list[str]]) -> None:
    """What is wrong is named by its place in the request, not by a function's parameters, and is not repeated."""

    def numbers(request: HttpRequest, number: int) -> None: ...

    with serving(operation("/numbers/{number}", numbers)):
        response = ask(method, where, content, content_type=JSON)
    problem = assert_problem(response, 422, "VALIDATION_ERROR")
    assert [error["loc"] for error in problem["errors"]] == places
    assert all(set(error) == {"loc", "msg", "type"} for error in problem["errors"])
    assert "zq7" not in json.dumps(problem["errors"])


@pytest.mark.parametrize(
    ("accept", "status"),
    [("application/xml", 406), ("text/html", 406), ("application/json;q=0", 406), ("text/html, */*;q=0.1", 200)],
)
@pytest.mark.django_db
def test_accept(ask: Ask, accept: str, status: int) -> None:
    """A caller that accepts no JSON is told so."""
    assert ask("GET", "/orders", headers={"accept": accept}).status_code == status


class Broken:
    """A middleware that fails.

    Args:
        get_response: What is further in.

    """

    make: Callable[[], Exception] = staticmethod(partial(RuntimeError, "broken inside"))

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None: ...

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Fail."""
        raise self.make()


@pytest.mark.parametrize("place", range(2, len(PATHS) + 1))
def test_failure_inside_each_middleware(ask: Ask, noted: Noted, debug: bool, place: int) -> None:
    """Whichever middleware fails, the answer is a problem document with the ids, and the fault is reported once."""
    paths = list(PATHS.values())
    with override_settings(MIDDLEWARE=[*paths[:place], _importable(Broken), *paths[place:]]):
        assert_problem(ask("GET", "/orders"), 500, "INTERNAL_ERROR")
    assert [str(error) for error in noted.errors] == ["broken inside"]


def _importable(kind: type) -> str:
    """Return a path by which Django finds a class of this module, whatever pytest calls it."""
    sys.modules["broken_middleware"] = sys.modules[kind.__module__]
    return f"broken_middleware.{kind.__name__}"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.InvalidStateError, 409, "INVALID_STATE"),
        (PermissionDenied, 403, "PERMISSION_DENIED"),
        (SuspiciousOperation, 400, "MALFORMED_REQUEST"),
        (Http404, 404, "NOT_FOUND"),
        (OperationalError, 503, "DATABASE_ERROR"),
    ],
)
def test_errors_of_middleware(
    ask: Ask, debug: bool, monkeypatch: pytest.MonkeyPatch, error: type[Exception], status: int, code: str
) -> None:
    """What a middleware raises is told as if an operation had."""
    monkeypatch.setattr(Broken, "make", error)
    with override_settings(MIDDLEWARE=[*PATHS.values(), _importable(Broken)]):
        assert_problem(ask("GET", "/orders"), status, code)


def test_failure_of_the_outermost_middleware(ask: Ask, noted: Noted) -> None:
    """Even what stands around everything may fail: the answer is a problem document with ids, the fault reported."""
    with override_settings(MIDDLEWARE=[_importable(Broken), *PATHS.values()]):
        response = ask(
            "GET", "/orders", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "x-request-id": "mine"}
        )
    assert_problem(response, 500, "INTERNAL_ERROR")
    assert (response["x-trace-id"], response["x-request-id"]) == ("a" * 32, "mine")
    assert [str(error) for error in noted.errors] == ["broken inside"]


@pytest.mark.parametrize("names", [(), ("observability",), ("errors",)])
def test_without_the_middleware(ask: Ask, noted: Noted, names: tuple[str, ...]) -> None:
    """With middleware switched off a fault is a problem document all the same, and reported once."""
    with override_settings(MIDDLEWARE=middleware(names)), serving(operation("/fails", raising(RuntimeError("plan")))):
        response = ask("GET", "/fails", headers={"x-request-id": "mine"})
    assert_problem(response, 500, "INTERNAL_ERROR")
    assert response["x-request-id"] == "mine"
    assert "plan" not in response.content.decode()
    assert len(noted.errors) == 1


def test_fault_is_logged_without_an_access_line(services: Services, log: Log) -> None:
    """With observability switched off nobody else logs the fault: the report does."""
    reporting = error_reporting(services.settings, database=LogReporter, on_outcome=lambda *_: None)
    with (
        using_services(replace(services, reporting=reporting)),
        override_settings(MIDDLEWARE=middleware(("errors",))),
        serving(operation("/fails", raising(RuntimeError()))),
    ):
        Client().get("/fails")
    assert [line["operation"] for line in log.named("error.reported")] == ["GET /fails"]
    assert len([line for line in log.events if "exception" in line]) == 1


def test_fault_is_reported_once(ask: Ask, noted: Noted, log: Log) -> None:
    """A fault is reported with its request and its ids, and logged by the access line alone."""
    error = RuntimeError("broken")
    response = answer_to(ask, error)
    assert noted.errors == [error]
    (context,) = noted.contexts
    assert (context.operation, context.code) == ("GET /fails", "INTERNAL_ERROR")
    assert context.extra == {"method": "GET", "route": "/fails", "path": "/fails", "status_code": 500}
    (line,) = [line for line in log.events if "exception" in line]
    assert (line["event"], line["request_id"]) == ("http.request", response["x-request-id"])
    assert noted.found[0]["trace_id"] == response["x-trace-id"]


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (errors.NotFoundError(), False),
        (errors.SecurityError(), False),
        (errors.RateLimitError(), False),
        (Http404(), False),
        (PermissionDenied(), False),
        (HttpError(404, "x"), False),
        (HttpError(503, "x"), True),
        (errors.ExternalServiceError(), True),
        (errors.InfrastructureError(), True),
        (errors.ConfigurationFaultError(), True),
        (OperationalError(), True),
        (ExceptionGroup("several", [ValueError()]), True),
    ],
)
def test_what_is_reported(ask: Ask, noted: Noted, debug: bool, error: Exception, reported: bool) -> None:
    """Answers that the caller asked for are not reported; faults of the service and of what it needs are."""
    answer_to(ask, error)
    assert noted.errors == ([error] if reported else [])


def test_reported_by_hand(ask: Ask, noted: Noted) -> None:
    """What an operation reports and raises again is reported once, with what the operation said."""

    def fails(request: HttpRequest) -> None:
        error = RuntimeError()
        report_error(error, operation="pay")
        raise error

    with installed(noted), serving(operation("/fails", fails)):
        ask("GET", "/fails")
    assert [context.operation for context in noted.contexts] == ["pay"]


def test_one_object_in_two_requests(ask: Ask, noted: Noted) -> None:
    """An exception object that is raised in two requests is reported in both."""
    with serving(operation("/fails", raising(RuntimeError()))):
        for _ in range(2):
            ask("GET", "/fails")
    assert len(noted.errors) == 2


def test_broken_stream_is_reported(services: Services, noted: Noted) -> None:
    """An error that breaks an answer half-way is reported, though it was one that callers may ask for."""

    def parts() -> Iterator[bytes]:
        yield b"one"
        raise errors.NotFoundError

    with serving(path("stream", lambda request: StreamingHttpResponse(parts()))):
        response = Client().get("/stream")
        with pytest.raises(errors.NotFoundError):
            b"".join(response)
    assert [type(error) for error in noted.errors] == [errors.NotFoundError]


def test_error_is_kept(ask: Ask) -> None:
    """Whoever stands around an operation can ask what went wrong with it."""
    error, seen = errors.NotFoundError(), []

    class Looks(Broken):
        def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
            self.get_response = get_response

        def __call__(self, request: HttpRequest) -> HttpResponse:
            response = self.get_response(request)
            seen.append(error_of(request))
            return response

    globals()["Looks"] = Looks
    with override_settings(MIDDLEWARE=[PATHS["errors"], _importable(Looks)]):
        answer_to(ask, error)
    assert seen == [error]


@pytest.mark.django_db(transaction=True)
def test_what_fails_is_undone(ask: Ask) -> None:
    """An error that leaves an atomic block undoes what was done in it, also where Django opens one for each request."""

    def fails(request: HttpRequest) -> None:
        OrderRecord.of(place("TEA-42", 1, "ada@example.com")).save(force_insert=True)
        raise errors.BusinessRuleError

    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        with serving(operation("/fails", fails)):
            assert_problem(ask("GET", "/fails"), 422, "BUSINESS_RULE_VIOLATION")
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
    with serving(operation("/fails", transaction.atomic(fails))):
        assert_problem(ask("GET", "/fails"), 422, "BUSINESS_RULE_VIOLATION")
    assert OrderRecord.objects.count() == 0


@pytest.mark.parametrize("accept", ["*/*", JSON, ""])
def test_forged_form(services: Services, log: Log, accept: str) -> None:
    """A form without its token is a problem to who is no browser, and Django's record about it stays."""
    response = Client(enforce_csrf_checks=True).post("/admin/login/", headers={"accept": accept})
    assert_problem(response, 403, "SECURITY_VIOLATION")
    assert "django.security.csrf" in [line["logger"] for line in log.events]


@pytest.mark.parametrize("where", ["/orders", "/admin/login/"])
def test_unknown_host(ask: Ask, log: Log, debug: bool, where: str) -> None:
    """A host that the service does not go by is a problem; Django's record about it stays."""
    response = ask("GET", where, headers={"host": "evil.example"})
    assert_problem(response, 400, "MALFORMED_REQUEST")
    assert "django.security.DisallowedHost" in [line["logger"] for line in log.events]


@pytest.mark.django_db
class TestPages:
    """Where there are pages, who asks for HTML gets Django's."""

    def test_errors(self, ask: Ask, noted: Noted, debug: bool) -> None:
        """Each error of a page is a page, and a fault is reported once."""
        for number, (error, status) in enumerate(
            [(Http404(), 404), (PermissionDenied(), 403), (SuspiciousOperation(), 400), (RuntimeError("boom"), 500)]
        ):
            with serving(path(f"page{number}", raising(error))):
                response = ask("GET", f"/page{number}", headers={"accept": BROWSER})
            assert response.status_code == status
            assert response["content-type"].startswith("text/html")
            assert "x-request-id" in response
            assert ("boom" in response.content.decode()) is (debug and status == 500)
        assert [str(error) for error in noted.errors] == ["boom"]

    def test_the_same_for_a_client_of_an_api(self, ask: Ask, debug: bool) -> None:
        """The same page's error is a problem to who asks for no HTML."""
        with serving(path("page", raising(Http404()))):
            assert_problem(ask("GET", "/page", headers={"accept": "*/*"}), 404, "NOT_FOUND")

    def test_an_operation_has_none(self, ask: Ask, debug: bool) -> None:
        """An operation's error is a problem to a browser too."""
        with serving(operation("/fails", raising(RuntimeError()))):
            assert_problem(ask("GET", "/fails", headers={"accept": BROWSER}), 500, "INTERNAL_ERROR")

    def test_unknown_path(self, ask: Ask, debug: bool) -> None:
        """A path that nobody serves is a problem to a browser, unless DEBUG explains the paths that there are."""
        response = ask("GET", "/nowhere", headers={"accept": BROWSER})
        assert response.status_code == 404
        assert response["content-type"] == ("text/html; charset=utf-8" if debug else "application/problem+json")

    def test_forged_form(self, services: Services) -> None:
        """A form without its token is explained to a browser."""
        response = Client(enforce_csrf_checks=True).post("/admin/login/", headers={"accept": BROWSER})
        assert (response.status_code, response["content-type"]) == (403, "text/html; charset=utf-8")

    def test_redirect(self, ask: Ask) -> None:
        """A redirect stays one."""
        response = ask("GET", "/admin/", headers={"accept": BROWSER})
        assert (response.status_code, response["location"]) == (302, "/admin/login/?next=/admin/")


async def test_asynchronous_operation(services: Services, noted: Noted) -> None:
    """An asynchronous operation's error is answered and reported in the same way."""

    async def fails(request: HttpRequest) -> None:
        raise errors.InfrastructureError

    with serving(operation("/fails", fails)):
        response: Any = await AsyncClient().get("/fails")
    assert_problem(response, 503, "INFRASTRUCTURE_ERROR")
    assert len(noted.errors) == 1


def test_own_answers_stay(ask: Ask, debug: bool) -> None:
    """An answer that an operation chose stays as it is, whatever its status."""

    def own(request: HttpRequest) -> HttpResponse:
        return HttpResponse(b'{"mine":1}', content_type=JSON, status=404)

    with serving(operation("/own", own)):
        response = ask("GET", "/own")
    assert (response.status_code, response.content, response["content-type"]) == (404, b'{"mine":1}', JSON)
