"""Who a request is from, when proxies stand in between: only the word of those that are trusted counts.

Each proxy appends the address that it was called from to `X-Forwarded-For`, so the list is read from its end: the first
address that is no trusted proxy's is the caller's, and whatever stands before it the caller may have made up. Uvicorn
reads it in the same way, so an address that it has set already stays.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

ANYBODY = "*"
# No name of a host is longer; what is longer is nobody's address, and no key of a cache.
_MAX_HOST = 253


class TrustedProxies:
    """The proxies whose word counts.

    Args:
        names: Addresses and networks, such as `10.0.0.0/8`, or `*` for anybody.

    """

    def __init__(self, names: Iterable[str]) -> None:
        listed = frozenset(names)
        self._anybody = ANYBODY in listed
        self._networks = [network for name in listed if (network := _network(name)) is not None]
        # What is no address, such as the name of a socket, is compared as it is.
        self._literals = listed
        self._trusts = lru_cache(maxsize=4096)(self._compare)

    def trusts(self, host: str) -> bool:
        """Return whether a host is one of them.

        Args:
            host: Its address.

        """
        return self._anybody or (0 < len(host) <= _MAX_HOST and self._trusts(host))

    def _compare(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return host in self._literals
        return any(address in network for network in self._networks)

    def client_of(self, peer: str, forwarded: str | None) -> str:
        """Return the address of the caller.

        Args:
            peer: Who the connection is from.
            forwarded: The values of all `X-Forwarded-For` headers, joined by commas.

        """
        if not forwarded or not self.trusts(peer):
            return peer
        hosts = [_without_port(part.strip()) for part in forwarded.split(",")]
        if not self._anybody:
            for host in reversed(hosts):
                if not self.trusts(host):
                    return host or peer
        # All are trusted: the first of them is where it began.
        return hosts[0] or peer


def _network(name: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(name)
    except ValueError:
        return None


def _without_port(text: str) -> str:
    """Return the host of `host:port` or `[host]:port`; what is written otherwise is nobody's address, and stays."""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        return host if bracket and (not port or port.startswith(":")) else text
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host if port.isdigit() else text
    return text
