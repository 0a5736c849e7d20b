"""Readiness: what is checked, and what the results mean together."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The result of a check, or of all of them: `degraded` works without something that it can do without."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"
    SHUTTING_DOWN = "shutting_down"


@dataclass(frozen=True, slots=True)
class Check:
    """One dependency that the service looks at.

    Args:
        name: What is checked.
        probe: Raises when the dependency does not work.
        required: Whether the service can not do its job without it.
        timeout: Seconds after which it counts as failed; those of the settings when left out.

    """

    name: str
    probe: Callable[[], Awaitable[None]]
    required: bool = True
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class SyncCheck:
    """The same for code that runs no event loop.

    Args:
        name: What is checked.
        probe: Raises when the dependency does not work.
        required: Whether the service can not do its job without it.
        timeout: Seconds after which it counts as failed; those of the settings when left out.

    """

    name: str
    probe: Callable[[], None]
    required: bool = True
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found, and how long it took in seconds."""

    name: str
    status: Status
    duration: float
    required: bool = True

    def document(self) -> dict[str, object]:
        """Return the result as JSON-like data."""
        duration = round(self.duration, 6)
        return {"name": self.name, "status": self.status.value, "duration": duration, "required": self.required}


@dataclass(frozen=True, slots=True)
class Report:
    """All results, and whether the service may receive work."""

    status: Status
    checks: tuple[CheckResult, ...]

    @property
    def ready(self) -> bool:
        """Whether the service may receive work."""
        return self.status in (Status.OK, Status.DEGRADED)

    def document(self) -> dict[str, object]:
        """Return the report as JSON-like data."""
        return {"status": self.status.value, "checks": [check.document() for check in self.checks]}


def summarise(results: Sequence[CheckResult], *, shutting_down: bool) -> Report:
    """Return what the results mean together.

    Args:
        results: What each check found.
        shutting_down: Whether the service is about to stop; then it takes no new work, however healthy.

    """
    if shutting_down:
        return Report(Status.SHUTTING_DOWN, tuple(results))
    failed = [result for result in results if result.status is not Status.OK]
    if any(result.required for result in failed):
        return Report(Status.FAILED, tuple(results))
    return Report(Status.DEGRADED if failed else Status.OK, tuple(results))
