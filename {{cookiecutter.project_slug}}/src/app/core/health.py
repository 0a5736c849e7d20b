"""Readiness: what is checked, and what the results mean together."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The result of a check, or of all of them."""

    OK = "ok"
    FAILED = "failed"
    SHUTTING_DOWN = "shutting_down"


@dataclass(frozen=True, slots=True)
class Check:
    """One dependency that the service looks at.

    Args:
        name: What is checked.
        probe: Raises when the dependency does not work.
        required: Whether the service can not do its job without it.

    """

    name: str
    probe: Callable[[], Awaitable[None]]
    required: bool = True


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found, and how long it took in seconds."""

    name: str
    status: Status
    duration: float
    required: bool = True

    def document(self) -> dict[str, object]:
        """Return the result as JSON-like data."""
        return {"name": self.name, "status": self.status.value, "duration": round(self.duration, 6)}


@dataclass(frozen=True, slots=True)
class Report:
    """All results, and whether the service may receive work."""

    status: Status
    checks: tuple[CheckResult, ...]

    @property
    def ready(self) -> bool:
        """Whether the service may receive work."""
        return self.status is Status.OK

    def document(self) -> dict[str, object]:
        """Return the report as JSON-like data."""
        return {"status": self.status.value, "checks": [check.document() for check in self.checks]}


def summarise(results: Sequence[CheckResult], *, shutting_down: bool) -> Report:
    """Return what the results mean together.

    Args:
        results: What each check found.
        shutting_down: Whether the service is about to stop; then it takes no new work, however healthy.

    """
    failed = any(result.required and result.status is not Status.OK for result in results)
    status = Status.SHUTTING_DOWN if shutting_down else Status.FAILED if failed else Status.OK
    return Report(status, tuple(results))
