"""What a relay of the outbox may send."""

import pytest

from app.core.outbox import Row, next_size, sendable


@pytest.mark.parametrize(
    ("seen", "sent"),
    [
        ([], []),
        ([(1, "a", True), (2, "b", True), (3, "a", True)], [1, 2, 3]),
        ([(1, "a", True), (2, "a", False), (3, "a", True), (4, "b", True)], [1, 4]),
        ([(1, "a", False), (2, "a", True)], []),
        ([(1, None, False), (2, None, True), (3, None, True)], [2, 3]),
    ],
)
def test_sendable(seen: list[tuple[int, str | None, bool]], sent: list[int]) -> None:
    """Of each key all is sent up to the first row that another one has; without a key, whatever nobody else has."""
    rows = [Row(place, key, "", "body" if own else None) for place, key, own in seen]
    assert [row.id for row in sendable(rows)] == sent


@pytest.mark.parametrize(
    ("size", "share", "then"),
    [(100, None, 50), (3, None, 1), (1, None, 1), (1, 0.01, 2), (60, 0.25, 100), (100, 0.0, 100), (8, 0.3, 8)],
)
def test_size(size: int, share: float | None, then: int) -> None:
    """Fewer are sent together after a failure, down to one; more, up to the limit, when that leaves time enough."""
    assert next_size(size, limit=100, share=share) == then
