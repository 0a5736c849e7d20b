"""How an operation treats a key is said where it is written."""

import pytest

from app.core.idempotency_policy import Policy, idempotency, policy_of


def test_default() -> None:
    """An operation that says nothing accepts a key and requires none."""
    assert policy_of(test_default) == Policy(enabled=True, required=False, ttl=None, lease=None)


def test_decorated() -> None:
    """What was said is known of the same function."""

    def act() -> None: ...

    assert idempotency(required=True, ttl=70, lease=7)(act) is act
    assert policy_of(act) == Policy(required=True, ttl=70, lease=7)


@pytest.mark.parametrize("options", [{"ttl": 0}, {"lease": -1.0}])
def test_times_that_are_refused(options: dict[str, float]) -> None:
    """A duration must be above zero."""
    with pytest.raises(ValueError, match=r"received (ttl=0|lease=-1.0); allowed: seconds above zero"):
        idempotency(**options)  # type: ignore[arg-type]
