"""A worker that has lost its broker tries again soon."""

from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from app.worker.connection import PAUSES

from .in_process import application, settings_in


def test_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application's connections wait seconds between two tries, unless the caller says otherwise."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(Connection, "ensure_connection", lambda _self, **options: asked.append(options))
    with application(settings_in(tmp_path)) as app:
        app.connection_for_read().ensure_connection(interval_max=1)
    assert asked == [{**PAUSES, "interval_max": 1}]
