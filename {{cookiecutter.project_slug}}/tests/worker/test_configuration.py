"""The settings that only a worker has."""

import pytest

from app.settings import ConfigurationError
from app.worker.bootstrap import load_worker_settings


def test_broker_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is for messages alone is refused, and the message names one for tasks."""
    monkeypatch.setenv("BROKER_URL", "sqlite:///var/queue.db")
    with pytest.raises(
        ConfigurationError, match=r"received 'sqlite:///var/queue.db'.*allowed for tasks: filesystem://"
    ):
        load_worker_settings()
