"""What errors of drivers and clients mean, as errors of the service."""

import sys

import httpx2
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ..core.errors import AppError, DatabaseError, ExternalServiceError, NetworkError

_OUTAGES = (OperationalError, InterfaceError, PoolTimeoutError)


def known_failure(error: BaseException) -> AppError | None:
    """Return an error of a driver or a client as one of the service, or None when it is none that is known.

    Args:
        error: What was raised.

    """
    if isinstance(error, AppError):
        return error
    if isinstance(error, _OUTAGES) or (isinstance(error, DBAPIError) and error.connection_invalidated):
        return DatabaseError()
    if isinstance(error, ConnectionError) or _is_of_redis(error):
        return NetworkError()
    return ExternalServiceError() if isinstance(error, httpx2.HTTPError) else None


def _is_of_redis(error: BaseException) -> bool:
    """Return whether Redis was away; where its client was never imported, nothing can have raised its errors."""
    client = sys.modules.get("redis.exceptions")
    return client is not None and isinstance(error, client.ConnectionError | client.TimeoutError)
