"""The series that the service has without anybody asking. Each appears as soon as what feeds it is attached."""

from .definition import DURATIONS, Kind, define

# Seconds; most of what a cache does takes less than the first bucket of DURATIONS.
SHORT_DURATIONS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

INFO = define(
    Kind.GAUGE, "app_info", "Always 1; says who is speaking.", ["service", "version", "environment"], across="max"
)
REQUESTS = define(
    Kind.HISTOGRAM,
    "http_server_request_duration_seconds",
    "How long requests took.",
    ["method", "route", "status_code"],
    buckets=DURATIONS,
)
ACTIVE_REQUESTS = define(Kind.GAUGE, "http_server_active_requests", "Requests in progress.", ["method"])
CALLS = define(
    Kind.HISTOGRAM,
    "http_client_request_duration_seconds",
    "How long other services took to answer; status_code is error when none came.",
    ["method", "server", "status_code"],
    buckets=DURATIONS,
)
QUERIES = define(
    Kind.HISTOGRAM,
    "database_query_duration_seconds",
    "How long statements took.",
    ["statement"],
    buckets=DURATIONS,
)
POOL_CONNECTIONS = define(Kind.GAUGE, "database_pool_connections", "Open connections, by what they do.", ["state"])
POOL_LIMIT = define(Kind.GAUGE, "database_pool_limit", "How many connections may be open.")
CACHE_OPERATIONS = define(
    Kind.HISTOGRAM,
    "cache_operation_duration_seconds",
    "How long operations of caches took.",
    ["cache", "operation", "outcome"],
    buckets=SHORT_DURATIONS,
)
TASKS = define(Kind.HISTOGRAM, "task_duration_seconds", "How long tasks took.", ["task", "outcome"], buckets=DURATIONS)
ACTIVE_TASKS = define(Kind.GAUGE, "task_active", "Tasks in progress.", ["task"])
MESSAGES = define(
    Kind.HISTOGRAM,
    "message_duration_seconds",
    "How long the handling of messages took.",
    ["queue", "type", "outcome"],
    buckets=DURATIONS,
)
ACTIVE_MESSAGES = define(Kind.GAUGE, "message_active", "Messages in progress.", ["queue"])
IDEMPOTENCY = define(
    Kind.COUNTER, "idempotency_requests_total", "Requests with a key, by what became of them.", ["outcome"]
)
ERROR_REPORTS = define(
    Kind.COUNTER, "error_reports_total", "Reports of errors, by destination and what became of them.",
    ["reporter", "outcome"],
)  # fmt: skip
LOG_RECORDS = define(Kind.COUNTER, "log_records_total", "Log lines written.", ["level"])
LOG_DROPPED = define(
    Kind.COUNTER, "log_lines_dropped_total", "Log lines that were lost, because the sink's queue was full.", ["sink"]
)
LOG_FAILED = define(
    Kind.COUNTER, "log_write_failures_total", "Writes to a sink of the log that failed, and were tried again.", ["sink"]
)
LOG_QUEUED = define(Kind.GAUGE, "log_queue_bytes", "How much waits to be written to a sink of the log.", ["sink"])
HEALTH = define(
    Kind.GAUGE,
    "health_check_status",
    "Whether a readiness check passed when it last ran: 1 or 0.",
    ["check"],
    across="latest",
)

RESERVED = frozenset(
    name
    for definition in (
        *(INFO, REQUESTS, ACTIVE_REQUESTS, CALLS, QUERIES, POOL_CONNECTIONS, POOL_LIMIT, CACHE_OPERATIONS, TASKS),
        *(ACTIVE_TASKS, MESSAGES, ACTIVE_MESSAGES, IDEMPOTENCY, ERROR_REPORTS, LOG_RECORDS, LOG_DROPPED, LOG_FAILED),
        *(LOG_QUEUED, HEALTH),
    )
    for name in definition.sample_names
) | {"process_", "python_"}
