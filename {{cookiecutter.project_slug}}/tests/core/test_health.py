"""What the results of the checks mean together."""

import pytest

from app.core.health import CheckResult, Status, summarise

OK = CheckResult("database", Status.OK, 0.0123456789)
FAILED = CheckResult("broker", Status.FAILED, 2.0)
OPTIONAL = CheckResult("cache", Status.FAILED, 2.0, required=False)


@pytest.mark.parametrize(
    ("results", "shutting_down", "status"),
    [
        ([], False, "ok"),
        ([OK], False, "ok"),
        ([OK, OPTIONAL], False, "degraded"),
        ([OK, FAILED], False, "failed"),
        ([FAILED, OPTIONAL], False, "failed"),
        ([OK], True, "shutting_down"),
        ([FAILED, OPTIONAL], True, "shutting_down"),
    ],
)
def test_summary(results: list[CheckResult], shutting_down: bool, status: str) -> None:
    """The service is ready while it stays up and every required check passes, if need be without the others."""
    report = summarise(results, shutting_down=shutting_down)
    assert report.status == status
    assert report.ready is (status in ("ok", "degraded"))


def test_document() -> None:
    """A report says per check its name, status, duration in seconds and whether the service needs it."""
    assert summarise([OK, OPTIONAL], shutting_down=False).document() == {
        "status": "degraded",
        "checks": [
            {"name": "database", "status": "ok", "duration": 0.012346, "required": True},
            {"name": "cache", "status": "failed", "duration": 2.0, "required": False},
        ],
    }
