"""The service's parts are built from the settings, and each can be replaced."""

import re
from pathlib import Path

import httpx2
import pytest

from app.adapters.database import Database
from app.adapters.delivery import Account
from app.adapters.idempotency import MemoryIdempotencyStore, SqlIdempotencyStore
from app.adapters.logging import LogHealth
from app.adapters.metrics import Metrics
from app.adapters.reporting import error_reporting
from app.adapters.tracing import Tracing
from app.bootstrap import Services, bootstrap
from app.core.reporting import ErrorContext
from app.settings import ErrorSettings, IdempotencySettings, Settings


async def test_nothing_is_opened(settings: Settings, tmp_path: Path) -> None:
    """Building the parts connects to nothing."""
    services = bootstrap(settings)
    assert not (tmp_path / "test.db").exists()
    await services.aclose()


@pytest.mark.parametrize(("name", "kind"), [("sql", SqlIdempotencyStore), ("memory", MemoryIdempotencyStore)])
async def test_idempotency_store(settings: Settings, name: str, kind: type) -> None:
    """The settings choose where idempotency records are kept."""
    chosen = IdempotencySettings.model_validate({"store": name})
    services = bootstrap(settings.model_copy(update={"idempotency": chosen}))
    assert isinstance(services.idempotency_store, kind)
    await services.aclose()


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
    database, store = Database(settings.database), MemoryIdempotencyStore()
    reporting = error_reporting(settings, on_outcome=metrics.error_reported)
    services = bootstrap(
        settings, metrics=metrics, tracing=tracing, database=database, idempotency_store=store, reporting=reporting
    )
    assert services == Services(settings, metrics, tracing, services.health, database, store, reporting)
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
    database = BrokenDatabase(settings.database)
    services = bootstrap(settings, tracing=tracing, metrics=metrics, database=database)
    with pytest.raises(ConnectionResetError):
        await services.aclose()
    assert tracing.stopped
    assert metrics.stopped


async def test_reports_are_delivered_at_the_end(settings: Settings, tmp_path: Path) -> None:
    """What was reported before the end is delivered, and counted; a part that fails to close changes nothing."""
    file = tmp_path / "errors.jsonl"
    own = settings.model_copy(update={"errors": ErrorSettings(reporters=("file",), file=str(file))})
    services = bootstrap(own, database=BrokenDatabase(settings.database))
    services.reporting.report(RuntimeError("x"), ErrorContext())
    with pytest.raises(ConnectionResetError):
        await services.aclose()
    assert len(file.read_bytes().splitlines()) == 1
    assert b'error_reports_total{outcome="delivered",reporter="file"} 1.0' in services.metrics.render()
