"""The settings that only a daemon has; `app.settings` has all others."""

from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from ..core.broker_url import read_broker_url
from ..settings import Settings
from ..settings_groups import DatabaseSettings, Group, Seconds


class DaemonGroup(Group):
    """How messages are handled, how often they are tried, and what background tasks may do.

    Attributes:
        queue: Where messages wait.
        consumer_group: Under which name the daemons share a stream of Redis.
        concurrency: How many messages are handled at once.
        ordered: Whether messages of one key are handled in the order they were sent in, one after the other; then one
            daemon at a time takes messages, and another takes over when it ends.
        time_limit: Seconds after which a handler is cancelled.
        max_attempts: How often a message is tried before it goes to the dead letters.
        backoff: Seconds before the second attempt at most; doubled with each further one.
        backoff_max: The longest of these pauses, in seconds.
        max_deliveries: How often a message whose process dies is delivered before it goes to the dead letters.
        visibility_timeout: Seconds after which the messages of a daemon that is gone are another one's; RabbitMQ knows
            at once.
        max_crashes: How often a background task may crash within `crash_window` before `/readyz` fails.
        crash_window: For how many seconds a crash counts.
        restart_backoff: Seconds before a background task that crashed begins again, at most; doubled with each crash.
        restart_backoff_max: The longest of these pauses, in seconds.
        loop_lag_warning: For how many seconds the event loop may be held up before that is a warning.
        outbox_interval: Seconds between two looks into the outbox when it was empty.

    """

    queue: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")] = "orders"
    consumer_group: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")] = "daemons"
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 10
    ordered: bool = False
    time_limit: Seconds = 60.0
    max_attempts: Annotated[int, Field(ge=1, le=1000)] = 5
    backoff: Seconds = 1.0
    backoff_max: Seconds = 300.0
    max_deliveries: Annotated[int, Field(ge=1, le=100)] = 5
    visibility_timeout: Annotated[float, Field(ge=1, le=3600)] = 10.0
    max_crashes: Annotated[int, Field(ge=1, le=1000)] = 5
    crash_window: Seconds = 60.0
    restart_backoff: Seconds = 0.5
    restart_backoff_max: Seconds = 30.0
    loop_lag_warning: Seconds = 0.25
    outbox_interval: Seconds = 0.5


class DaemonDatabase(DatabaseSettings):
    """As for every service, with a connection for each of the messages that are handled at once by default.

    Connections beyond `pool_size` are opened and closed again each time. Who raises DAEMON__CONCURRENCY raises
    DATABASE__POOL_SIZE as well.

    """

    pool_size: Annotated[int, Field(ge=1, le=1000)] = 10


class DaemonSettings(Settings):
    """Everything that may differ between two deployments of this daemon."""

    broker_url: str = "sqlite:///var/queue.db"
    admin_port: Annotated[int, Field(ge=1, le=65535)] = 9000
    daemon: DaemonGroup = DaemonGroup()
    database: DaemonDatabase = DaemonDatabase()

    @field_validator("database", mode="before")
    @classmethod
    def _own_defaults(cls, given: Any) -> Any:
        """Take what is set in any service's group."""
        return given.model_dump(exclude_unset=True) if isinstance(given, DatabaseSettings) else given

    @model_validator(mode="after")
    def _broker_of_messages(self) -> Self:
        if read_broker_url(self.broker_url).kind == "filesystem":
            msg = (
                f"BROKER_URL: received {self.broker_url!r}; allowed for messages: sqlite:///<file>, redis://…, amqp://…"
            )
            raise ValueError(msg)
        return self
