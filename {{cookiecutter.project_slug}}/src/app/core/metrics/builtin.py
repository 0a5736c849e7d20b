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
# By its work, not by time: how many statements one request sent.
QUERIES_OF_REQUESTS = define(
    Kind.HISTOGRAM,
    "http_server_request_queries",
    "How many statements requests sent that sent any.",
    ["method", "route"],
    buckets=(1, 2, 5, 10, 20, 50, 100),
)
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
POOL_WAITING = define(Kind.GAUGE, "database_pool_waiting", "Who waits for a connection now.")
POOL_WAITS = define(
    Kind.HISTOGRAM,
    "database_pool_wait_seconds",
    "How long it took until there was a connection that answers.",
    buckets=(*SHORT_DURATIONS, 2.5, 5.0, 10.0),
)
POOL_TIMEOUTS = define(Kind.COUNTER, "database_pool_timeouts_total", "Who waited for a connection in vain.")
ROWS = define(
    Kind.COUNTER, "database_rows_total", "Rows that statements returned or changed, as far as it is known.",
    ["statement"],
)  # fmt: skip
SLOW_QUERIES = define(Kind.COUNTER, "database_slow_queries_total", "Statements that took too long.", ["statement"])
DATABASE_ERRORS = define(Kind.COUNTER, "database_errors_total", "What failed in the database.", ["reason"])
CACHE_OPERATIONS = define(
    Kind.HISTOGRAM,
    "cache_operation_duration_seconds",
    "How long operations of caches took.",
    ["cache", "operation", "outcome"],
    buckets=SHORT_DURATIONS,
)
TASKS = define(Kind.HISTOGRAM, "task_duration_seconds", "How long tasks took.", ["task", "outcome"], buckets=DURATIONS)
ACTIVE_TASKS = define(Kind.GAUGE, "task_active", "Tasks in progress.", ["task"])
TASK_WAITS = define(
    Kind.HISTOGRAM,
    "task_wait_seconds",
    "How long tasks waited from when they were sent, or due, until they began.",
    ["task"],
    buckets=(*DURATIONS, 30.0, 60.0, 300.0, 1800.0),
)
QUERIES_OF_TASKS = define(
    Kind.HISTOGRAM,
    "task_queries",
    "How many statements tasks sent that sent any.",
    ["task"],
    buckets=(1, 2, 5, 10, 20, 50, 100),
)
SENT_TASKS = define(
    Kind.COUNTER, "task_sent_total", "Tasks that were sent to a worker, or could not be.", ["task", "outcome"]
)
DEAD_LETTERS = define(Kind.COUNTER, "task_dead_letters_total", "Tasks that were given up, by why.", ["reason"])
MESSAGES = define(
    Kind.HISTOGRAM,
    "message_duration_seconds",
    "How long the handling of messages took.",
    ["type", "outcome"],
    buckets=DURATIONS,
)
ACTIVE_MESSAGES = define(Kind.GAUGE, "message_active", "Messages in progress.", ["type"])
MESSAGE_WAITS = define(
    Kind.HISTOGRAM,
    "message_wait_seconds",
    "How long messages waited from when they were sent until their first attempt began.",
    ["type"],
    buckets=TASK_WAITS.buckets,
)
QUERIES_OF_MESSAGES = define(
    Kind.HISTOGRAM,
    "message_queries",
    "How many statements messages sent that sent any.",
    ["type"],
    buckets=QUERIES_OF_TASKS.buckets,
)
PUBLISHED_MESSAGES = define(
    Kind.COUNTER, "message_published_total", "Messages that were sent to a broker, or could not be.",
    ["type", "outcome"],
)  # fmt: skip
DEAD_MESSAGES = define(Kind.COUNTER, "message_dead_letters_total", "Messages that were given up, by why.", ["reason"])
# Every daemon sees the same queue.
MESSAGE_BACKLOG = define(
    Kind.GAUGE, "message_backlog", "Messages that wait, those that are put off included.", across="latest"
)
IDEMPOTENCY = define(
    Kind.COUNTER, "idempotency_requests_total", "Requests with a key, by what became of them.", ["outcome"]
)
IDEMPOTENCY_PURGED = define(
    Kind.COUNTER, "idempotency_records_purged_total", "Idempotency records that were over and were deleted."
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
        *(LOG_QUEUED, HEALTH, QUERIES_OF_REQUESTS, POOL_WAITING, POOL_WAITS, POOL_TIMEOUTS, ROWS, SLOW_QUERIES),
        *(DATABASE_ERRORS, IDEMPOTENCY_PURGED, TASK_WAITS, QUERIES_OF_TASKS, SENT_TASKS, DEAD_LETTERS),
        *(MESSAGE_WAITS, QUERIES_OF_MESSAGES, PUBLISHED_MESSAGES, DEAD_MESSAGES, MESSAGE_BACKLOG),
    )
    for name in definition.sample_names
) | {"process_", "python_"}
