"""The settings that only a worker has; `app.settings` has all others."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ..core.broker_url import read_broker_url
from ..settings import ON_WINDOWS, Settings
from ..settings_groups import Group, IdempotencySettings, Seconds


class WorkerGroup(Group):
    """How tasks are run, and how often they are tried.

    Attributes:
        pool: Processes that are forked or spawned, threads, or the worker's own process, one task after the other.
        concurrency: How many tasks run at once; None: as many as there are processors.
        max_tasks_per_child: After how many tasks a process makes room for a new one; None: never.
        queue: Where tasks wait.
        time_limit: Seconds after which a task is killed with its process.
        soft_time_limit: Seconds after which a task is told so by an exception.
        max_attempts: How often a task is tried before it goes to the dead letters.
        backoff: Seconds before the second attempt; doubled with each further one.
        backoff_max: The longest of these pauses, in seconds.
        max_deliveries: How often a task whose process dies is delivered before it goes to the dead letters.
        visibility_timeout: Seconds after which Redis gives the tasks of a worker that is gone to another one.
        beat: Whether this worker also sends what is due by the schedule; None: on the embedded broker alone.
        result_backend: Where Celery keeps results for callers that wait for them, as a URL; None: nowhere.

    """

    pool: Literal["fork", "spawn", "threads", "solo"] = "threads" if ON_WINDOWS else "fork"
    concurrency: Annotated[int, Field(ge=1, le=1024)] | None = None
    max_tasks_per_child: Annotated[int, Field(ge=1)] | None = None
    queue: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")] = "tasks"
    time_limit: Seconds = 300.0
    soft_time_limit: Seconds = 270.0
    max_attempts: Annotated[int, Field(ge=1, le=1000)] = 5
    backoff: Seconds = 1.0
    backoff_max: Seconds = 300.0
    # RabbitMQ, from its release 4 on, drops by itself what was delivered more than 20 times.
    max_deliveries: Annotated[int, Field(ge=1, le=19)] = 5
    visibility_timeout: Annotated[float, Field(ge=2, le=3600)] = 10.0
    beat: bool | None = None
    result_backend: str | None = None


class WorkerIdempotencySettings(IdempotencySettings):
    """Where idempotency records are kept, for how long, and what happens without them.

    Attributes:
        lease: Seconds after which the key of a process that died may be taken over. Shorter than for requests: a task
            that was delivered again waits for that, while one that runs for longer renews it.

    """

    lease: Seconds = 10.0


class WorkerSettings(Settings):
    """Everything that may differ between two deployments of this worker."""

    broker_url: str = "filesystem://var/broker"
    admin_port: Annotated[int, Field(ge=1, le=65535)] = 9000
    worker: WorkerGroup = WorkerGroup()
    idempotency: WorkerIdempotencySettings = WorkerIdempotencySettings()

    @model_validator(mode="after")
    def _broker_of_tasks(self) -> Self:
        if read_broker_url(self.broker_url).kind == "sqlite":
            msg = (
                f"BROKER_URL: received {self.broker_url!r}, which holds messages for an asyncio daemon; allowed for "
                "tasks: filesystem://<folder>, redis://…, amqp://…; without a server: BROKER_URL=filesystem://var/broker"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _pool_of_this_system(self) -> Self:
        if ON_WINDOWS and self.worker.pool in ("fork", "spawn"):
            msg = f"WORKER__POOL: received {self.worker.pool!r}; allowed on Windows: threads, solo"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _told_before_it_is_killed(self) -> Self:
        if self.worker.soft_time_limit >= self.worker.time_limit:
            msg = (
                f"WORKER__SOFT_TIME_LIMIT: received {self.worker.soft_time_limit:g}; allowed: less than "
                f"WORKER__TIME_LIMIT, which is {self.worker.time_limit:g}"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _memory_of_one_process(self) -> Self:
        if self.idempotency.store == "memory" and self.worker.pool in ("fork", "spawn"):
            msg = (
                f"IDEMPOTENCY__STORE: received 'memory'; allowed with WORKER__POOL={self.worker.pool}: sql, redis, "
                "since each process has a memory of its own"
            )
            raise ValueError(msg)
        return self
