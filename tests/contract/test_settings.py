"""A wrong setting stops the start with one message that tells how to mend it."""

import pytest

from .conftest import Launch
from .logs import lines
from .server import Service
from .wire import eventually

STRONG = "hV3xYb1uQ9pLr7Zk-0aTn5Wc_8mJd2sEfGi4oNqUyXt6"
WEAK = {"missing": "", "short": "s3cr3t-zq7", "default": "changeme", "repeated": "ab" * 30}

WRONG = {
    "PORT": ("eighty", "integer"),
    "ENVIRONMENT": ("staging", "production"),
    "LOG__LEVEL": ("LOUD", "WARNING"),
    "LOG__FORMAT": ("xml", "logfmt"),
    "LOG__LEVELS": ("{not json", ""),
    "IDEMPOTENCY__STORE": ("disk", "memory"),
    "IDEMPOTENCY__TTL": ("forever", ""),
    "IDEMPOTENCY__LEASE": ("-5", "0"),
    "IDEMPOTENCY__ON_STORE_FAILURE": ("ignore", "reject"),
    "SHUTDOWN_TIMEOUT": ("soon", ""),
    "DATABASE_URL": ("oracle://db/orders", "postgresql"),
}


def _refused(service: Service) -> str:
    """The start fails with one short message; returns it."""
    assert service.spawn().wait(40) == 1
    output = service.output()
    assert "Traceback" not in output
    assert 0 < len([line for line in output.splitlines() if line.strip()]) <= 4, output
    return output


@pytest.mark.parametrize(("name", "case"), WRONG.items(), ids=WRONG)
def test_wrong_value(prepare: Launch, name: str, case: tuple[str, str]) -> None:
    """The message names the variable, what it received, and what is allowed."""
    received, allowed = case
    message = _refused(prepare(**{name: received}))
    assert name in message
    assert received in message
    assert allowed in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "80.5"),
        ("SHUTDOWN_TIMEOUT", "-1"),
        ("SHUTDOWN_TIMEOUT", "nan"),
        ("SHUTDOWN_TIMEOUT", "inf"),
        ("IDEMPOTENCY__TTL", "0"),
        ("IDEMPOTENCY__TTL", "1e400"),
        ("LOG__LEVELS", '["root"]'),
        ("LOG__LEVELS", '{"app": "LOUD"}'),
        ("DATABASE_URL", "nonsense"),
    ],
)
def test_value_out_of_bounds(prepare: Launch, name: str, value: str) -> None:
    """A value of the right kind but out of bounds is refused just so."""
    assert name in _refused(prepare(**{name: value}))


def test_all_wrong_values_at_once(prepare: Launch) -> None:
    """Two wrong values are named in one message, so that nobody mends them one by one."""
    message = _refused(prepare(PORT="eighty", LOG__LEVEL="LOUD"))
    assert "PORT" in message
    assert "LOG__LEVEL" in message


def test_password_is_not_shown(prepare: Launch) -> None:
    """A wrong address of the database is shown without its password."""
    message = _refused(prepare(DATABASE_URL="oracle://user:zq7-pass@db/orders"))
    assert "DATABASE_URL" in message
    assert "zq7-pass" not in message


@pytest.mark.parametrize("url", ["://user:zq7-pass@db/orders", "oracle:user:zq7-pass@db", "oracle://u:zq7-pass/@db/x"])
def test_password_of_a_broken_address(prepare: Launch, url: str) -> None:
    """The password stays hidden where the address is too broken to be taken apart."""
    assert "zq7-pass" not in _refused(prepare(DATABASE_URL=url))


@pytest.mark.parametrize("key", WEAK.values(), ids=WEAK)
def test_weak_secret_in_production(prepare: Launch, key: str) -> None:
    """A weak SECRET_KEY stops the start in production, and is not shown."""
    service = prepare(ENVIRONMENT="production", SECRET_KEY=key)
    message = _refused(service)
    assert "SECRET_KEY" in message
    assert not key or key not in message


