"""What tests share: settings that touch nothing outside a temporary folder, and the log."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.adapters.logging import configure_logging
from app.settings import Settings


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's `.env` and variables out of the tests."""
    monkeypatch.chdir(tmp_path)
    own = tuple(name.upper() for name in Settings.model_fields)
    for name in [name for name in os.environ if name.startswith((*own, "OTEL_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings for a database of the test's own."""
    return Settings(
        environment="test", service_name="orders", service_version="1.2.3", database_url=f"sqlite:///{tmp_path}/test.db"
    )


class Log(list[str]):
    """The lines that were logged."""

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines as JSON."""
        return [json.loads(line) for line in self]

    def named(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of one event."""
        return [line for line in self.events if line["event"] == event]


@pytest.fixture
def log(settings: Settings) -> Iterator[Log]:
    """Return the log as JSON lines, from here to the end of the test."""
    lines = Log()
    configure_logging(
        settings.model_copy(update={"log": settings.log.model_copy(update={"format": "json"})}), sink=lines.append
    )
    yield lines
    configure_logging(settings, sink=lambda _line: None)
