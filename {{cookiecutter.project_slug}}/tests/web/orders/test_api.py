"""Orders over HTTP, on Django's ORM."""

import pytest
from django.test import Client

NEW = {"sku": "TEA-42", "quantity": 2, "customer_email": "ada@example.com"}


@pytest.mark.django_db
def test_place_and_get(client: Client) -> None:
    """What was placed can be looked at under the address that the answer names."""
    placed = client.post("/orders", NEW, content_type="application/json")
    assert placed.status_code == 201
    order = client.get(placed["Location"])
    assert order.json() == placed.json()
    assert order.json()["status"] == "pending"