def test_unset_secret_in_production(prepare: Launch) -> None:
    """Without any SECRET_KEY nothing starts in production."""
    assert "SECRET_KEY" in _refused(prepare(ENVIRONMENT="production"))


def test_strong_secret_in_production(prepare: Launch) -> None:
    """With a strong SECRET_KEY the service starts, logs JSON by itself, and never shows the key."""
    service = prepare(ENVIRONMENT="production", SECRET_KEY=STRONG)
    del service.env["LOG__FORMAT"]
    service.start()
    assert service.get("/orders").status == 200
    service.stop()
    assert lines(service)[-1]["environment"] == "production"
    assert STRONG not in service.output()


def test_weak_secret_in_development(launch: Launch) -> None:
    """Outside production nobody needs a key."""
    assert launch(ENVIRONMENT="development", SECRET_KEY="").get("/livez").status == 200


def test_defaults(prepare: Launch) -> None:
    """With nothing set the service starts on a database below its folder and logs for a human."""
    service = prepare()
    del service.env["LOG__FORMAT"], service.env["DATABASE_URL"]
    service.start()
    assert service.get("/orders").json() == {"items": []}
    service.stop()
    assert [path for path in service.folder.rglob("*") if path.suffix in (".db", ".sqlite3")]
    assert not any(line.startswith("{") for line in service.out)


def test_dotenv(prepare: Launch) -> None:
    """Settings come from `.env` too, and the environment wins over it."""
    service = prepare(SERVICE_VERSION="2.0.0")
    (service.folder / ".env").write_text("SERVICE_NAME=dotenv-name\nSERVICE_VERSION=1.0.0\n")
    service.start().stop()
    assert {(line["service"], line["version"]) for line in lines(service)} == {("dotenv-name", "2.0.0")}


def test_wrong_dotenv(prepare: Launch) -> None:
    """A wrong value in `.env` is named like one of the environment."""
    service = prepare()
    (service.folder / ".env").write_text("LOG__LEVEL=LOUD\n")
    assert "LOG__LEVEL" in _refused(service)


def test_foreign_variables(launch: Launch) -> None:
    """Variables of other programs do not disturb the start."""
    foreign = {
        "HTTP_PROXY": "http://127.0.0.1:9",
        "UNKNOWN": "x",
        "LOG_LEVEL": "loud",
        "ORDERS_PORT": "tcp://10.0.0.1:80",
    }
    assert launch(**foreign).get("/livez").status == 200


@pytest.mark.parametrize("name", ["LOG", "IDEMPOTENCY"])
def test_name_of_a_group(prepare: Launch, name: str) -> None:
    """A variable called like a group of settings is ignored, or refused by name."""
    service = prepare(**{name: "1x"})
    service.spawn()
    code = service.stop() if _serves(service, 200) else service.wait(40)
    assert "Traceback" not in service.output()
    assert code == 0 or name in service.output()


def test_port_in_use(prepare: Launch, service: Service) -> None:
    """A port that is taken stops the start with a message that names it, and no traceback."""
    second = prepare(PORT=str(service.port)).spawn()
    assert second.wait(40) == 1
    assert str(service.port) in second.output()
    assert "Traceback" not in second.output()


def test_unusable_database(prepare: Launch) -> None:
    """A database that cannot be opened stops the start with log lines alone, or the service says it is not ready."""
    service = prepare()
    service.database.mkdir()
    service.spawn()
    code = service.stop() if _serves(service, 503) else service.wait(40)
    assert code in (0, 1)
    assert lines(service)
    assert service.err == []
    assert not [line for line in lines(service) if "Traceback" in line["event"]]


def _serves(service: Service, readiness: int) -> bool:
    """Wait until the service is as ready as that, or has ended."""
    eventually(lambda: service.process.poll() is not None or service.readiness() == readiness, within=40)
    return service.process.poll() is None
