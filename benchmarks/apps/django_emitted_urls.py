"""The paths of the emitted project, and before them those of the bare one."""

from app.web.api import api
from django.urls import path

from .django_endpoints import bare, router

api.add_router("", router())

# Only now: the emitted paths are made from all that the API has.
from app.web.urls import *  # noqa: E402, F403
from app.web.urls import urlpatterns as emitted  # noqa: E402

urlpatterns = [path("bare/", bare().urls), *emitted]
