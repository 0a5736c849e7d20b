"""The beginning of what a task or message was given."""

from typing import Any

import pytest

from app.core.preview import MAX_VALUE, PREVIEW_LENGTH, preview

from .. import fakes


def test_shown() -> None:
    """Small values are shown as JSON, a secret's name hides it."""
    assert preview({"number": 1, "password": "hunter2"}) == '{"number":1,"password":"[redacted]"}'


@pytest.mark.parametrize("secret", [fakes.EMAIL, fakes.CARD])
@pytest.mark.parametrize("filler", [0, PREVIEW_LENGTH - 30, PREVIEW_LENGTH - 5, MAX_VALUE - 10])
def test_no_part_of_a_secret(secret: str, filler: int) -> None:
    """Wherever it is cut, no part of a secret is left."""
    shown = preview({"note": " " * filler + secret, "deep": {"list": ["x" * filler, secret]}})
    assert len(shown) <= PREVIEW_LENGTH + 1
    assert not fakes.survives(secret, shown)


def _endless() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["itself"] = found
    return found


@pytest.mark.parametrize("given", [{}, {"a": object()}, {"a": float("nan")}, {"a": "\ud800"}, _endless()])
def test_strange_values(given: dict[str, Any]) -> None:
    """Whatever values are, the preview is short text."""
    assert len(preview(given)) <= PREVIEW_LENGTH + 1
