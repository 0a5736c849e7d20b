"""What becomes of a problem in the answer to a request, and what a report says of that request."""

from urllib.parse import quote

from .context import current_context
from .logging import to_json
from .problem import Problem
from .redaction import may_hold_secret, redact
from .reporting import ErrorContext

# What a path may hold as it is (https://www.rfc-editor.org/rfc/rfc3986#section-3.3).
_PATH_CHARACTERS = "/:@!$&'()*+,;=-._~"


def problem_body(found: Problem, path: str) -> bytes:
    """Return a problem document with the ids of the open context, and nothing secret in it.

    Args:
        found: The problem.
        path: What the caller asked for, decoded.

    """
    context = current_context()
    document = found.document(
        instance=quote(path, safe=_PATH_CHARACTERS, errors="replace"),
        trace_id=str(context.get("trace_id", "")),
        request_id=str(context.get("request_id", "")),
    )
    body = to_json(document)
    return (to_json(redact(document)) if may_hold_secret(body) else body).encode()


def report_context(found: Problem, method: str, route: str, path: str) -> ErrorContext:
    """Return what a report says of a request: nothing that the caller sent but the path.

    Args:
        found: What the caller is told.
        method: The request's method.
        route: The template that it matched.
        path: What it asked for.

    """
    request = {"method": method, "route": route, "path": path, "status_code": found.status}
    return ErrorContext(f"{method} {route}", code=found.code, extra=request)
