"""The result of an idempotent function, as text that is kept, and back: what comes back is equal and of the same type.

The function's return annotation says what the text means (https://docs.pydantic.dev/latest/concepts/type_adapter/).
Without one a result is what JSON makes of it.
"""

import inspect
from collections.abc import Callable
from functools import cached_property
from typing import Any, get_type_hints

from pydantic import ConfigDict, PydanticUserError, TypeAdapter

from .idempotency_errors import IdempotencyUsageError

# Any bytes survive, not only those that are text, and so do infinities.
_CONFIG = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")


class ResultCodec:
    """Writes and reads the results of one function.

    Args:
        function: The function.
        name: What it is called in messages.

    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function = function
        self._name = name

    # Not before it is needed: an annotation may name a class that is defined further down.
    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        kind = self._annotation()
        try:
            return TypeAdapter(kind, config=_CONFIG)
        except PydanticUserError as error:
            # A model has a configuration of its own.
            if error.code != "type-adapter-config-unused":
                raise
            return TypeAdapter(kind)

    def _annotation(self) -> Any:
        """Return the return annotation alone: those of parameters may name what exists for type checkers only."""
        inner = inspect.unwrap(self._function)
        if "return" not in inner.__annotations__:
            return Any

        def holder() -> None: ...

        holder.__annotations__ = {"return": inner.__annotations__["return"]}
        return get_type_hints(holder, inner.__globals__, include_extras=True)["return"]

    def encode(self, result: object) -> tuple[bytes, Any]:
        """Return a result as JSON, and what will be read from that: the first call returns the same as a repetition.

        Args:
            result: What the function returned.

        Raises:
            IdempotencyUsageError: The result is not of the annotated type, or no JSON can hold it.

        """
        try:
            text = self._adapter.dump_json(result, warnings="error")
            return text, self._adapter.validate_json(text)
        except (ValueError, TypeError, NameError, RecursionError, PydanticUserError) as error:
            msg = (
                f"{self._name}: the result cannot be kept for a repetition, so nothing was done: received a "
                f"{type(result).__qualname__}; allowed: what the return annotation says, and JSON can hold "
                f"({type(error).__name__})"
            )
            raise IdempotencyUsageError(msg) from error

    def decode(self, text: bytes) -> Any:
        """Return the result that a text was made of.

        Args:
            text: What `encode` returned.

        Raises:
            ValueError: The text is not of the annotated type, as after that was changed.

        """
        return self._adapter.validate_json(text)
