"""The only reader of the environment: every setting, its default and what it allows.

A setting is read from the environment, then from `.env`, then from the default here. Nested settings are written with
two underscores: `LOG__LEVEL`. Durations are in seconds. `.env.example` lists them all.
"""

import os
import re
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import SettingsConfigDict, SettingsError

from .core.broker_url import read_broker_url
from .core.database_url import read_database_url
from .core.redaction import redact_text
from .otel_settings import OtelSettings
from .settings_groups import (
    DatabaseSettings,
    ErrorSettings,
    Group,
    HealthSettings,
    HttpSettings,
    IdempotencySettings,
    LayerSettings,
    LogSettings,
    MetricsSettings,
    Seconds,
)

_DSN = re.compile(r"https?://[^\s/@:]+(?::[^\s/@]*)?@[^\s/@]+(?:/[^\s/]+)*/\d+")
ON_WINDOWS = os.name == "nt"
SECRET_KEY_LENGTH = 32
SECRET_KEY_VARIETY = 10
AS_JSON = "allowed: JSON, as .env.example shows"


class ConfigurationError(Exception):
    """A setting is missing or wrong; the message names it, what was received and what is allowed."""


class Settings(OtelSettings):
    """Everything that may differ between two deployments of this service."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    service_name: Annotated[str, Field(min_length=1, max_length=63, default_factory=lambda: _distribution()[0])]
    service_version: Annotated[str, Field(min_length=1, max_length=64, default_factory=lambda: _distribution()[1])]
    environment: Literal["development", "test", "production"] = "development"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    database_url: str = "sqlite:///var/app.db"
    redis_url: str | None = None
    broker_url: str | None = None
    secret_key: SecretStr = SecretStr("")
    sentry_dsn: SecretStr | None = None
    shutdown_timeout: Seconds = 20.0
    shutdown_delay: Annotated[float, Field(ge=0, le=300)] = 0.0
    database: DatabaseSettings = DatabaseSettings()
    log: LogSettings = LogSettings()
    http: HttpSettings = HttpSettings()
    metrics: MetricsSettings = MetricsSettings()
    health: HealthSettings = HealthSettings()
    errors: ErrorSettings = ErrorSettings()
    idempotency: IdempotencySettings = IdempotencySettings()
    prometheus_multiproc_dir: str | None = None

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        read_database_url(value)
        return value

    @field_validator("redis_url")
    @classmethod
    def _known_redis(cls, value: str | None) -> str | None:
        allowed = "allowed: redis://<user>:<password>@<host>:<port>/<number>, or rediss:// for TLS"
        try:
            known = value is None or _is_redis(value)
        except ValueError:
            known = False
        if not known:
            raise ValueError(allowed)
        return value

    @field_validator("broker_url")
    @classmethod
    def _known_broker(cls, value: str | None) -> str | None:
        if value is not None:
            read_broker_url(value)
        return value

    @field_validator("sentry_dsn")
    @classmethod
    def _known_dsn(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _DSN.fullmatch(value.get_secret_value()):
            msg = "allowed: https://<key>@<host>/<project>, as Sentry shows it under Client Keys"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _strong_secret_in_production(self) -> Self:
        if self.environment == "production" and not is_strong_secret(self.secret_key):
            msg = (
                f"SECRET_KEY: missing or weak (value not shown); in production it needs at least {SECRET_KEY_LENGTH} "
                'random characters, for example from: python -c "import secrets; print(secrets.token_urlsafe(48))"'
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _redis_for_its_store(self) -> Self:
        if self.idempotency.store == "redis" and self.redis_url is None:
            msg = "IDEMPOTENCY__STORE: received 'redis'; allowed only with REDIS_URL, such as redis://127.0.0.1:6379/0"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _workers_that_can_share(self) -> Self:
        if self.http.workers == 1:
            return self
        received = f"HTTP__WORKERS: received {self.http.workers}; "
        if self.idempotency.store == "memory":
            msg = received + "with IDEMPOTENCY__STORE=memory allowed: 1, since each process has a memory of its own"
            raise ValueError(msg)
        if ON_WINDOWS:
            msg = received + "allowed on Windows: 1, since what processes share needs POSIX"
            raise ValueError(msg)
        return self

    @property
    def log_format(self) -> Literal["json", "console", "logfmt"]:
        """The format of a log line: as set, else JSON in production and a readable one elsewhere."""
        return self.log.format or ("json" if self.environment == "production" else "console")


@lru_cache(maxsize=1)
def _distribution() -> tuple[str, str]:
    """Return the name and version that this package was installed under, as `pyproject.toml` has them."""
    # By the entry point that `pyproject.toml` declares for this: an editable install does not list its packages.
    for entry_point in entry_points(group="app.service"):
        if entry_point.dist is not None:
            return entry_point.dist.name, entry_point.dist.version
    return "app", "0.0.0"


def _is_redis(url: str) -> bool:
    """Return whether a URL names a Redis over the network; a port that is no number raises `ValueError`."""
    parts = urlsplit(url)
    is_number = re.fullmatch(r"/?|/\d+", parts.path) is not None
    return parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0 and is_number


def is_strong_secret(secret: SecretStr) -> bool:
    """Return whether a secret is long and varied enough to sign with (RFC 7518, section 3.2: 256 bits).

    Args:
        secret: The candidate.

    """
    text = secret.get_secret_value()
    return len(text) >= SECRET_KEY_LENGTH and len(set(text)) >= SECRET_KEY_VARIETY


OwnSettings = TypeVar("OwnSettings", bound=Settings)


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment and `.env`.

    Args:
        overrides: Values that win over both, by field name.

    Raises:
        ConfigurationError: A value is not allowed; one message names each wrong variable.

    """
    return load_settings_of(Settings, **overrides)


