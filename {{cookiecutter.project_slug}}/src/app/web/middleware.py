"""The order of the middleware, outermost first; the setting `HTTP__MIDDLEWARE` may have another one.

A name that is left out there is switched off. To add one of your own, give it a name and a place here.
The service's own run natively under WSGI and ASGI; Django's cost a thread hop each under ASGI.
"""

from collections.abc import Mapping, Sequence

from ..settings import ConfigurationError

PATHS: Mapping[str, str] = {
    "observability": "app.web.observability.ObservabilityMiddleware",
    "errors": "app.web.errors.ErrorsMiddleware",
    "security": "django.middleware.security.SecurityMiddleware",
    "static": "app.web.static.StaticMiddleware",
    "sessions": "django.contrib.sessions.middleware.SessionMiddleware",
    "common": "django.middleware.common.CommonMiddleware",
    "csrf": "django.middleware.csrf.CsrfViewMiddleware",
    "authentication": "django.contrib.auth.middleware.AuthenticationMiddleware",
    "messages": "django.contrib.messages.middleware.MessageMiddleware",
    "clickjacking": "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "idempotency": "app.web.idempotency.IdempotencyMiddleware",
}


def middleware(chosen: Sequence[str] | None) -> list[str]:
    """Return the middleware as Django's setting of this name wants it.

    Args:
        chosen: Their names in their order; None for all.

    Raises:
        ConfigurationError: One of them is not known.

    """
    names = tuple(PATHS) if chosen is None else chosen
    unknown = [name for name in names if name not in PATHS]
    if unknown:
        msg = f"HTTP__MIDDLEWARE: received {unknown!r}; allowed: {', '.join(PATHS)}"
        raise ConfigurationError(msg)
    return [PATHS[name] for name in names]
