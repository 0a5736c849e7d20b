"""The API as Ninja has it, with what Ninja leaves open: its document, and errors that others answer.

Every error that an operation can answer is declared, as a problem document.
"""

from typing import Any

from ninja import NinjaAPI
from ninja.errors import ValidationError, ValidationErrorContext
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from ..core.openapi import completed, problems

_Rejected = ValidationErrorContext[Any]


def answers(*statuses: int) -> dict[str, Any]:
    """Return what declares that an operation can answer with these errors, as a keyword of its decorator.

    Args:
        statuses: The HTTP statuses; those that any operation can answer are added.

    """
    return {"openapi_extra": {"responses": problems(*statuses)}}


class DocumentedAPI(NinjaAPI):
    """Django Ninja's API with a complete document, whose errors pass to the middleware."""

    _document: OpenAPISchema | None = None

    def set_default_exception_handlers(self) -> None:
        """Register none: an error that nobody has registered a handler for is raised, and answered like all others."""

    def get_content_type(self) -> str:
        """Return the content type of answers; JSON is always UTF-8, and has no parameter to say so."""
        return self.renderer.media_type or "application/json"

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """Return the name by which generated clients call an operation."""
        return operation.view_func.__name__

    def validation_error_from_error_contexts(
        self, error_contexts: list[ValidationErrorContext[Any]]
    ) -> ValidationError:
        """Return what is wrong with the input, and where, without the names of the function's parameters."""
        return ValidationError([error for context in error_contexts for error in _errors_of(context)])

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """Return the document; made once, for the paths that the service serves."""
        if self._document is None:
            document = super().get_openapi_schema(**options)
            completed(document)
            self._document = document
        return self._document


def _errors_of(context: _Rejected) -> list[dict[str, Any]]:
    model = context.model
    # Where a parameter is the whole body, its name is the service's own affair.
    whole = getattr(model, "__read_from_single_attr__", None)
    ways = model.__ninja_flatten_map_reverse__
    errors = []
    for error in context.pydantic_validation_error.errors(
        include_url=False, include_input=False, include_context=False
    ):
        way = ways.get(error["loc"], error["loc"])
        way = way[1:] if whole is not None and way[:1] == (whole,) else way
        errors.append({**error, "loc": (model.__ninja_param_source__, *way)})
    return errors