def load_settings_of(kind: type[OwnSettings], **overrides: Any) -> OwnSettings:
    """Read settings of a kind of one's own from the environment and `.env`.

    Args:
        kind: The class, which may have further settings.
        overrides: Values that win over both, by field name.

    Raises:
        ConfigurationError: A value is not allowed; one message names each wrong variable.

    """
    try:
        _share_telemetry_variables()
        return kind(**overrides)
    except ValidationError as error:
        problems = [_explain_one(kind, dict(problem)) for problem in error.errors()]
    except SettingsError as error:
        problems = [_explain_unreadable(kind, error)]
    except UnicodeDecodeError:
        problems = [".env: received bytes that are no text; allowed: UTF-8"]
    lines = "\n".join(f"  {problem}" for problem in problems)
    msg = f"The settings are wrong, nothing was started.\n{lines}"
    raise ConfigurationError(msg)


def _share_telemetry_variables() -> None:
    """Let OpenTelemetry, which reads the environment itself, see its variables in `.env` too."""
    for name, value in _dotenv().items():
        if name.startswith("OTEL_") and not os.environ.get(name):
            os.environ[name] = value


def _dotenv() -> dict[str, str]:
    found = dotenv_values(".env") if Path(".env").is_file() else {}
    return {name: value for name, value in found.items() if value is not None}


def _explain_one(kind: type[Settings], problem: dict[str, Any]) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    name = _variable(kind, problem["loc"])
    if problem["type"] == "extra_forbidden":
        message = f"allowed: {', '.join(_members(kind, problem['loc']))}"
    if problem["type"] == "tuple_type" and isinstance(problem["input"], str):
        # Where a list may be left out, pydantic-settings hands on what it could not read.
        message = AS_JSON
    if not name:
        return message
    return f"{name}: received {_shown(name, problem['input'])}; {message[0].lower()}{message[1:]}"


def _members(kind: type[Settings], place: tuple[int | str, ...]) -> list[str]:
    """Return the variables of a group of settings, or what a layer is made of."""
    if len(place) > 2:
        return list(LayerSettings.model_fields)
    fields = type(kind.model_fields[str(place[0])].default).model_fields
    return [f"{place[0]}__{name}".upper() for name in fields]


def _variable(kind: type[Settings], place: tuple[int | str, ...]) -> str:
    """Return the variable that a value came from, and where in its JSON the value stands."""
    is_group = bool(place) and isinstance(getattr(kind.model_fields.get(str(place[0])), "default", None), Group)
    depth = 2 if is_group else 1
    inside = "".join(f"[{part!r}]" for part in place[depth:])
    return "__".join(str(part) for part in place[:depth]).upper() + inside


def _explain_unreadable(kind: type[Settings], error: SettingsError) -> str:
    """Explain a value that should be JSON; pydantic-settings tells neither the variable nor the value."""
    text = getattr(error.__cause__, "doc", None)
    values = {name.upper(): value for name, value in {**_dotenv(), **os.environ}.items()}
    groups = tuple(name.upper() for name in kind.model_fields)
    name = next((n for n, value in values.items() if value == text and n.startswith(groups)), "A setting")
    return f"{name}: received {_shown(name, text)}; {AS_JSON}"


def _shown(name: str, value: object) -> str:
    """Return a value as an error message may show it: never a secret, a URL without its credentials."""
    if any(word in name for word in ("SECRET", "PASSWORD", "TOKEN", "DSN", "HEADERS")):
        return "a value that is not shown"
    if not isinstance(value, str):
        return repr(value)
    # A password may hold a slash or an at sign, and may stand in the query or where no parser finds it.
    return repr(redact_text(re.sub(r":.*@", "://***@", value, flags=re.DOTALL)))
