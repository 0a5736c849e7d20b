"""Logging: what callers use, and the pure steps from an event to a line. Where lines go is the adapters' concern."""

from .chain import (
    Event,
    LevelFilter,
    Processor,
    add_context,
    add_exception,
    add_level,
    add_service,
    add_timestamp,
    count,
    level_name,
    record_fields,
    redact_event,
    redacted_record,
)
from .enrichers import register_enricher, remove_enricher
from .exceptions import REPORTED, describe_exception, is_reported, mark_reported
from .line import NO_FIELDS, Bound, Heads, LineRenderer
from .logger import Engine, Logger, get_logger, install
from .rendering import Renderer, renderer, to_json
from .timing import log_execution_time

__all__ = [
    "NO_FIELDS",
    "REPORTED",
    "Bound",
    "Engine",
    "Event",
    "Heads",
    "LevelFilter",
    "LineRenderer",
    "Logger",
    "Processor",
    "Renderer",
    "add_context",
    "add_exception",
    "add_level",
    "add_service",
    "add_timestamp",
    "count",
    "describe_exception",
    "get_logger",
    "install",
    "is_reported",
    "level_name",
    "log_execution_time",
    "mark_reported",
    "record_fields",
    "redact_event",
    "redacted_record",
    "register_enricher",
    "remove_enricher",
    "renderer",
    "to_json",
]
