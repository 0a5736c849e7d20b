"""Every setting has a default that works, and a wrong value stops with one message that says what to do."""

import json
import os
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import pytest
from pydantic import BaseModel, SecretStr

from app.settings import ConfigurationError, Settings, is_strong_secret, load_settings, load_settings_of

PROJECT = Path(__file__).parents[1]
START = "The settings are wrong, nothing was started.\n"
PASSWORD = "-".join(["correct", "horse"])
STRONG = "Zk3" + "w9Q_tR7-yB1xLm5nVc8pHs2dGf4jKa6e"
REDIS_URLS = "allowed: redis://<user>:<password>@<host>:<port>/<number>, or rediss:// for TLS"
URLS = "allowed: sqlite:///<path> or postgresql://<user>:<password>@<host>/<database>"
LOG_VARIABLES = (
    "allowed: LOG__LEVEL, LOG__FORMAT, LOG__LEVELS, LOG__LAYERS, LOG__OVERFLOW, LOG__QUEUE_BYTES, LOG__BLOCK_SECONDS"
)
LAYER_KEYS = "allowed: sink, loggers, level, propagate, overflow, max_bytes, backup_count"
PROXIES = "allowed: addresses, networks without an address's own bits, such as 10.0.0.0/8, or *"
LEVELS = "allowed: DEBUG, INFO, WARNING, ERROR, CRITICAL"


@pytest.fixture(autouse=True)
def _own_variables() -> Iterator[None]:
    """Leave the environment as it was: variables of OpenTelemetry are shared with it on purpose."""
    groups = tuple(name.upper() for name in Settings.model_fields)
    with patch.dict(os.environ):
        for name in [name for name in os.environ if name.startswith((*groups, "OTEL_"))]:
            del os.environ[name]
        yield


def message(**variables: str) -> str:
    """Return what a start with these variables stops with."""
    os.environ.update(variables)
    with pytest.raises(ConfigurationError) as stopped:
        load_settings()
    return str(stopped.value).removeprefix(START)


def test_defaults_work() -> None:
    """Without any setting the service runs on its own machine, with what it brings."""
    settings = load_settings()
    assert (settings.environment, settings.host, settings.port) == ("development", "127.0.0.1", 8000)
    assert settings.database_url == "sqlite:///var/app.db"
    assert (settings.log_format, settings.exports_traces) == ("console", False)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("ENVIRONMENT", "prod", "input should be 'development', 'test' or 'production'"),
        ("PORT", "0", "input should be greater than or equal to 1"),
        ("PORT", "65536", "input should be less than or equal to 65535"),
        ("PORT", "http", "input should be a valid integer, unable to parse string as an integer"),
        ("SHUTDOWN_TIMEOUT", "0", "input should be greater than 0"),
        ("SHUTDOWN_TIMEOUT", "inf", "input should be a finite number"),
        ("SHUTDOWN_DELAY", "nan", "input should be less than or equal to 300"),
        ("SERVICE_NAME", "x" * 64, "string should have at most 63 characters"),
        ("DATABASE_URL", "nonsense", URLS),
        ("DATABASE_URL", "mysql://db/app", URLS),
        ("DATABASE_URL", "postgresql://db:port/app", URLS),
        ("DATABASE_URL", "sqlite://", URLS),
        ("DATABASE_URL", "sqlite:///:memory:", URLS),
        ("DATABASE__POOL_SIZE", "0", "input should be greater than or equal to 1"),
        ("DATABASE__CONNECT_TIMEOUT", "0", "input should be greater than 0"),
        ("DATABASE__STATEMENT_TIMEOUT", "-1", "input should be greater than or equal to 0"),
        ("DATABASE__LOCK_TIMEOUT", "1000001", "input should be less than or equal to 1000000"),
        ("DATABASE__SLOW_QUERY", "nan", "input should be a finite number"),
        ("DATABASE__MANY_QUERIES", "many", "input should be a valid integer, unable to parse string as an integer"),
        ("LOG__LEVEL", "loud", LEVELS),
        ("LOG__FORMAT", "xml", "input should be 'json', 'console' or 'logfmt'"),
        ("LOG__LEVELS", "{bad", "allowed: JSON, as .env.example shows"),
        ("HTTP__MIDDLEWARE", "errors", "allowed: JSON, as .env.example shows"),
        ("LOG", "{bad", "allowed: JSON, as .env.example shows"),
        ("HTTP__MAX_BODY_BYTES", "-1", "input should be greater than or equal to 0"),
        ("HEALTH__TIMEOUT", "-1", "input should be greater than 0"),
        ("HEALTH__CACHE", "61", "input should be less than or equal to 60"),
        ("ERRORS__REPORTERS", "log", "allowed: JSON, as .env.example shows"),
        ("ERRORS__CAP", "0", "input should be greater than or equal to 1"),
        ("IDEMPOTENCY__STORE", "disk", "input should be 'sql', 'redis' or 'memory'"),
        ("IDEMPOTENCY__TIMEOUT", "0", "input should be greater than or equal to 0.05"),
        ("IDEMPOTENCY__TIMEOUT", "11", "input should be less than or equal to 10"),
        ("IDEMPOTENCY__PURGE_INTERVAL", "-1", "input should be greater than or equal to 0"),
        ("REDIS_URL", "nonsense", REDIS_URLS),
        ("REDIS_URL", "http://cache:6379/0", REDIS_URLS),
        ("REDIS_URL", "redis://", REDIS_URLS),
        ("REDIS_URL", "redis://cache:port/0", REDIS_URLS),
        ("REDIS_URL", "redis://cache:6379/first", REDIS_URLS),
        ("IDEMPOTENCY__ON_STORE_FAILURE", "hope", "input should be 'reject' or 'run'"),
        ("OTEL_SDK_DISABLED", "maybe", "input should be a valid boolean, unable to interpret input"),
        (
            "LOG__LVL",
            "DEBUG",
            LOG_VARIABLES,
        ),
    ],
)
def test_wrong_value(name: str, value: str, allowed: str) -> None:
    """A wrong value or an unknown name in a group stops with the name, the value and what is allowed."""
    assert message(**{name: value}) == f"  {name}: received {value!r}; {allowed}"


