"""The service's parts are built from the settings, and each can be replaced."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from redis.asyncio import Redis

from app.adapters.database import Database
from app.adapters.database_connection import database_address
from app.adapters.delivery import Account
from app.adapters.idempotency import MemoryIdempotencyStore, SqlIdempotencyStore
from app.adapters.idempotency_redis import RedisIdempotencyStore
from app.adapters.logging import LogHealth
from app.adapters.metrics import Metrics
from app.adapters.reporters.log import LogReporter
from app.adapters.reporting import error_reporting
from app.adapters.tracing import Tracing
from app.bootstrap import Services, bootstrap
from app.core.reporting import ErrorContext
from app.settings import Settings
from app.settings_groups import DatabaseSettings, ErrorSettings, IdempotencySettings

from .conftest import Log
from .processes import run_python
from .redis_server import own_redis

NO_REDIS = "redis://127.0.0.1:1/0"


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    """Return the service's parts; closed when the test ends."""
    built = bootstrap(settings)
    yield built
    await built.aclose()


async def test_nothing_is_opened(settings: Settings, tmp_path: Path) -> None:
    """Building the parts connects to nothing."""
    services = bootstrap(settings)
    assert not (tmp_path / "test.db").exists()
    await services.aclose()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sql", SqlIdempotencyStore), ("redis", RedisIdempotencyStore), ("memory", MemoryIdempotencyStore)],
)
async def test_idempotency_store(settings: Settings, name: str, kind: type) -> None:
    """The settings choose where idempotency records are kept."""
    chosen = IdempotencySettings.model_validate({"store": name})
    update = {"idempotency": chosen, "redis_url": NO_REDIS}
    services = bootstrap(settings.model_copy(update=update))
    assert isinstance(services.idempotency_store, kind)
    assert (services.redis is not None) == (name == "redis")
    await services.aclose()


@pytest.mark.parametrize("store", ["sql", "redis"])
async def test_time_of_a_step(settings: Settings, store: str) -> None:
    """The settings say how long one step of the store may take."""
    chosen = IdempotencySettings.model_validate({"store": store, "timeout": 0.25})
    services = bootstrap(settings.model_copy(update={"idempotency": chosen, "redis_url": NO_REDIS}))
    assert vars(services.idempotency_store)["_timeout"] == 0.25
    if services.redis is not None:
        assert services.redis.connection_pool.connection_kwargs["socket_timeout"] == 0.125
    await services.aclose()


def with_redis(settings: Settings, url: str) -> Settings:
    """Return settings that keep idempotency records in Redis."""
    return settings.model_copy(update={"idempotency": IdempotencySettings(store="redis"), "redis_url": url})


async def test_redis_is_checked(settings: Settings) -> None:
    """Where Redis is used readiness asks it, and is told when it does not answer."""
    with own_redis() as own:
        found = {}
        for url in (own.url, NO_REDIS):
            services = bootstrap(with_redis(settings, url))
            report = await services.health.report()
            found[url] = {check.name: str(check.status) for check in report.checks}
            await services.aclose()
    assert found == {own.url: {"database": "ok", "redis": "ok"}, NO_REDIS: {"database": "ok", "redis": "failed"}}


async def test_redis_is_closed(settings: Settings) -> None:
    """The connections to Redis end with the service."""
    with own_redis() as own:
        services = bootstrap(with_redis(settings, own.url))
        assert services.redis is not None
        await services.redis.ping()
        (connection,) = services.redis.connection_pool._available_connections
        assert connection.is_connected
        await services.aclose()
        assert not connection.is_connected


class BrokenRedis(Redis):
    """A client that cannot be closed."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Fail."""
        raise ConnectionResetError


async def test_redis_that_fails_to_close(settings: Settings) -> None:
    """A client of Redis that fails to close does not keep the others open."""
    tracing = Told(settings)
    services = bootstrap(settings, tracing=tracing, redis=BrokenRedis())
    with pytest.raises(ConnectionResetError):
        await services.aclose()
    assert tracing.stopped


def test_redis_is_not_loaded_for_nothing() -> None:
    """A service that keeps nothing in Redis does not load its client."""
    code = (
        "import sys; from app.settings import Settings; from app.bootstrap import bootstrap\n"
        "bootstrap(Settings(service_name='x')); print('redis' in sys.modules)"
    )
    assert run_python("-c", code).stdout == "False\n"


async def test_statements_are_counted(services: Services) -> None:
    """What the database does is seen in the metrics."""
    await services.database.ping()
    assert b'database_query_duration_seconds_count{statement="SELECT"} 1.0' in services.metrics.render()


async def test_pool_is_shown(services: Services) -> None:
    """A scrape shows what the database's connections do."""
    async with services.database.engine.connect():
        text = services.metrics.render()
    assert b'database_pool_connections{state="in_use"} 1.0' in text
    assert b'database_pool_connections{state="idle"} 0.0' in text
    assert b"database_pool_limit 15.0" in text


