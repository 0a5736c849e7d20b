"""The running service deletes idempotency records that are over."""

import asyncio

from fastapi import FastAPI

from app.adapters.idempotency import SqlIdempotencyStore
from app.api.application import create_app
from app.bootstrap import Services, bootstrap
from app.settings import Settings
from app.settings_groups import IdempotencySettings

PATIENCE = 30


class Told(SqlIdempotencyStore):
    """A store that tells when it is cleaned up."""

    async def purge(self, *, limit: int) -> int:
        """Tell, and have deleted something."""
        vars(self).setdefault("asked", asyncio.Event()).set()
        return 2


def with_interval(settings: Settings, seconds: float) -> Services:
    """Return a service whose store tells when it is cleaned up."""
    own = settings.model_copy(update={"idempotency": IdempotencySettings(purge_interval=seconds)})
    plain = bootstrap(own)
    return bootstrap(own, database=plain.database, idempotency_store=Told(plain.database))


async def test_running_service_cleans_up(settings: Settings) -> None:
    """The service cleans up while it runs, counts it, and stops before it closes the database."""
    services = with_interval(settings, 0.01)
    asked = vars(services.idempotency_store).setdefault("asked", asyncio.Event())
    app: FastAPI = create_app(services.settings, services=services)
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(asked.wait(), PATIENCE)
        tasks = [task for task in asyncio.all_tasks() if "purge_regularly" in repr(task)]
        assert len(tasks) == 1
        assert b"\nidempotency_records_purged_total " in services.metrics.render()
    assert [task.done() for task in tasks] == [True]


async def test_switched_off(settings: Settings) -> None:
    """With an interval of 0 nothing is cleaned up."""
    services = with_interval(settings, 0)
    app: FastAPI = create_app(services.settings, services=services)
    async with app.router.lifespan_context(app):
        assert [task for task in asyncio.all_tasks() if "purge_regularly" in repr(task)] == []