@pytest.mark.parametrize(
    ("name", "value", "explained"),
    [
        ("LOG__LEVELS", '{"app.orders": "loud"}', f"LOG__LEVELS['app.orders']: received 'loud'; {LEVELS}"),
        ("LOG__LEVELS", "[]", "LOG__LEVELS: received []; input should be a valid dictionary"),
        (
            "LOG__LAYERS",
            '{"errors": {"sink": "stderr", "level": "loud"}}',
            f"LOG__LAYERS['errors']['level']: received 'loud'; {LEVELS}",
        ),
        (
            "LOG__LAYERS",
            '{"errors": {"sink": "stderr", "file": "x"}}',
            f"LOG__LAYERS['errors']['file']: received 'x'; {LAYER_KEYS}",
        ),
        ("LOG__LAYERS", '{"errors": {}}', "LOG__LAYERS['errors']['sink']: received {}; field required"),
        (
            "ERRORS__REPORTERS",
            '["mail"]',
            "ERRORS__REPORTERS[0]: received 'mail'; input should be 'log', 'file' or 'database'",
        ),
        ("HTTP__MIDDLEWARE", "[1]", "HTTP__MIDDLEWARE[0]: received 1; input should be a valid string"),
        ("HTTP__TRUSTED_PROXIES", '["10.0.0.1/8"]', "HTTP__TRUSTED_PROXIES[0]: received '10.0.0.1/8'; " + PROXIES),
        ("HTTP__TRUSTED_PROXIES", '["proxy"]', "HTTP__TRUSTED_PROXIES[0]: received 'proxy'; " + PROXIES),
    ],
)
def test_wrong_value_within_json(name: str, value: str, explained: str) -> None:
    """A wrong value within JSON is found by the variable and its place."""
    assert message(**{name: value}) == f"  {explained}"


def test_layers_that_write_one_file_in_two_ways() -> None:
    """Layers of one sink agree on how it is written, however they spell it."""
    layers = '{"a": {"sink": "app.log"}, "b": {"sink": "./app.log", "max_bytes": 0}}'
    explained = message(LOG__LAYERS=layers)
    assert explained.startswith("  LOG__LAYERS: received {'a': ")
    assert explained.endswith(
        "; allowed: the same overflow, max_bytes and backup_count in all layers of one sink ('b')"
    )


def test_all_wrong_values_at_once() -> None:
    """One message names every wrong value."""
    assert message(PORT="0", LOG__LEVEL="loud").count("received") == 2


def test_wrong_value_in_a_file() -> None:
    """A wrong value in `.env` is explained like one of the environment."""
    Path(".env").write_text("LOG__LEVELS={bad\n")
    assert message() == "  LOG__LEVELS: received '{bad'; allowed: JSON, as .env.example shows"


