"""Orders can be placed, read, listed and cancelled."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from .conftest import Launch
from .orders import EMAIL, database, order, orders_table, place, placed, with_sku
from .problems import assert_problem, assert_validation
from .server import Service, new_id


def test_create(service: Service) -> None:
    """A valid order is created, with its address and its state in the answer."""
    body = order(quantity=3)
    response = service.post("/orders", body)
    assert response.status == 201
    assert response.header("Content-Type") == "application/json"
    created = response.json()
    assert set(created) == {"id", "sku", "quantity", "status", "created_at"}
    assert (created["sku"], created["quantity"], created["status"]) == (body["sku"], 3, "pending")
    assert response.header("Location") == f"/orders/{created['id']}"


def test_created_at(service: Service) -> None:
    """The time of creation is now, with its offset."""
    created = datetime.fromisoformat(placed(service)["created_at"])
    assert created.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=1)


def test_email_stays_inside(service: Service) -> None:
    """The customer's address is in no answer."""
    response = place(service)
    assert EMAIL not in response.body.decode()
    assert EMAIL not in service.get(response.header("Location") or "").body.decode()
    assert EMAIL not in service.get("/orders").body.decode()


@pytest.mark.parametrize("quantity", [1, 1000])
def test_quantity_limits(service: Service, quantity: int) -> None:
    """The smallest and the largest quantity are taken."""
    assert placed(service, quantity=quantity)["quantity"] == quantity


@pytest.mark.parametrize("quantity", [0, 1001, -1, 1.5, "two", None, True, [], {}])
def test_bad_quantity(service: Service, quantity: object) -> None:
    """A quantity that is no whole number in 1..1000 is refused, naming the member."""
    errors = assert_validation(place(service, quantity=quantity))
    assert "quantity" in errors[0]["loc"]


@pytest.mark.parametrize("email", ["", "ada", "ada@", "@example.com", "a b@example.com", None, 1])
def test_bad_email(service: Service, email: object) -> None:
    """What is no e-mail address is refused, naming the member."""
    errors = assert_validation(place(service, customer_email=email))
    assert "customer_email" in errors[0]["loc"]


@pytest.mark.parametrize("sku", ["", None, 1, ["a"]])
def test_bad_sku(service: Service, sku: object) -> None:
    """A sku that is no text, or empty, is refused, naming the member."""
    errors = assert_validation(place(service, sku=sku))
    assert "sku" in errors[0]["loc"]


def test_all_errors_at_once(service: Service) -> None:
    """Every wrong member is listed, not only the first."""
    errors = assert_validation(service.post("/orders", {"quantity": 0, "customer_email": "x"}))
    assert {error["loc"][-1] for error in errors} == {"sku", "quantity", "customer_email"}


def test_refused_order_is_not_stored(service: Service) -> None:
    """A refused order leaves nothing behind."""
    sku = new_id("sku")
    assert_validation(place(service, sku=sku, quantity=0))
    assert with_sku(service, sku) == []


def test_read(service: Service) -> None:
    """An order reads as it was created."""
    response = place(service)
    assert service.get(response.header("Location") or "").json() == response.json()


@pytest.mark.parametrize("name", ["1", "x", "00000000-0000-4000-8000-000000000000", "%2e%2e", "9" * 300])
def test_read_unknown(service: Service, name: str) -> None:
    """An id that no order has is not found, or no id at all."""
    response = service.get(f"/orders/{name}")
    assert response.status in (404, 422)
    assert_problem(response, response.status)


def test_list_newest_first(service: Service) -> None:
    """The list begins with the newest order."""
    ids = [placed(service)["id"] for _ in range(5)]
    items = service.get("/orders?limit=5").json()["items"]
    assert [item["id"] for item in items] == ids[::-1]


def test_list_order_within_one_moment(service: Service) -> None:
    """Orders placed together are listed each once, and the same way every time."""
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: placed(service)["id"], range(16)))
    first, second = (service.get("/orders?limit=16").json()["items"] for _ in range(2))
    assert {item["id"] for item in first} == set(ids)
    assert first == second


def test_list_items_are_orders(service: Service) -> None:
    """An item of the list is the order as it reads alone."""
    created = placed(service)
    assert service.get("/orders?limit=1").json() == {"items": [created]}


def test_list_limit(service: Service) -> None:
    """A page holds 20 orders unless the caller says otherwise, and never more than 100."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: placed(service), range(101)))
    assert len(service.get("/orders").json()["items"]) == 20
    assert len(service.get("/orders?limit=1").json()["items"]) == 1
    assert len(service.get("/orders?limit=100").json()["items"]) == 100


def test_empty_list(launch: Launch) -> None:
    """A new service has an empty list."""
    assert launch().get("/orders").json() == {"items": []}


def test_many_at_once(service: Service) -> None:
    """Two hundred different orders at once are all placed."""
    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(lambda _: place(service).status, range(200)))
    assert set(statuses) == {201}


def test_cancel(service: Service) -> None:
    """A pending order can be cancelled."""
    created = placed(service)
    response = service.post(f"/orders/{created['id']}/cancel")
    assert response.status == 200
    assert response.json() == {**created, "status": "cancelled"}
    assert service.get(f"/orders/{created['id']}").json()["status"] == "cancelled"


def test_cancel_twice(service: Service) -> None:
    """A cancelled order cannot be cancelled again."""
    path = f"/orders/{placed(service)['id']}/cancel"
    assert service.post(path).status == 200
    assert_problem(service.post(path), 409)


def test_cancel_together(service: Service) -> None:
    """Of many cancellations at once one succeeds."""
    path = f"/orders/{placed(service)['id']}/cancel"
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: service.post(path).status, range(8)))
    assert sorted(statuses) == [200] + [409] * 7


def test_cancel_shipped(service: Service) -> None:
    """A shipped order cannot be cancelled, and stays shipped."""
    created = placed(service)
    with database(service.database) as connection:
        table = orders_table(connection)
        connection.execute(f"UPDATE {table} SET status = 'shipped' WHERE sku = ?", [created["sku"]])
    assert service.get(f"/orders/{created['id']}").json()["status"] == "shipped"
    assert_problem(service.post(f"/orders/{created['id']}/cancel"), 409)
    assert service.get(f"/orders/{created['id']}").json()["status"] == "shipped"


def test_orders_survive_a_restart(launch: Launch) -> None:
    """An order is there after the service was stopped and started again."""
    first = launch()
    created = placed(first)
    first.stop()
    assert launch().get(f"/orders/{created['id']}").json() == created
