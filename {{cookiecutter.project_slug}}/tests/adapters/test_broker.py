"""What a sender and a worker agree on."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from app.adapters.broker import accepted_delay, broker_configuration
from app.settings import ConfigurationError


def application(configuration: dict[str, Any]) -> Celery:
    """Return an application that is set up so."""
    app = Celery("test", set_as_current=False)
    app.conf.update(configuration)
    return app


@pytest.mark.parametrize(("url", "name"), [("rediss://host/0", "ssl_cert_reqs"), ("amqps://host/", "cert_reqs")])
def test_certificates_are_checked(url: str, name: str) -> None:
    """Neither library is left to its default, which is not to look."""
    connection: Any = application(broker_configuration(url, "tasks")).connection_for_write()
    assert connection.ssl[name] == ssl.CERT_REQUIRED


def test_files(tmp_path: Path) -> None:
    """A broker of files has its folders below the one that is named."""
    configuration = broker_configuration(f"filesystem://{tmp_path}/broker", "tasks")
    assert configuration["broker_transport_options"]["data_folder_in"] == f"{tmp_path}/broker/messages"
    assert (tmp_path / "broker" / "messages").is_dir()


def test_broker_of_messages() -> None:
    """A broker that is for messages alone holds no tasks; the error says what does."""
    with pytest.raises(ConfigurationError, match=r"received 'sqlite:///q\.db'.*allowed for tasks: filesystem://"):
        broker_configuration("sqlite:///q.db", "tasks")


def test_queue_of_rabbitmq() -> None:
    """It is replicated, and what is sent for later waits in the broker."""
    app = application(broker_configuration("amqp://host/", "tasks"))
    queue = app.amqp.queues["tasks"]
    assert queue.queue_arguments == {"x-queue-type": "quorum"}
    assert queue.exchange.type == "topic"


@pytest.mark.parametrize(
    ("url", "asked", "kept"),
    [("amqp://127.0.0.1//", 0.2, 1.0), ("amqp://127.0.0.1//", 0.0, 0.0), ("redis://127.0.0.1/0", 0.2, 0.2)],
)
def test_least_delay(url: str, asked: float, kept: float) -> None:
    """RabbitMQ keeps a message for whole seconds, so what shall wait for less waits for one."""
    app = application(broker_configuration(url, "tasks"))
    assert accepted_delay(app.conf, asked) == kept
