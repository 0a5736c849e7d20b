"""Every store of idempotency records behind one face for one contract test: each module of this folder brings some.

A module has `KINDS`, the names of its stores; `open_kind`, which opens one; and for stores that processes share
`PLACES`, `open_place` and `RIVAL`, the code with which another process opens one.
"""

import json
import pkgutil
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from app.settings import Settings
from app.settings_groups import IdempotencySettings

from ..redis_server import own_redis
from .opened import Opened, Threaded

__all__ = [
    "KINDS",
    "PLACES",
    "SQL_KINDS",
    "Opened",
    "Threaded",
    "broken_answers",
    "open_place",
    "open_store",
    "settings_for",
]
_MODULES = [import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]


def _by_name(attribute: str) -> dict[str, ModuleType]:
    return {name: module for module in _MODULES for name in getattr(module, attribute, ())}


_OF_KIND, _OF_PLACE = _by_name("KINDS"), _by_name("PLACES")
KINDS = tuple(_OF_KIND)
PLACES = tuple(_OF_PLACE)
SQL_KINDS = tuple(kind for kind in KINDS if not kind.startswith(("memory", "redis")))


@asynccontextmanager
async def open_store(kind: str, folder: Path, request: pytest.FixtureRequest | None = None) -> AsyncIterator[Opened]:
    """Open an empty store; skips by name when its server is not reachable.

    Args:
        kind: One of `KINDS`.
        folder: Where a file may be.
        request: The test's, for stores that need a fixture of another library.

    """
    async with _OF_KIND[kind].open_kind(kind, folder, request) as opened:
        yield opened


@contextmanager
def open_place(place: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, str, str]]:
    """Return code that opens a store in another process, its address, and the name of its owner.

    Args:
        place: One of `PLACES`.
        folder: Where a file may be.
        request: The test's.

    """
    module = _OF_PLACE[place]
    with module.open_place(place, folder, request) as (url, service):
        yield module.RIVAL, url, service


def broken_answers() -> dict[str, str]:
    """Return answers that no store may take for one, by what is wrong with them."""
    good = {"v": 2, "status": 201, "headers": [], "text": "{}"}
    return {
        "not JSON": "} not an answer",
        "nothing": "",
        "truncated": json.dumps(good)[:-5],
        "no object": "[1, 2]",
        "wrong schema": json.dumps({"v": 2, "code": 201}),
        "unknown version": json.dumps({**good, "v": 99}),
        "status out of range": json.dumps({**good, "status": 99999}),
        "server error": json.dumps({**good, "status": 500}),
        "headers of another shape": json.dumps({**good, "headers": {"a": "b"}}),
        "not base64": json.dumps({"v": 2, "status": 201, "headers": [], "body": "%%%"}),
    }


@contextmanager
def settings_for(store: str, settings: Settings, **options: Any) -> Iterator[Settings]:
    """Return settings that choose a store; Redis is used under a name that no other test has.

    Args:
        store: Which one, as `IDEMPOTENCY__STORE` names it.
        settings: The rest.
        options: Of the group `IDEMPOTENCY`.

    """
    changes: dict[str, Any] = {"idempotency": IdempotencySettings.model_validate({"store": store, **options})}
    with ExitStack() as stack:
        if store == "redis":
            own = stack.enter_context(own_redis())
            changes |= {"redis_url": own.url, "service_name": own.service}
        yield settings.model_copy(update=changes)