def test_file_that_is_no_text() -> None:
    """A `.env` that cannot be read is said, too."""
    Path(".env").write_bytes(b"PORT=\xff\xfe")
    assert message() == "  .env: received bytes that are no text; allowed: UTF-8"


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://app:{PASSWORD}@db/app",
        f"mysql://app:{PASSWORD}/x@db/app",
        f"mysql://app:x@{PASSWORD}@db/app",
        f"mysql://{PASSWORD}@db/app",
        f"mysql://db/app?password={PASSWORD}",
        f"postgresql://app:{PASSWORD}@db:port/app",
        f"//app:{PASSWORD}@db",
    ],
)
def test_credentials_are_not_shown(url: str) -> None:
    """A message about an address shows no password, wherever it stands."""
    explained = message(DATABASE_URL=url)
    assert explained.startswith("  DATABASE_URL: received ")
    assert PASSWORD not in explained


@pytest.mark.parametrize(
    "dsn", [PASSWORD, f"https://{PASSWORD}", f"https://{PASSWORD}@sentry/x", f"ftp://{PASSWORD}@h/1"]
)
def test_dsn(dsn: str) -> None:
    """A DSN that is none stops the start, and is not shown."""
    allowed = "allowed: https://<key>@<host>/<project>, as Sentry shows it under Client Keys"
    assert message(SENTRY_DSN=dsn) == f"  SENTRY_DSN: received a value that is not shown; {allowed}"


@pytest.mark.parametrize("place", ["sentry.io/1", "127.0.0.1:9000/sentry/42"])
def test_dsn_is_kept_secret(place: str) -> None:
    """A DSN is taken, on a path and a port too, and not shown with the other settings."""
    os.environ["SENTRY_DSN"] = f"https://{PASSWORD}@{place}"
    settings = load_settings()
    assert settings.sentry_dsn == SecretStr(f"https://{PASSWORD}@{place}")
    assert PASSWORD not in repr(settings)


@pytest.mark.parametrize("secret", ["", "short", "a" * 64, "abcdefghi" * 8, STRONG[:31]])
def test_weak_secret_in_production(secret: str) -> None:
    """Production does not start with a missing or weak secret, and the message does not show it."""
    explained = message(ENVIRONMENT="production", SECRET_KEY=secret)
    assert explained.startswith("  SECRET_KEY: missing or weak (value not shown); in production it needs at least 32")
    assert not secret or secret not in explained


def test_strong_secret_in_production() -> None:
    """Production starts with a strong secret, logs JSON, and never shows the secret."""
    os.environ.update(ENVIRONMENT="production", SECRET_KEY=STRONG)
    settings = load_settings()
    assert settings.log_format == "json"
    assert is_strong_secret(settings.secret_key)
    assert STRONG not in f"{settings!r} {settings}"


@pytest.mark.parametrize("environment", ["development", "test"])
def test_weak_secret_elsewhere(environment: str) -> None:
    """Elsewhere a weak secret will do."""
    os.environ["ENVIRONMENT"] = environment
    assert load_settings().secret_key == SecretStr("")


def test_file() -> None:
    """A value in `.env` counts, nested ones too; the environment wins; an empty variable is none."""
    Path(".env").write_text("PORT=8001\nHOST=0.0.0.0\nLOG__LEVEL=debug\nLOG__FORMAT=logfmt\n# SERVICE_NAME=x\n")
    os.environ.update(PORT="8002", HOST="", LOG__LEVEL="error")
    settings = load_settings()
    assert (settings.port, settings.host) == (8002, "0.0.0.0")
    assert (settings.log.level, settings.log_format) == ("ERROR", "logfmt")
    assert load_settings(port=8003).port == 8003


def test_case_does_not_matter() -> None:
    """Names and levels are taken in any case."""
    os.environ.update(log__level="debug", Log__Levels='{"app": "Error"}')
    assert (load_settings().log.level, load_settings().log.levels) == ("DEBUG", {"app": "ERROR"})


