"""What a sender and a worker agree on: which broker, which queue, and how messages lie there."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.broker_url import read_broker_url
from ..settings import ConfigurationError

# The suffix of the queue for what was given up.
DEAD = ".dead"
# What TLS is to be, by scheme: kombu would not look at certificates, or at whose they are, and with a transport of our
# own it would not even use TLS.
TLS: dict[str, dict[str, Any]] = {
    "rediss": {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True},
    # The host of the URL.
    "amqps": {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None},
}
# Seconds after which a Redis that says nothing is taken for gone; kombu would wait for ever.
SILENCE = {"socket_timeout": 10.0, "socket_connect_timeout": 5.0, "health_check_interval": 10}
# RabbitMQ itself holds back what is sent for later. It counts whole seconds; Celery refuses to send it less than one.
LEAST_DELAY = 1.0


def accepted_delay(configuration: Mapping[str, Any], seconds: float) -> float:
    """Return the least delay of a message that the broker can keep.

    Args:
        configuration: Celery's settings, as `broker_configuration` made them.
        seconds: What it shall be at least.

    """
    is_rabbitmq = configuration["task_default_queue_type"] == "quorum"
    return max(seconds, LEAST_DELAY) if is_rabbitmq and seconds > 0 else seconds


def broker_configuration(url: str, queue: str) -> dict[str, Any]:
    """Return Celery's settings for whoever speaks to the broker.

    Args:
        url: Where the broker is.
        queue: Where tasks wait.

    Raises:
        ConfigurationError: A broker of files has no folder to write to, or the broker is one of messages.

    """
    broker = read_broker_url(url)
    if broker.kind == "sqlite":
        msg = (
            f"BROKER_URL: received {url!r}, which holds messages for an asyncio daemon; allowed for tasks: "
            "filesystem://<folder>, redis://…, amqp://…; without a server: BROKER_URL=filesystem://var/broker"
        )
        raise ConfigurationError(msg)
    configuration: dict[str, Any] = {
        "broker_url": url,
        "task_default_queue": queue,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": dict(SILENCE) if broker.kind == "redis" else {},
    }
    tls = TLS.get(url.partition("://")[0])
    if tls is not None:
        configuration["broker_use_ssl"] = dict(tls)
    if broker.kind == "filesystem":
        configuration["broker_url"] = "filesystem://localhost"
        configuration["broker_transport"] = "app.adapters.file_broker:Transport"
        configuration["broker_transport_options"] = _folders(Path(broker.path))
    if broker.kind == "amqp":
        configuration["task_default_queue_type"] = "quorum"
        # Through a direct one the broker cannot delay what is sent for later: a worker would hold it until then.
        configuration["task_default_exchange_type"] = "topic"
        configuration["broker_transport_options"] = {"confirm_publish": True}
    return configuration


def _folders(folder: Path) -> dict[str, Any]:
    folder = folder.absolute()
    messages, control = folder / "messages", folder / "control"
    for needed in (messages, control):
        try:
            needed.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            msg = f"BROKER_URL: received {str(folder)!r} ({reason}); allowed: a folder to write to"
            raise ConfigurationError(msg) from error
    return {"data_folder_in": str(messages), "data_folder_out": str(messages), "control_folder": str(control)}
