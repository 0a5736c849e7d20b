"""The service's settings as Django wants them, with the probes' middleware and paths."""

# The service's package is importable where this runs, which need not be where it is type-checked.
# mypy: disable-error-code="import-not-found,import-untyped"

from app.web.settings import *  # noqa: F403
from app.web.settings import MIDDLEWARE as OWN

ROOT_URLCONF = "django_urls"
_BEFORE = OWN.index("app.web.idempotency.IdempotencyMiddleware")
MIDDLEWARE = [
    *OWN[:_BEFORE],
    "django_middleware.CallerMiddleware",
    *OWN[_BEFORE:],
    "django_middleware.CrashMiddleware",
]
