"""The only reader of the environment: every setting, its default and what it allows.

A setting is read from the environment, then from `.env`, then from the default here. Nested settings are written with
two underscores: `LOG__LEVEL`. Durations are in seconds. `.env.example` lists them all.
"""

import os
import re
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import SettingsConfigDict, SettingsError
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from .core.redaction import redact_text
from .otel_settings import OtelSettings

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_DSN = re.compile(r"https?://[^\s/@:]+(?::[^\s/@]*)?@[^\s/@]+(?:/[^\s/]+)*/\d+")
ON_WINDOWS = os.name == "nt"
SECRET_KEY_LENGTH = 32
SECRET_KEY_VARIETY = 10

Seconds = Annotated[float, Field(gt=0, le=366 * 24 * 3600, allow_inf_nan=False)]


class ConfigurationError(Exception):
    """A setting is missing or wrong; the message names it, what was received and what is allowed."""


def _level(value: object) -> str:
    """Return a log level in upper case."""
    level = str(value).upper()
    if level not in LEVELS:
        msg = f"allowed: {', '.join(LEVELS)}"
        raise ValueError(msg)
    return level


Level = Annotated[str, AfterValidator(_level)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _sink(value: str) -> str:
    """Return a sink's name, a file by its absolute path: the process may change its folder."""
    return value if value in ("stdout", "stderr") else os.path.abspath(value)


class LayerSettings(_Group):
    """A named log beside standard output: what it takes, and its file."""

    sink: Annotated[str, Field(min_length=1), AfterValidator(_sink)]
    loggers: tuple[str, ...] = ()
    level: Level | None = None
    propagate: bool = True
    overflow: Literal["drop", "block"] = "drop"
    max_bytes: Annotated[int, Field(ge=0)] = 100 * 1024 * 1024
    backup_count: Annotated[int, Field(ge=1, le=1000)] = 5


class LogSettings(_Group):
    """What is logged, and in which shape."""

    level: Level = "INFO"
    format: Literal["json", "console", "logfmt"] | None = None
    levels: dict[str, Level] = Field(default_factory=dict)
    layers: dict[str, LayerSettings] = Field(default_factory=dict)
    overflow: Literal["drop", "block"] = "drop"
    queue_bytes: Annotated[int, Field(ge=65536)] = 16 * 1024 * 1024
    block_seconds: Seconds = 1.0

    @field_validator("layers")
    @classmethod
    def _one_way_to_write_a_file(cls, layers: dict[str, LayerSettings]) -> dict[str, LayerSettings]:
        ways: dict[str, tuple[object, ...]] = {}
        for name, layer in layers.items():
            way = (layer.overflow, layer.max_bytes, layer.backup_count)
            if ways.setdefault(layer.sink, way) != way:
                msg = f"allowed: the same overflow, max_bytes and backup_count in all layers of one sink ({name!r})"
                raise ValueError(msg)
        return layers


class HttpSettings(_Group):
    """What the HTTP server accepts, and which middleware a request passes, outermost first."""

    middleware: tuple[str, ...] = (
        "observability",
        "errors",
        "body_limit",
        "transaction",
        "idempotency",
    )
    trusted_proxies: tuple[str, ...] = ("127.0.0.1",)
    max_body_bytes: Annotated[int, Field(ge=0)] = 1024 * 1024
    access_log_exclude: tuple[str, ...] = ("/livez", "/readyz", "/metrics")
    workers: Annotated[int, Field(ge=1, le=256)] = 1


class MetricsSettings(_Group):
    """Whether `/metrics` is there, and how many combinations of label values a series may have."""

    enabled: bool = True
    max_combinations: Annotated[int, Field(ge=100, le=100_000)] = 2000


class ErrorSettings(_Group):
    """Where errors are reported to besides Sentry, and how much of a storm of them."""

    reporters: tuple[Literal["log", "file", "database"], ...] = ("log",)
    file: Annotated[str, Field(min_length=1)] = "var/errors.jsonl"
    file_bytes: Annotated[int, Field(ge=65536)] = 10 * 1024 * 1024
    file_backups: Annotated[int, Field(ge=1, le=1000)] = 5
    cap: Annotated[int, Field(ge=1)] = 10
    cap_seconds: Seconds = 60.0
    queue: Annotated[int, Field(ge=1, le=10_000)] = 256


class HealthSettings(_Group):
    """How long a readiness check may take, and how long its result serves again."""

    timeout: Seconds = 2.0
    cache: Annotated[float, Field(ge=0, le=60)] = 1.0


class IdempotencySettings(_Group):
    """Where idempotency records are kept, for how long, and what happens without them."""

    store: Literal["sql", "memory"] = "sql"
    ttl: Seconds = 24 * 3600.0
    lease: Seconds = 60.0
    on_store_failure: Literal["reject", "run"] = "reject"
    max_response_bytes: Annotated[int, Field(ge=0)] = 1024 * 1024


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
    secret_key: SecretStr = SecretStr("")
    sentry_dsn: SecretStr | None = None
    shutdown_timeout: Seconds = 20.0
    shutdown_delay: Annotated[float, Field(ge=0, le=300)] = 0.0
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
        allowed = "allowed: sqlite:///<path> or postgresql://<user>:<password>@<host>/<database>"
        try:
            url = make_url(value)
        except (ArgumentError, ValueError):
            raise ValueError(allowed) from None
        # In memory each connection would have a database of its own, without tables.
        in_memory = url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")
        if url.drivername not in DRIVERS or in_memory:
            raise ValueError(allowed)
        return url.set(drivername=DRIVERS[url.drivername]).render_as_string(hide_password=False)

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

    @property
    def database(self) -> URL:
        """The database's address with an asynchronous driver."""
        return make_url(self.database_url)


@lru_cache(maxsize=1)
def _distribution() -> tuple[str, str]:
    """Return the name and version that this package was installed under, as `pyproject.toml` has them."""
    # By the entry point that `pyproject.toml` declares for this: an editable install does not list its packages.
    for entry_point in entry_points(group="app.service"):
        if entry_point.dist is not None:
            return entry_point.dist.name, entry_point.dist.version
    return "app", "0.0.0"


def is_strong_secret(secret: SecretStr) -> bool:
    """Return whether a secret is long and varied enough to sign with (RFC 7518, section 3.2: 256 bits).

    Args:
        secret: The candidate.

    """
    text = secret.get_secret_value()
    return len(text) >= SECRET_KEY_LENGTH and len(set(text)) >= SECRET_KEY_VARIETY


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment and `.env`.

    Args:
        overrides: Values that win over both, by field name.

    Raises:
        ConfigurationError: A value is not allowed; one message names each wrong variable.

    """
    try:
        _share_telemetry_variables()
        return Settings(**overrides)
    except ValidationError as error:
        problems = [_explain_one(dict(problem)) for problem in error.errors()]
    except SettingsError as error:
        problems = [_explain_unreadable(error)]
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


def _explain_one(problem: dict[str, Any]) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    name = _variable(problem["loc"])
    if problem["type"] == "extra_forbidden":
        message = f"allowed: {', '.join(_members(problem['loc']))}"
    if not name:
        return message
    return f"{name}: received {_shown(name, problem['input'])}; {message[0].lower()}{message[1:]}"


def _members(place: tuple[int | str, ...]) -> list[str]:
    """Return the variables of a group of settings, or what a layer is made of."""
    if len(place) > 2:
        return list(LayerSettings.model_fields)
    fields = type(Settings.model_fields[str(place[0])].default).model_fields
    return [f"{place[0]}__{name}".upper() for name in fields]


def _variable(place: tuple[int | str, ...]) -> str:
    """Return the variable that a value came from, and where in its JSON the value stands."""
    is_group = bool(place) and isinstance(getattr(Settings.model_fields.get(str(place[0])), "default", None), _Group)
    depth = 2 if is_group else 1
    inside = "".join(f"[{part!r}]" for part in place[depth:])
    return "__".join(str(part) for part in place[:depth]).upper() + inside


def _explain_unreadable(error: SettingsError) -> str:
    """Explain a value that should be JSON; pydantic-settings tells neither the variable nor the value."""
    text = getattr(error.__cause__, "doc", None)
    values = {name.upper(): value for name, value in {**_dotenv(), **os.environ}.items()}
    groups = tuple(name.upper() for name in Settings.model_fields)
    name = next((n for n, value in values.items() if value == text and n.startswith(groups)), "A setting")
    return f"{name}: received {_shown(name, text)}; allowed: JSON, as .env.example shows"


def _shown(name: str, value: object) -> str:
    """Return a value as an error message may show it: never a secret, a URL without its credentials."""
    if any(word in name for word in ("SECRET", "PASSWORD", "TOKEN", "DSN", "HEADERS")):
        return "a value that is not shown"
    if not isinstance(value, str):
        return repr(value)
    # A password may hold a slash or an at sign, and may stand in the query or where no parser finds it.
    return repr(redact_text(re.sub(r":.*@", "://***@", value, flags=re.DOTALL)))
