"""How an operation over HTTP treats `Idempotency-Key`, and what decorates it with that."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

_POLICY = "__idempotency__"
_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Policy:
    """How an operation treats the header."""

    enabled: bool = True
    required: bool = False
    ttl: float | None = None
    lease: float | None = None


_DEFAULT = Policy()


def idempotency(
    *, required: bool = False, enabled: bool = True, ttl: float | None = None, lease: float | None = None
) -> Callable[[_Endpoint], _Endpoint]:
    """Set how an endpoint treats `Idempotency-Key`; place it below the route's decorator.

    Args:
        required: Whether a request without a key is refused.
        enabled: Whether a key has any effect.
        ttl: Seconds for which the answer is kept, instead of the setting's.
        lease: Seconds after which the key of a process that died may be taken over, instead of the setting's.

    Raises:
        ValueError: A duration is not above zero.

    """
    for name, seconds in (("ttl", ttl), ("lease", lease)):
        if seconds is not None and seconds <= 0:
            msg = f"@idempotency: received {name}={seconds!r}; allowed: seconds above zero, or None for the setting's"
            raise ValueError(msg)

    def mark(endpoint: _Endpoint) -> _Endpoint:
        setattr(endpoint, _POLICY, Policy(enabled=enabled, required=required, ttl=ttl, lease=lease))
        return endpoint

    return mark


def policy_of(endpoint: Callable[..., Any]) -> Policy:
    """Return how an endpoint treats the header.

    Args:
        endpoint: The function that was decorated, or was not.

    """
    policy: Policy = getattr(endpoint, _POLICY, _DEFAULT)
    return policy
