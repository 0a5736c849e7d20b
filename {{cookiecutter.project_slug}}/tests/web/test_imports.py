"""Importing what Django has loaded has no effect either."""

from pathlib import Path

from ..imports import NONE, effects

SET_UP = """
from app.web.manage import use_settings
use_settings()
import django
django.setup()
"""


def test_importing_has_no_effect(tmp_path: Path) -> None:
    """Once Django is set up no module opens a connection, starts a thread, writes a file or takes a signal."""
    found = effects('name not in ("app.web.wsgi", "app.web.asgi")', SET_UP)
    assert {"app.web.urls", "app.web.orders.models", "app.web.bootstrap"} <= set(found.pop("names"))
    # Setting up configured logging.
    assert found == {**NONE, "handlers": found["handlers"], "logging configured": True}
    assert list(tmp_path.iterdir()) == []
