"""How a worker connects: it tries again soon, so that tasks do not wait when the broker is there again."""

from typing import Any, Self

from celery.app.amqp import AMQP
from kombu import Connection

# Seconds until the next try, how many more until each further one, and at most; kombu's are 2, 2 and 30.
PAUSES = {"interval_start": 1.0, "interval_step": 1.0, "interval_max": 5.0}


class PatientConnection(Connection):
    """A connection whose pauses between two tries are short."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Self:
        """Connect, and try again until it is done or the caller's limit is reached."""
        super().ensure_connection(*args, **{**PAUSES, **kwargs})
        return self


class PatientAMQP(AMQP):
    """Celery's, with such connections."""

    Connection = PatientConnection
