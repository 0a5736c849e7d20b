"""Django's settings, taken from the service's own (`configuration.py`), which alone reads the environment."""

from ..settings import load_settings_of
from .configuration import DjangoSettings
from .database import databases
from .middleware import middleware

SERVICE = load_settings_of(DjangoSettings)
IS_PRODUCTION = SERVICE.environment == "production"

# In production the service does not start without one of its own. Elsewhere all processes need the same.
SECRET_KEY = SERVICE.secret_key.get_secret_value() or "django-insecure-for-development-and-tests-only"
DEBUG = SERVICE.web.debug
ALLOWED_HOSTS = list(SERVICE.web.allowed_hosts)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "app.web",
    "app.web.orders",
]
MIDDLEWARE = middleware(SERVICE.http.middleware)
ROOT_URLCONF = "app.web.urls"
CSRF_FAILURE_VIEW = "app.web.errors.csrf_failure"
WSGI_APPLICATION = "app.web.wsgi.application"
ASGI_APPLICATION = "app.web.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = databases(SERVICE)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

SESSION_COOKIE_SECURE = IS_PRODUCTION
CSRF_COOKIE_SECURE = IS_PRODUCTION
SECURE_SSL_REDIRECT = SERVICE.web.ssl_redirect
SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if IS_PRODUCTION else 0
SILENCED_SYSTEM_CHECKS = [
    # Other hosts of the domain, and the browsers' own list, are not this service's to decide on.
    "security.W005",
    "security.W021",
    # A setting: where a proxy ends TLS and redirects by itself, doing it here as well would go in circles.
    "security.W008",
]

DATA_UPLOAD_MAX_MEMORY_SIZE = SERVICE.http.max_body_bytes
APPEND_SLASH = False
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
# The admin site's files are few: they are read where they are installed, and nobody has to collect them.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# All records take the service's own way, Django's too. Django calls nobody who is to configure nothing.
LOGGING_CONFIG = "app.web.logging.configure"
LOGGING = {"version": 1}
