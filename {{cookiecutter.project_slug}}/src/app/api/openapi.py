"""The OpenAPI document: every error that an operation can answer is declared, as a problem document."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ..core.openapi import completed


def install_openapi(app: FastAPI) -> None:
    """Make an application's document complete.

    Args:
        app: The application.

    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents this as the way to extend it


def _document(app: FastAPI) -> dict[str, Any]:
    return completed(
        get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
    )
