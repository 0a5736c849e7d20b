"""The usual parts off the shelf on Django, each as its own documentation wires it.

Request ids and a structlog line at a request's begin and end: django-structlog. Metrics: django-prometheus. Spans:
OpenTelemetry's Django instrumentation, whose middleware it puts first by itself.
"""

import secrets

from ..loggers.structlog_default import configure

configure()
SECRET_KEY = secrets.token_urlsafe(48)
ALLOWED_HOSTS = ["service.example"]
ROOT_URLCONF = "benchmarks.apps.django_shelf_urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_structlog",
    "django_prometheus",
]
BARE_MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    *BARE_MIDDLEWARE,
    "django_structlog.middlewares.RequestMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
DATABASES: dict[str, dict[str, str]] = {}
STATIC_URL = "static/"
USE_TZ = True
LOGGING_CONFIG = None
DJANGO_STRUCTLOG_COMMAND_LOGGING_ENABLED = False
