"""The order of the middleware, outermost first; the setting `HTTP__MIDDLEWARE` may have another one.

A name that is left out there is switched off. To add one of your own, give it a name and a place here.
"""

from collections.abc import Callable, Mapping

from starlette.middleware import Middleware

from ..bootstrap import Services
from ..settings import ConfigurationError
from .body_limit import BodyLimitMiddleware
from .errors import ErrorsMiddleware
from .idempotency import IdempotencyMiddleware
from .observability import ObservabilityMiddleware
from .transaction import TransactionMiddleware

BUILDERS: Mapping[str, Callable[[Services], Middleware]] = {
    "observability": lambda services: Middleware(
        ObservabilityMiddleware,
        tracing=services.tracing,
        metrics=services.metrics,
        quiet_paths=services.settings.http.access_log_exclude,
        many_queries=services.settings.database.many_queries,
    ),
    "errors": lambda services: Middleware(ErrorsMiddleware, reporting=services.reporting),
    "body_limit": lambda services: Middleware(BodyLimitMiddleware, max_bytes=services.settings.http.max_body_bytes),
    "transaction": lambda services: Middleware(TransactionMiddleware, database=services.database),
    "idempotency": lambda services: Middleware(
        IdempotencyMiddleware,
        store=services.idempotency_store,
        settings=services.settings.idempotency,
        metrics=services.metrics,
    ),
}


def middleware_stack(services: Services) -> list[Middleware]:
    """Return the middleware in the order of the setting.

    Args:
        services: What they work with.

    Raises:
        ConfigurationError: The setting has a name that is not known, or an order that cannot work.

    """
    chosen = services.settings.http.middleware
    names = tuple(BUILDERS) if chosen is None else chosen
    unknown = [name for name in names if name not in BUILDERS]
    if unknown:
        msg = f"HTTP__MIDDLEWARE: received {unknown!r}; allowed: {', '.join(BUILDERS)}"
        raise ConfigurationError(msg)
    if "idempotency" in names and "transaction" not in names[: names.index("idempotency")]:
        msg = "HTTP__MIDDLEWARE: 'idempotency' keeps answers in the request's transaction; put 'transaction' before it"
        raise ConfigurationError(msg)
    return [BUILDERS[name](services) for name in names]
