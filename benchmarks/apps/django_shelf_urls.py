"""The endpoints twice: Django Ninja is the same on either side, what stands around it is not."""

from django.urls import path
from ninja import NinjaAPI

from .django_endpoints import bare, router

api = NinjaAPI(openapi_url=None)
api.add_router("", router())
urlpatterns = [path("bare/", bare().urls), path("", api.urls)]
