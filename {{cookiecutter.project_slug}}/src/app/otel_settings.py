"""OpenTelemetry's own variables, those that this service obeys.

Their names, meaning and units are the specification's
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and
https://opentelemetry.io/docs/specs/otel/protocol/exporter/): durations are in milliseconds, unlike all others here.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, FilePath, SecretStr, model_validator
from pydantic_settings import BaseSettings

PROPAGATORS = ("tracecontext", "baggage")
TRACES_PATH = "/v1/traces"


def read_pairs(text: str) -> Mapping[str, str]:
    """Return `key=value` pairs that are separated by commas, values percent-encoded, as OpenTelemetry writes lists.

    Args:
        text: The list.

    Raises:
        ValueError: A member is no pair.

    """
    pairs = {}
    for member in text.split(","):
        key, equals, value = member.partition("=")
        if member.strip() and not (equals and key.strip()):
            msg = "allowed: key=value, separated by commas, with commas and other special characters percent-encoded"
            raise ValueError(msg)
        if member.strip():
            pairs[unquote(key.strip())] = unquote(value.strip())
    return MappingProxyType(pairs)


def _pairs(value: str) -> str:
    read_pairs(value)
    return value


def _headers(value: SecretStr) -> SecretStr:
    pairs = read_pairs(value.get_secret_value())
    if not all(text.isascii() and text.isprintable() for pair in pairs.items() for text in pair):
        msg = "allowed: key=value, separated by commas, of printable ASCII characters as headers have them"
        raise ValueError(msg)
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        msg = "allowed: http://<host>:<port> or https://<host>:<port>"
        raise ValueError(msg)
    return value


def _propagators(value: str) -> str:
    unknown = [name for name in value.split(",") if name.strip() not in PROPAGATORS]
    if unknown:
        msg = f"allowed: {', '.join(PROPAGATORS)}; the service speaks W3C Trace Context, and a gateway can translate"
        raise ValueError(msg)
    return value


def _protocol(value: str) -> str:
    if value != "http/protobuf":
        msg = "allowed: http/protobuf; every collector takes it, on port 4318 unless it is set up otherwise"
        raise ValueError(msg)
    return value


def _milliseconds(value: int) -> int:
    if value < 100:
        msg = "allowed: milliseconds from 100, as the specification says; some SDKs take seconds instead"
        raise ValueError(msg)
    return value


Url = Annotated[str, AfterValidator(_url)]
Pairs = Annotated[str, AfterValidator(_pairs)]
Headers = Annotated[SecretStr, AfterValidator(_headers)]
Protocol = Annotated[str, AfterValidator(_protocol)]
Milliseconds = Annotated[int, AfterValidator(_milliseconds)]
Compression = Literal["none", "gzip"]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class TracesEndpoint(NamedTuple):
    """Where spans are sent, and how; the timeout is in seconds."""

    url: str
    headers: Mapping[str, str] = MappingProxyType({})
    timeout: float = 10.0
    compress: bool = False
    certificate: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None


class OtelSettings(BaseSettings):
    """What is recorded, and where it goes; a variable with TRACES in it wins over the general one."""

    otel_sdk_disabled: bool = False
    otel_service_name: str | None = None
    otel_resource_attributes: Pairs = ""
    otel_propagators: Annotated[str, AfterValidator(_propagators)] = "tracecontext,baggage"
    otel_traces_exporter: Literal["otlp", "console", "none"] = "otlp"
    otel_traces_sampler: Literal[
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ] = "parentbased_always_on"
    otel_traces_sampler_arg: Annotated[float, Field(ge=0, le=1)] = 1.0
    otel_bsp_schedule_delay: Annotated[int, Field(ge=1)] = 5000
    otel_bsp_export_timeout: Milliseconds = 30000
    otel_bsp_max_queue_size: Count = 2048
    otel_bsp_max_export_batch_size: Count = 512
    otel_exporter_otlp_endpoint: Url | None = None
    otel_exporter_otlp_traces_endpoint: Url | None = None
    otel_exporter_otlp_protocol: Protocol = "http/protobuf"
    otel_exporter_otlp_traces_protocol: Protocol | None = None
    otel_exporter_otlp_headers: Headers = SecretStr("")
    otel_exporter_otlp_traces_headers: Headers = SecretStr("")
    otel_exporter_otlp_timeout: Milliseconds = 10000
    otel_exporter_otlp_traces_timeout: Milliseconds | None = None
    otel_exporter_otlp_compression: Compression = "none"
    otel_exporter_otlp_traces_compression: Compression | None = None
    otel_exporter_otlp_certificate: FilePath | None = None
    otel_exporter_otlp_traces_certificate: FilePath | None = None
    otel_exporter_otlp_client_certificate: FilePath | None = None
    otel_exporter_otlp_traces_client_certificate: FilePath | None = None
    otel_exporter_otlp_client_key: FilePath | None = None
    otel_exporter_otlp_traces_client_key: FilePath | None = None

    @model_validator(mode="after")
    def _batch_fits_the_queue(self) -> Self:
        if self.otel_bsp_max_export_batch_size > self.otel_bsp_max_queue_size:
            msg = (
                f"OTEL_BSP_MAX_EXPORT_BATCH_SIZE: received {self.otel_bsp_max_export_batch_size}; "
                f"allowed: at most OTEL_BSP_MAX_QUEUE_SIZE, which is {self.otel_bsp_max_queue_size}"
            )
            raise ValueError(msg)
        return self

    @property
    def exports_traces(self) -> bool:
        """Whether spans leave the process: only when an endpoint is set."""
        endpoint = self.otel_exporter_otlp_traces_endpoint or self.otel_exporter_otlp_endpoint
        return bool(endpoint) and self.otel_traces_exporter == "otlp" and not self.otel_sdk_disabled

    @property
    def records_traces(self) -> bool:
        """Whether spans are recorded: for export, or to be shown in the log."""
        return self.exports_traces or (self.otel_traces_exporter == "console" and not self.otel_sdk_disabled)

    @property
    def resource_attributes(self) -> dict[str, str]:
        """Who is speaking, as OpenTelemetry's variables have it."""
        name = {"service.name": self.otel_service_name} if self.otel_service_name else {}
        return {**read_pairs(self.otel_resource_attributes), **name}

    @property
    def traces_endpoint(self) -> TracesEndpoint:
        """Where spans are sent; meaningful only when they are."""
        base = (self.otel_exporter_otlp_endpoint or "").removesuffix("/")
        return TracesEndpoint(
            url=self.otel_exporter_otlp_traces_endpoint or base + TRACES_PATH,
            headers=read_pairs(self._of_traces("headers").get_secret_value()),
            timeout=self._of_traces("timeout") / 1000,
            compress=self._of_traces("compression") == "gzip",
            certificate=self._of_traces("certificate"),
            client_certificate=self._of_traces("client_certificate"),
            client_key=self._of_traces("client_key"),
        )

    def _of_traces(self, name: str) -> Any:
        return getattr(self, f"otel_exporter_otlp_traces_{name}") or getattr(self, f"otel_exporter_otlp_{name}")
