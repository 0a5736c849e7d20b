"""What the address of a broker may be, and what it says."""

import pytest

from app.core.broker_url import ALLOWED, BrokerUrl, read_broker_url


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("filesystem://var/broker", BrokerUrl("filesystem", "var/broker")),
        ("filesystem:///srv/broker", BrokerUrl("filesystem", "/srv/broker")),
        ("sqlite:///var/queue.db", BrokerUrl("sqlite", "var/queue.db")),
        ("sqlite:////srv/queue.db", BrokerUrl("sqlite", "/srv/queue.db")),
        ("redis://127.0.0.1:6379/0", BrokerUrl("redis")),
        ("redis://localhost", BrokerUrl("redis")),
        ("rediss://me:p%40@redis.example.com:6380/12", BrokerUrl("redis")),
        ("amqp://guest:guest@[::1]:5672//", BrokerUrl("amqp")),
        ("amqps://broker.example.com/orders", BrokerUrl("amqp")),
    ],
)
def test_parts(text: str, found: BrokerUrl) -> None:
    """Each scheme names its kind, and files where they are."""
    assert read_broker_url(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "redis",
        "redis:127.0.0.1",
        "filesystem://",
        "filesystem://var/broker?x=1",
        "filesystem://var#x",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite://var/queue.db",
        "sqlite:///:memory:",
        "sqlite:///queue.db?mode=ro",
        "sqlite:///queue.db#x",
        "redis:///0",
        "redis://host/name",
        "redis://host:0/0",
        "redis://host:port/0",
        "amqp://",
        "amqp://host:99999/",
        "sqs://host",
        "REDIS://host",
    ],
)
def test_refused(text: str) -> None:
    """Anything else is refused, by a message that says what is allowed and not what was received: it may be secret."""
    with pytest.raises(ValueError, match="allowed") as caught:
        read_broker_url(text)
    assert str(caught.value) == ALLOWED
