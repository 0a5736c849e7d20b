"""Importing a module of the service has no effect: only its entry points do anything."""

from pathlib import Path

from .imports import NONE, effects


def test_importing_has_no_effect(tmp_path: Path) -> None:
    """No module opens a connection, starts a thread, writes a file, takes a signal or configures logging."""
    # What Django loads, it loads after it was set up.
    found = effects('not name.startswith("app.web.")')
    assert {"app.settings", "app.core.logging", "app.adapters.metrics"} <= set(found.pop("names"))
    assert found == NONE
    assert list(tmp_path.iterdir()) == []