async def test_checks_are_shown(services: Services) -> None:
    """A scrape shows what the readiness checks found last."""
    assert b"health_check_status" not in services.metrics.render()
    await services.health.report()
    assert b'health_check_status{check="database"} 1.0' in services.metrics.render()


async def test_lost_log_lines_are_shown(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape shows what became of the log's lines."""
    monkeypatch.setattr("app.bootstrap.log_health", lambda: LogHealth({"stdout": Account(dropped=2)}))
    services = bootstrap(settings)
    assert b'log_lines_dropped_total{sink="stdout"} 2.0' in services.metrics.render()
    await services.aclose()


async def test_database_is_checked(services: Services) -> None:
    """Readiness asks the database."""
    report = await services.health.report()
    assert [(check.name, check.status, check.required) for check in report.checks] == [("database", "ok", True)]


async def test_calls_to_other_services_are_counted(services: Services) -> None:
    """A client for other services is counted, with the answer or without one."""

    def service(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/refused":
            raise httpx2.ConnectError(request.url.path, request=request)
        return httpx2.Response(404)

    async with services.http_client(transport=httpx2.MockTransport(service), base_url="http://api.example.com") as http:
        await http.get("/orders/1?x=2")
        with pytest.raises(httpx2.ConnectError):
            await http.post("/refused")
    text = services.metrics.render().decode()
    name = "http_client_request_duration_seconds_count"
    counted = re.findall(name + r'\{method="(.*)",server="(.*)",status_code="(.*)"', text)
    assert counted == [("GET", "api.example.com", "404"), ("POST", "api.example.com", "error")]


async def test_parts_can_be_replaced(settings: Settings) -> None:
    """What a test passes is used, by the other parts too."""
    metrics, tracing = Metrics(settings), Tracing(settings)
    database, store = Database(database_address(settings)), MemoryIdempotencyStore()
    reporting = error_reporting(settings, database=LogReporter, on_outcome=metrics.error_reported)
    services = bootstrap(
        settings, metrics=metrics, tracing=tracing, database=database, idempotency_store=store, reporting=reporting
    )
    made = services.health, database, store, services.idempotency
    assert services == Services(settings, metrics, tracing, *made, reporting)
    assert services.idempotency.asynchronous.store is store
    await services.aclose()


class BrokenDatabase(Database):
    """A database that cannot be closed."""

    async def aclose(self) -> None:
        """Fail."""
        raise ConnectionResetError


class Told(Tracing):
    """Tracing that notes when it is stopped."""

    stopped = False

    def shutdown(self) -> None:
        """Note it."""
        self.stopped = True


class ToldMetrics(Metrics):
    """Metrics that note when they are closed."""

    stopped = False

    def close(self) -> None:
        """Note it."""
        self.stopped = True


async def test_everything_is_closed(settings: Settings) -> None:
    """A part that fails to close does not keep the others open."""
    tracing, metrics = Told(settings), ToldMetrics(settings)
    database = BrokenDatabase(database_address(settings))
    services = bootstrap(settings, tracing=tracing, metrics=metrics, database=database)
    with pytest.raises(ConnectionResetError):
        await services.aclose()
    assert tracing.stopped
    assert metrics.stopped


async def test_reports_are_delivered_at_the_end(settings: Settings, tmp_path: Path) -> None:
    """What was reported before the end is delivered, and counted; a part that fails to close changes nothing."""
    file = tmp_path / "errors.jsonl"
    own = settings.model_copy(update={"errors": ErrorSettings(reporters=("file",), file=str(file))})
    services = bootstrap(own, database=BrokenDatabase(database_address(settings)))
    services.reporting.report(RuntimeError("x"), ErrorContext())
    with pytest.raises(ConnectionResetError):
        await services.aclose()
    assert len(file.read_bytes().splitlines()) == 1
    assert b'error_reports_total{outcome="delivered",reporter="file"} 1.0' in services.metrics.render()


async def test_database_settings_are_used(settings: Settings, log: Log) -> None:
    """The pool and the warnings are those of the settings, and what the database does is counted."""
    database = DatabaseSettings(pool_size=3, pool_overflow=4, slow_query=0.000_000_001)
    services = bootstrap(settings.model_copy(update={"database": database}))
    await services.database.ping()
    exposition = services.metrics.render().decode()
    await services.aclose()
    assert services.database.pool_state().limit == 7
    assert "SELECT" in [line["kind"] for line in log.named("database.slow_query")]
    for line in (
        'database_query_duration_seconds_count{statement="SELECT"} 1.0',
        'database_slow_queries_total{statement="SELECT"} 1.0',
        "database_pool_wait_seconds_count 1.0",
        "database_pool_timeouts_total 0.0",
        "database_pool_limit 7.0",
    ):
        assert line in exposition
