"""Where a daemon receives its messages from: one module for each broker, all under one contract."""

from ...core.broker_url import read_broker_url
from ...core.message_source import MessageSource
from ..configuration import DaemonSettings


def message_source(settings: DaemonSettings) -> MessageSource:
    """Return the source of the broker that `BROKER_URL` names; it connects when it is opened.

    Args:
        settings: The daemon's.

    """
    kind = read_broker_url(settings.broker_url).kind
    if kind == "sqlite":
        from .sqlite import SqliteSource

        return SqliteSource(settings)
    if kind == "redis":
        from .redis import RedisSource

        return RedisSource(settings)
    from .rabbitmq import RabbitSource

    return RabbitSource(settings)
