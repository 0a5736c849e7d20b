"""A platform can tell whether the process lives and whether it should get requests."""

import sqlite3
from typing import Any

import pytest

from .conftest import Launch
from .orders import database, orders_table, place, placed
from .problems import assert_problem, assert_retry_after
from .server import Service
from .wire import eventually


def test_livez(service: Service) -> None:
    """A living process says so."""
    response = service.get("/livez")
    assert response.status == 200
    assert response.header("Content-Type") == "application/json"
    assert response.json() == {"status": "ok"}


def test_readyz(service: Service) -> None:
    """A ready service lists its checks, each with a name, a status and a duration."""
    response = service.get("/readyz")
    assert response.status == 200
    document = response.json()
    assert document["status"] == "ok"
    assert document["checks"]
    for check in document["checks"]:
        _assert_check(check)


def _assert_check(check: dict[str, Any]) -> None:
    assert isinstance(check["name"], str)
    assert isinstance(check["status"], str)
    durations = [value for key, value in check.items() if key.startswith("duration")]
    assert [value >= 0 for value in durations] == [True]


def test_database_goes_away(launch: Launch) -> None:
    """Without its database the service lives, is not ready, and says 503 to who asks."""
    service = launch()
    placed(service)
    _take_away(service)
    failed = eventually(lambda: _unready(service))
    assert {check["status"] for check in failed["checks"]} != {"ok"}
    assert service.get("/livez").status == 200


def _take_away(service: Service) -> None:
    """Move the database's folder, and put something that is no folder in its place."""
    folder = service.database.parent
    folder.rename(folder.with_name("gone"))
    folder.write_text("not a folder")


def _unready(service: Service) -> Any:
    response = service.get("/readyz")
    return response.json() if response.status == 503 else None


def test_database_error_is_503(launch: Launch) -> None:
    """While the database fails a request gets a 503 problem that says when to come back."""
    service = launch()
    _break(service)
    for response in (service.get("/orders"), place(service)):
        assert_problem(response, 503)
        assert_retry_after(response)


def _break(service: Service) -> None:
    """Leave the orders without their table."""
    with database(service.database) as connection:
        connection.execute(f"DROP TABLE {orders_table(connection)}")


def test_locked_database(launch: Launch) -> None:
    """A writer that holds the database makes others wait and fail in time; reading goes on."""
    service = launch()
    with database(service.database) as connection:
        connection.execute("BEGIN IMMEDIATE")
        response = place(service)
        assert service.get("/orders").status == 200
        connection.execute("ROLLBACK")
    assert_problem(response, 503)
    assert_retry_after(response)
    assert place(service).status == 201


def test_livez_touches_no_database(launch: Launch) -> None:
    """Liveness does not depend on the database: restarting would not mend it."""
    service = launch()
    connection = sqlite3.connect(service.database, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    assert service.get("/livez").status == 200
    connection.close()


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_probes_need_nothing(service: Service, path: str) -> None:
    """A probe that sends no header but Host is answered."""
    assert service.get(path).status == 200
