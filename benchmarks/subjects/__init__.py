"""What is measured: one module each, whose `measure` returns rows; one function per measure of the table."""

from collections.abc import Callable
from importlib import import_module

from ..effort import Effort
from ..report import Row

NAMES = (
    "in_process",
    "over_http",
    "django",
    "celery",
    "daemon",
    "idempotency",
    "log_calls",
    "slow_sink",
    "paused_collector",
    "blocked_sink",
    "lost_events",
    "shared_pipe",
    "generation",
)
Measure = Callable[[Effort], list[Row]]


def summary(name: str) -> str:
    """Return what a subject is about, in one line.

    Args:
        name: One of `NAMES`.
    """
    return (import_module(f"{__name__}.{name}").__doc__ or "").partition("\n")[0]


def measure(name: str, effort: Effort) -> list[Row]:
    """Measure a subject.

    Args:
        name: One of `NAMES`.
        effort: How much of it.
    """
    rows: list[Row] = import_module(f"{__name__}.{name}").measure(effort)
    return rows
