"""What is said of a request at its end, whichever framework served it: the access line and its words."""

from functools import lru_cache

from .logging import Logger, get_logger, mark_reported
from .queries import QueryCount

log = get_logger("app.access")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
OTHER_METHOD = "_OTHER"
CLIENT_CLOSED_REQUEST = 499
SERVER_ERROR = 500


def outcome(status_code: int) -> str:
    """Return the word for a class of status codes.

    Args:
        status_code: The HTTP status.

    """
    if status_code < 300:
        return "success"
    if status_code >= SERVER_ERROR:
        return "server_error"
    return "client_error" if status_code >= 400 else "redirect"


@lru_cache(maxsize=1024)
def _access_log(method: str, route: str, status_code: int, status: str) -> Logger:
    """Return the logger of one kind of request: what its lines have in common is rendered once."""
    common = {"method": method, "route": route, "status_code": status_code, "status": status}
    return log.bind(domain="http", action="request", **common)


def log_request(
    method: str,
    route: str,
    status_code: int,
    seconds: float,
    *,
    path: str,
    client_ip: str | None,
    user_agent: str | None,
    queries: QueryCount | None,
    error: BaseException | None,
    is_broken: bool,
) -> None:
    """Write the access line; from 500 up it is an error and has the exception.

    Args:
        method: As the caller sent it.
        route: The route's template.
        status_code: What was answered.
        seconds: How long it took.
        path: What was asked for.
        client_ip: Who asked.
        user_agent: With what.
        queries: The statements that were sent, if any.
        error: What went wrong, if anything.
        is_broken: Whether that broke an answer that had begun, whatever its status was.

    """
    status = "server_error" if is_broken else outcome(status_code)
    access_log = _access_log(method, route, status_code, status)
    duration_ms = round(seconds * 1000, 3)
    if status != "server_error" and queries is None:
        # Nearly every request: its fields are put together once.
        access_log.info("http.request", path=path, duration_ms=duration_ms, client_ip=client_ip, user_agent=user_agent)
        return
    fields = {"path": path, "duration_ms": duration_ms, "client_ip": client_ip, "user_agent": user_agent}
    if queries is not None and queries.count:
        fields["queries"] = queries.count
        fields["query_ms"] = round(queries.seconds * 1000, 3)
    if status != "server_error":
        access_log.info("http.request", **fields)
        return
    access_log.error("http.request", **fields, exc_info=error)
    if error is not None:
        mark_reported(error)
