"""Error reports: what callers use, and the pure steps to a report. Where reports go is the adapters' concern."""

from .cap import ReportCap
from .handling import Target, handle_exception, install, installed, report_error
from .report import ErrorContext, ErrorReport, build_report, fingerprint_of, is_expected, is_own, mark, report_id_of

__all__ = [
    "ErrorContext",
    "ErrorReport",
    "ReportCap",
    "Target",
    "build_report",
    "fingerprint_of",
    "handle_exception",
    "install",
    "installed",
    "is_expected",
    "is_own",
    "mark",
    "report_error",
    "report_id_of",
]
