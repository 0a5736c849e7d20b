"""Where tasks and messages wait for a worker or a daemon: files, Redis or RabbitMQ, as one URL says."""

import re
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

ALLOWED = (
    "allowed: filesystem://<folder> for tasks, sqlite:///<file> for messages, "
    "redis://<user>:<password>@<host>:<port>/<number> or rediss:// for TLS, "
    "amqp://<user>:<password>@<host>:<port>/<virtual host> or amqps:// for TLS"
)
KINDS: dict[str, Literal["filesystem", "sqlite", "redis", "amqp"]] = {
    "filesystem": "filesystem",
    "sqlite": "sqlite",
    "redis": "redis",
    "rediss": "redis",
    "amqp": "amqp",
    "amqps": "amqp",
}


class BrokerUrl(NamedTuple):
    """What a broker's URL says.

    Attributes:
        kind: Which broker.
        path: The folder or the file of a broker that needs no server; empty for any other.

    """

    kind: Literal["filesystem", "sqlite", "redis", "amqp"]
    path: str = ""


def read_broker_url(text: str) -> BrokerUrl:
    """Return what a broker's URL says.

    Args:
        text: The URL.

    Raises:
        ValueError: It names no broker that is known; the message says which are.

    """
    scheme, separator, rest = text.partition("://")
    kind = KINDS.get(scheme) if separator else None
    if kind == "filesystem":
        if not rest or "?" in rest or "#" in rest:
            raise ValueError(ALLOWED)
        return BrokerUrl(kind, rest)
    if kind == "sqlite":
        # As in DATABASE_URL: three slashes before a path from here, four before one from the root.
        path = rest.removeprefix("/")
        # One in memory would lose what it holds, and each connection would have another.
        if path == rest or path in ("", ":memory:") or "?" in path or "#" in path:
            raise ValueError(ALLOWED)
        return BrokerUrl(kind, path)
    if kind is None or not _names_a_host(text, kind):
        raise ValueError(ALLOWED)
    return BrokerUrl(kind)


def _names_a_host(text: str, kind: str) -> bool:
    try:
        parts = urlsplit(text)
        has_port = parts.port != 0
    except ValueError:
        return False
    is_number = kind != "redis" or re.fullmatch(r"/?|/\d+", parts.path) is not None
    return bool(parts.hostname) and has_port and is_number
