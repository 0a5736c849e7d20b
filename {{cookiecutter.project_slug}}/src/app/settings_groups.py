"""Settings in groups, whose variables are written with two underscores: `LOG__LEVEL`. Durations are in seconds."""

import os
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

Seconds = Annotated[float, Field(gt=0, le=366 * 24 * 3600, allow_inf_nan=False)]


def _level(value: object) -> str:
    """Return a log level in upper case."""
    level = str(value).upper()
    if level not in LEVELS:
        msg = f"allowed: {', '.join(LEVELS)}"
        raise ValueError(msg)
    return level


Level = Annotated[str, AfterValidator(_level)]


class Group(BaseModel):
    """Settings that belong together; their variables begin with the group's name."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _sink(value: str) -> str:
    """Return a sink's name, a file by its absolute path: the process may change its folder."""
    return value if value in ("stdout", "stderr") else os.path.abspath(value)


class LayerSettings(Group):
    """A named log beside standard output: what it takes, and its file."""

    sink: Annotated[str, Field(min_length=1), AfterValidator(_sink)]
    loggers: tuple[str, ...] = ()
    level: Level | None = None
    propagate: bool = True
    overflow: Literal["drop", "block"] = "drop"
    max_bytes: Annotated[int, Field(ge=0)] = 100 * 1024 * 1024
    backup_count: Annotated[int, Field(ge=1, le=1000)] = 5


class LogSettings(Group):
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


def _proxy(value: str) -> str:
    """Return whom a proxy's word counts of: an address, a network, or `*` for anybody."""
    if value != "*":
        try:
            ip_network(value)
        except ValueError:
            msg = "allowed: addresses, networks without an address's own bits, such as 10.0.0.0/8, or *"
            raise ValueError(msg) from None
    return value


class HttpSettings(Group):
    """What the HTTP server accepts, and which middleware a request passes, outermost first; None: all that there is."""

    middleware: tuple[str, ...] | None = None
    trusted_proxies: tuple[Annotated[str, AfterValidator(_proxy)], ...] = ("127.0.0.1",)
    max_body_bytes: Annotated[int, Field(ge=0)] = 1024 * 1024
    access_log_exclude: tuple[str, ...] = ("/livez", "/readyz", "/metrics")
    workers: Annotated[int, Field(ge=1, le=256)] = 1


class MetricsSettings(Group):
    """Whether `/metrics` is there, and how many combinations of label values a series may have."""

    enabled: bool = True
    max_combinations: Annotated[int, Field(ge=100, le=100_000)] = 2000


class ErrorSettings(Group):
    """Where errors are reported to besides Sentry, and how much of a storm of them."""

    reporters: tuple[Literal["log", "file", "database"], ...] = ("log",)
    file: Annotated[str, Field(min_length=1)] = "var/errors.jsonl"
    file_bytes: Annotated[int, Field(ge=65536)] = 10 * 1024 * 1024
    file_backups: Annotated[int, Field(ge=1, le=1000)] = 5
    cap: Annotated[int, Field(ge=1)] = 10
    cap_seconds: Seconds = 60.0
    queue: Annotated[int, Field(ge=1, le=10_000)] = 256


class HealthSettings(Group):
    """How long a readiness check may take, and how long its result serves again."""

    timeout: Seconds = 2.0
    cache: Annotated[float, Field(ge=0, le=60)] = 1.0


# What a step of an idempotency store may take: no request waits longer for one that is down.
STEP_SECONDS = 1.0


class IdempotencySettings(Group):
    """Where idempotency records are kept, for how long, and what happens without them."""

    store: Literal["sql", "redis", "memory"] = "sql"
    ttl: Seconds = 24 * 3600.0
    lease: Seconds = 60.0
    timeout: Annotated[float, Field(ge=0.05, le=10)] = STEP_SECONDS
    purge_interval: Annotated[float, Field(ge=0, le=24 * 3600)] = 300.0
    on_store_failure: Literal["reject", "run"] = "reject"
    max_response_bytes: Annotated[int, Field(ge=0)] = 1024 * 1024


# PostgreSQL keeps limits as milliseconds in 32 bits.
Limit = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class DatabaseSettings(Group):
    """How many connections there are, how long what may take, and which queries are worth a warning; 0: no limit."""

    pool_size: Annotated[int, Field(ge=1, le=1000)] = 5
    pool_overflow: Annotated[int, Field(ge=0, le=1000)] = 10
    pool_timeout: Seconds = 5.0
    connect_timeout: Seconds = 0.8
    statement_timeout: Limit = 30.0
    lock_timeout: Limit = 5.0
    idle_transaction_timeout: Limit = 300.0
    tcp_timeout: Limit = 10.0
    slow_query: Limit = 0.5
    many_queries: Annotated[int, Field(ge=0)] = 30
