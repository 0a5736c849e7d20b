"""Orders in the admin site."""

from typing import TYPE_CHECKING

from django.contrib import admin

from .models import OrderRecord

if TYPE_CHECKING:
    _OrderAdmin = admin.ModelAdmin[OrderRecord]
else:
    _OrderAdmin = admin.ModelAdmin


@admin.register(OrderRecord)
class OrderAdmin(_OrderAdmin):
    """Lists and finds orders; what happens to one goes through the service, so that its rules hold."""

    list_display = ("id", "sku", "quantity", "status", "created_at")
    list_filter = ("status",)
    search_fields = ("=id", "sku")
    readonly_fields = ("id", "sku", "quantity", "customer_email", "status", "created_at")