def test_frozen() -> None:
    """Nobody changes a setting while the service runs."""
    settings = load_settings()
    for target, name in ((settings, "port"), (settings.log, "level")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(target, name, 1)


def test_variables_of_open_telemetry_in_a_file() -> None:
    """OpenTelemetry, which reads the environment itself, sees its variables in `.env`; the environment wins."""
    Path(".env").write_text("OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318\nOTEL_A=file\nOTEL_B=file\nOTHER_C=file\n")
    os.environ.update(OTEL_A="environment", OTEL_B="")
    assert load_settings().exports_traces
    assert os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://c:4318"
    assert (os.environ["OTEL_A"], os.environ["OTEL_B"]) == ("environment", "file")
    assert "OTHER_C" not in os.environ


@pytest.mark.parametrize(
    ("variables", "exported"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_whether_traces_are_exported(variables: dict[str, str], exported: bool) -> None:
    """Spans leave the process only when an endpoint is set and OpenTelemetry is not disabled."""
    os.environ.update(variables)
    assert load_settings().exports_traces is exported


def documented() -> dict[str, str]:
    """Return the variables of `.env.example` with their defaults."""
    text = (PROJECT / ".env.example").read_text()
    return dict(re.findall(r"^# ?([A-Z][A-Z0-9_]*)=(.*)$", text, re.MULTILINE))


def defaults(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the variables of the settings with their defaults."""
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield from defaults(type(default), f"{prefix}{name}__")
        else:
            yield f"{prefix}{name}".upper(), default


def written(default: object) -> str:
    """Return a default as `.env.example` has it."""
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    if isinstance(default, float):
        return f"{default:g}"
    if default is None or isinstance(default, str):
        return default or ""
    return json.dumps(default)


def kinds() -> list[type[Settings]]:
    """Return the settings of the service, or those of each framework that has some of its own."""
    for file in PROJECT.glob("src/app/*/configuration.py"):
        import_module(f"app.{file.parent.name}.configuration")
    return [Settings, *Settings.__subclasses__()]


def test_example_lists_every_setting() -> None:
    """`.env.example` has every setting with its default, and nothing else."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    expected = {name: written(default) for kind in kinds() for name, default in defaults(kind)}
    expected |= {"SERVICE_NAME": project["name"], "SERVICE_VERSION": project["version"]}
    assert documented() == expected


def test_example_is_valid() -> None:
    """`.env.example` with every line switched on is a working configuration."""
    Path(".env").write_text("".join(f"{name}={value}\n" for name, value in documented().items()))
    for kind in kinds():
        assert load_settings_of(kind, service_name="x") == kind(
            service_name="x", service_version=documented()["SERVICE_VERSION"]
        )


@pytest.mark.parametrize("url", ["redis://cache", "redis://cache:6380/1", "rediss://app:s3cret@cache:6379/0?x=1"])
def test_redis(url: str) -> None:
    """A service can keep things in a Redis that it reaches over the network, with TLS or without."""
    settings = load_settings(redis_url=url, idempotency={"store": "redis"})
    assert (settings.redis_url, settings.idempotency.store) == (url, "redis")


def test_password_of_redis_is_not_shown() -> None:
    """A wrong address of Redis is explained without its credentials."""
    explained = message(REDIS_URL="redis://app:hunter2@cache:6379/first")
    assert "hunter2" not in explained
    assert "app" not in explained.split(";")[0].split("received")[1]


def test_redis_without_an_address() -> None:
    """What is to be kept in Redis needs to know where that is."""
    with pytest.raises(ConfigurationError, match="IDEMPOTENCY__STORE: received 'redis'; allowed only with REDIS_URL"):
        load_settings(idempotency={"store": "redis"})


def test_workers_share_no_memory() -> None:
    """Several processes with a store in memory would each run what is to run once: that stops the start."""
    allowed = "HTTP__WORKERS: received 2; with IDEMPOTENCY__STORE=memory allowed: 1"
    with pytest.raises(ConfigurationError, match=allowed):
        load_settings(http={"workers": 2}, idempotency={"store": "memory"})
    assert load_settings(http={"workers": 2}).http.workers == 2


def test_workers_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where processes cannot share what they need, one is all that is allowed."""
    monkeypatch.setattr("app.settings.ON_WINDOWS", True)
    with pytest.raises(ConfigurationError, match="HTTP__WORKERS: received 2; allowed on Windows: 1"):
        load_settings(http={"workers": 2})


def test_database_has_a_url_and_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable of the URL and those of the group, which begin alike, do not take each other's value."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://me@db/app")
    monkeypatch.setenv("DATABASE__POOL_SIZE", "7")
    settings = load_settings()
    assert settings.database_url == "postgresql://me@db/app"
    assert (settings.database.pool_size, settings.database.pool_overflow) == (7, 10)
