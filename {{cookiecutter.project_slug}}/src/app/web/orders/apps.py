"""Orders as a Django application."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """What Django knows of orders."""

    name = "app.web.orders"
    label = "orders"
