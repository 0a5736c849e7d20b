"""Orders in the admin site."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from app.web.orders.service import place_order

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client: Client) -> Client:
    """Return a client of whom the admin site knows everything."""
    client.force_login(User.objects.create_superuser("ada", password="-".join(["correct", "horse"])))
    return client


def test_orders_are_listed(admin: Client) -> None:
    """An order that was placed is in the list, with what it is about."""
    order = place_order("TEA-42", 2, "ada@example.com")
    page = admin.get("/admin/orders/orderrecord/")
    assert page.status_code == 200
    assert str(order.id) in page.text
    assert "TEA-42" in page.text


def test_orders_are_not_changed_by_hand(admin: Client) -> None:
    """A page of an order shows it, and nothing there changes it: its rules are the service's."""
    order = place_order("TEA-42", 2, "ada@example.com")
    address = f"/admin/orders/orderrecord/{order.id}/change/"
    page = admin.get(address)
    assert "ada@example.com" in page.text
    assert 'name="status"' not in page.text
    admin.post(address, {"status": "shipped"})
    assert "Pending" in admin.get(address).text or "pending" in admin.get(address).text


def test_strangers_are_sent_to_the_login(client: Client) -> None:
    """Who is nobody gets a form, as a page."""
    answer = client.get("/admin/orders/orderrecord/", headers={"accept": "text/html"})
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")
