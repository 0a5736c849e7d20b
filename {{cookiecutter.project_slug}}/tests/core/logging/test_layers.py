"""Which layers take an event."""

import pytest

from app.core.logging.layers import Layer, sinks_of

ERRORS = Layer("errors", "errors.log", level=40)
API = Layer("api", "api.log", loggers=("app.access", "uvicorn"))
AUDIT = Layer("audit", "audit.log", propagate=False)
LOUD_ORDERS = Layer("loud_orders", "errors.log", loggers=("app.orders",), level=30)
LAYERS = (ERRORS, API, AUDIT, LOUD_ORDERS)


@pytest.mark.parametrize(
    ("logger", "number", "named", "sinks"),
    [
        ("app.orders", 20, None, ("stdout",)),
        ("app.orders", 40, None, ("stdout", "errors.log")),
        ("app.orders.service", 30, None, ("stdout", "errors.log")),
        ("app.access", 20, None, ("stdout", "api.log")),
        ("uvicorn.error", 50, None, ("stdout", "errors.log", "api.log")),
        ("app.accessory", 20, None, ("stdout",)),
        ("app.orders", 20, "audit", ("audit.log",)),
        ("app.orders", 40, "audit", ("errors.log", "audit.log")),
        ("app.orders", 10, "api", ("stdout", "api.log")),
        ("app.orders", 20, "unknown", ("stdout",)),
    ],
)
def test_sinks(logger: str, number: int, named: str | None, sinks: tuple[str, ...]) -> None:
    """A layer takes events by name, or by logger and level; a sink gets a line once; `propagate` keeps it to itself."""
    assert sinks_of(LAYERS, logger, number, named) == sinks


def test_no_layers() -> None:
    """Without layers everything goes to standard output."""
    assert sinks_of((), "app", 50, "audit") == ("stdout",)


def test_layer_without_conditions() -> None:
    """A layer that names neither loggers nor a level takes only events that name it."""
    assert [AUDIT.takes("app", 50), AUDIT.takes("app", 10, "audit")] == [False, True]
