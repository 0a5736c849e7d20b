"""OpenTelemetry's own variables are obeyed, or refused with one message that says what to do."""

import os
from pathlib import Path

import pytest

from app.otel_settings import TracesEndpoint, read_pairs
from app.settings import ConfigurationError, Settings, load_settings

PASSWORD = "-".join(["correct", "horse"])
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def settings_of(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    """Return the settings with these variables."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    """Return what a start with these variables stops with."""
    with pytest.raises(ConfigurationError) as stopped:
        settings_of(monkeypatch, **variables)
    return str(stopped.value).splitlines()[-1].strip()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "received 'grpc'; allowed: http/protobuf; every collector takes it"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "received 'http/json'; allowed: http/protobuf;"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "received 'zipkin'; input should be 'otlp', 'console' or 'none'"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "received 'jaeger_remote'; input should be 'always_on', "),
        ("OTEL_TRACES_SAMPLER_ARG", "2", "received '2'; input should be less than or equal to 1"),
        ("OTEL_PROPAGATORS", "tracecontext,b3", "received 'tracecontext,b3'; allowed: tracecontext, baggage; "),
        ("OTEL_RESOURCE_ATTRIBUTES", "team", "received 'team'; allowed: key=value, separated by commas"),
        (ENDPOINT, "localhost:4318", "received 'localhost:4318'; allowed: http://<host>:<port> or https://"),
        (ENDPOINT, "http://", "received 'http://'; allowed: http://<host>:<port> or https://"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10", "received '10'; allowed: milliseconds from 100"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "30", "received '30'; allowed: milliseconds from 100"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0", "received '0'; input should be greater than or equal to 1"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "received 'many'; input should be a valid integer"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096", "received 4096; allowed: at most OTEL_BSP_MAX_QUEUE_SIZE, which is"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "received 'zstd'; input should be 'none' or 'gzip'"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere.pem", "received '/nowhere.pem'; path does not point to a file"),
        ("OTEL_SDK_DISABLED", "perhaps", "received 'perhaps'; input should be a valid boolean"),
    ],
)
def test_refused_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    """A value that cannot be obeyed stops the start: name, value, what is allowed."""
    assert refusal(monkeypatch, **{name: value}).startswith(f"{name}: {message}")


def test_headers_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a collector is told may be a key: a wrong one is not in the message, a right one not in the settings."""
    name = "OTEL_EXPORTER_OTLP_HEADERS"
    assert refusal(monkeypatch, **{name: PASSWORD}).startswith(f"{name}: received a value that is not shown; allowed: ")
    assert PASSWORD not in repr(settings_of(monkeypatch, **{name: f"api-key={PASSWORD}"}))


@pytest.mark.parametrize("value", ["a%0Ab", "a%00", "%C3%A9"])
def test_headers_that_cannot_be_sent(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """What no header can hold is refused at the start, not found out by the first export."""
    name = "OTEL_EXPORTER_OTLP_TRACES_HEADERS"
    expected = (
        f"{name}: received a value that is not shown; allowed: key=value, separated by commas, of printable ASCII"
    )
    assert refusal(monkeypatch, **{name: f"api-key={value}"}).startswith(expected)


@pytest.mark.parametrize(
    ("variables", "exports", "records"),
    [
        ({}, False, False),
        ({ENDPOINT: "http://c:4318"}, True, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318"}, True, True),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SERVICE_NAME": "x"}, False, False),
        ({ENDPOINT: "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False, False),
        ({ENDPOINT: "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False, False),
        ({"OTEL_TRACES_EXPORTER": "console"}, False, True),
        ({ENDPOINT: "http://c:4318", "OTEL_TRACES_EXPORTER": "console"}, False, True),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"}, False, False),
    ],
)
def test_when_spans_are_exported(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], exports: bool, records: bool
) -> None:
    """Spans leave the process only when an endpoint is set, and nothing says otherwise."""
    settings = settings_of(monkeypatch, **variables)
    assert (settings.exports_traces, settings.records_traces) == (exports, records)


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({ENDPOINT: "http://c:4318"}, "http://c:4318/v1/traces"),
        ({ENDPOINT: "http://c:4318/"}, "http://c:4318/v1/traces"),
        ({ENDPOINT: "https://c/otlp"}, "https://c/otlp/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/as/it/is"}, "http://c:4318/as/it/is"),
        ({ENDPOINT: "http://c:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://d"}, "http://d"),
    ],
)
def test_address(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str) -> None:
    """The general endpoint gets the path of traces; the one of traces is taken as it is, and wins."""
    assert settings_of(monkeypatch, **variables).traces_endpoint == TracesEndpoint(url)


@pytest.mark.parametrize("prefix", ["OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"])
def test_how_it_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prefix: str) -> None:
    """Headers, time-out, compression and certificates are obeyed; those of traces win."""
    for name in ("ca", "own", "key"):
        (tmp_path / name).touch()
    given = {
        "HEADERS": "api-key=a%2Cb, X-Scope = team",
        "TIMEOUT": "2500",
        "COMPRESSION": "gzip",
        "CERTIFICATE": str(tmp_path / "ca"),
        "CLIENT_CERTIFICATE": str(tmp_path / "own"),
        "CLIENT_KEY": str(tmp_path / "key"),
    }
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x=y")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "999")
    settings = settings_of(monkeypatch, **{ENDPOINT: "http://c"}, **{prefix + name: given[name] for name in given})
    assert settings.traces_endpoint == TracesEndpoint(
        "http://c/v1/traces",
        {"api-key": "a,b", "X-Scope": "team"},
        2.5,
        compress=True,
        certificate=tmp_path / "ca",
        client_certificate=tmp_path / "own",
        client_key=tmp_path / "key",
    )


def test_pairs() -> None:
    """Lists are read as the specification writes them; an empty member is none."""
    assert read_pairs("a=1, b = 2 ,,c=x%3Dy=z,d=") == {"a": "1", "b": "2", "c": "x=y=z", "d": ""}
    assert read_pairs("") == {}


def test_variables_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables in `.env` count for libraries that use OpenTelemetry too."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "")
    Path(".env").write_text("OTEL_SERVICE_NAME=shop\n")
    assert load_settings().resource_attributes == {"service.name": "shop"}
    assert os.environ["OTEL_SERVICE_NAME"] == "shop"
