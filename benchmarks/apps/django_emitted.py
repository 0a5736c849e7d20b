"""The emitted Django project's settings, with the endpoints of the benchmark beside its own."""

from app.web.middleware import PATHS
from app.web.settings import *  # noqa: F403 -- Django reads a module

ALLOWED_HOSTS = ["service.example"]
ROOT_URLCONF = "benchmarks.apps.django_emitted_urls"
# Django's own stay in both, and static files: what is measured is what the service adds to them.
OWN = {"observability", "errors", "idempotency"}
BARE_MIDDLEWARE = [path for name, path in PATHS.items() if name not in OWN]
