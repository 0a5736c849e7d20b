"""What is said of statements that are too slow or too many: one line per statement and minute, however many there are.

The lines show a statement with its placeholders: neither its parameters nor the values that a person wrote into it.
"""

import math
import time

from .logging import get_logger
from .queries import QueryCount
from .reporting.cap import ReportCap
from .statements import without_values

SECONDS_BETWEEN = 60.0
log = get_logger("app.database")


class SlowQueries:
    """Warns of statements that take too long.

    Args:
        seconds: From how many seconds on that is; 0 warns of none.

    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds or math.inf
        self._cap = ReportCap(1, SECONDS_BETWEEN)

    def warn(self, statement: str, kind: str, seconds: float, **known: object) -> None:
        """Log a slow statement, unless a line about it is less than a minute old; what was held back is counted on it.

        Args:
            statement: Its text.
            kind: What it does.
            seconds: How long it took.
            known: What else is known of it, such as its table; what is None or empty is left out.

        """
        shown = without_values(statement)
        suppressed = self._cap.admit(shown, time.monotonic())
        if suppressed is not None:
            fields = {name: value for name, value in known.items() if value not in (None, "")}
            log.warning(
                "database.slow_query",
                statement=shown,
                kind=kind,
                duration_ms=round(seconds * 1000, 3),
                suppressed=suppressed,
                **fields,
            )


class ManyQueries:
    """Warns of work that sends more statements than it should: most often one per row (N+1).

    Args:
        limit: How many may be; 0 sets no limit.

    """

    def __init__(self, limit: int) -> None:
        self.limit = limit or math.inf
        self._cap = ReportCap(1, SECONDS_BETWEEN)

    def warn(self, operation: str, queries: QueryCount) -> None:
        """Log what sent too many, unless a line about it is less than a minute old.

        Args:
            operation: What it is, of few: a route's template, a task's name.
            queries: What it sent.

        """
        suppressed = self._cap.admit(operation, time.monotonic())
        if suppressed is not None:
            statement, times = queries.most_often()
            log.warning(
                "database.many_queries",
                operation=operation,
                queries=queries.count,
                query_ms=round(queries.seconds * 1000, 3),
                statement=statement,
                times=times,
                suppressed=suppressed,
            )
