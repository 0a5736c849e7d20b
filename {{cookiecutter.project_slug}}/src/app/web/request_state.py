"""What the service's middleware keeps on a request, so that others can ask for it."""

from collections.abc import Mapping

from django.http import HttpRequest

_ERROR, _REFUSAL, _OBSERVED, _IDS = "app_error", "app_refusal", "app_observed", "app_ids"


def note_error(request: HttpRequest, error: BaseException) -> None:
    """Keep what went wrong with a request: the access line, the span and idempotency ask for it.

    Args:
        request: The request.
        error: What was raised.

    """
    setattr(request, _ERROR, error)


def error_of(request: HttpRequest) -> BaseException | None:
    """Return what was raised while a request was handled and became its answer; None when nothing was.

    Args:
        request: The request.

    """
    error: BaseException | None = getattr(request, _ERROR, None)
    return error


def refuse(request: HttpRequest, error: Exception) -> None:
    """Have a request answered with an error before anybody handles it.

    Args:
        request: The request.
        error: What is wrong with it.

    """
    setattr(request, _REFUSAL, error)


def refusal_of(request: HttpRequest) -> Exception | None:
    """Return what a request is to be answered with before anybody handles it; None when nothing is wrong with it.

    Args:
        request: The request.

    """
    refusal: Exception | None = getattr(request, _REFUSAL, None)
    return refusal


def mark_observed(request: HttpRequest) -> None:
    """Keep that a request has an access line.

    Args:
        request: The request.

    """
    setattr(request, _OBSERVED, True)


def is_observed(request: HttpRequest) -> bool:
    """Return whether a request has an access line, so that nobody else needs to say how it went.

    Args:
        request: The request.

    """
    return hasattr(request, _OBSERVED)


def keep_ids(request: HttpRequest, ids: Mapping[str, str]) -> None:
    """Keep the ids of a request that no middleware gave it any.

    Args:
        request: The request.
        ids: The fields of its context.

    """
    setattr(request, _IDS, ids)


def ids_of(request: HttpRequest) -> Mapping[str, str] | None:
    """Return the ids that were kept.

    Args:
        request: The request.

    """
    ids: Mapping[str, str] | None = getattr(request, _IDS, None)
    return ids
