"""Logging as the process does it: every event and every record, redacted, to its sinks, off the caller's path."""

from .configuration import LogHealth, close_logging, configure_logging, flush_logging, log_health

__all__ = ["LogHealth", "close_logging", "configure_logging", "flush_logging", "log_health"]
