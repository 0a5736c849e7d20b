"""Paths that only a test has, besides the service's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from django.http import HttpRequest
from django.test import override_settings
from django.urls import URLPattern, URLResolver, path
from ninja import Router

from app.web import urls
from app.web.api import JsonParser, JsonRenderer
from app.web.openapi import DocumentedAPI

Path = URLPattern | URLResolver
View = Callable[..., Any]


@contextmanager
def serving(*paths: Path) -> Iterator[None]:
    """Serve further paths inside the block.

    Args:
        paths: As in `urls.py`.

    """
    module: Any = ModuleType("urls_of_a_test")
    module.urlpatterns = [*paths, *urls.urlpatterns]
    for status in (400, 403, 404, 500):
        setattr(module, f"handler{status}", getattr(urls, f"handler{status}"))
    with override_settings(ROOT_URLCONF=module):
        yield


def operations(*routers: tuple[str, Router]) -> URLResolver:
    """Return the paths of an API as the service's is made.

    Args:
        routers: Prefixes and routers.

    """
    api = DocumentedAPI(urls_namespace="of-a-test", openapi_url=None, renderer=JsonRenderer(), parser=JsonParser())
    for prefix, router in routers:
        api.add_router(prefix, router)
    return path("", api.urls)


def operation(template: str, view: View, *methods: str, **options: Any) -> URLResolver:
    """Return the paths of an API with one operation.

    Args:
        template: Its path.
        view: What it runs.
        methods: What it answers to; GET when left out.
        options: Ninja's.

    """
    router = Router()
    router.add_api_operation(template, list(methods or ("GET",)), view, **options)
    return operations(("", router))


def raising(error: BaseException) -> View:
    """Return an operation that fails."""

    def view(request: HttpRequest) -> None:
        # Without the frames of the request before.
        raise error.with_traceback(None)

    return view
