"""Which path leads where, and who answers when none does."""

from django.contrib import admin
from django.urls import path

from .api import api

handler400 = "app.web.errors.bad_request"
handler403 = "app.web.errors.permission_denied"
handler404 = "app.web.errors.page_not_found"
handler500 = "app.web.errors.server_error"
urlpatterns = [
    path("admin/", admin.site.urls),
    path("", api.urls),
]
