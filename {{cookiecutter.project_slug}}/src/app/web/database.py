"""The database as Django's settings want it: what is open how long, and what may take how long."""

import os
import tempfile
from pathlib import Path
from typing import Any

from ..core.database_limits import libpq_arguments, sqlite_timeout
from ..core.database_url import DatabaseUrl, read_database_url
from .configuration import DjangoSettings


def databases(settings: DjangoSettings) -> dict[str, dict[str, Any]]:
    """Return Django's `DATABASES`.

    Args:
        settings: Which database, its pool and its time limits.

    """
    url = read_database_url(settings.database_url)
    return {"default": _sqlite(url, settings) if url.backend == "sqlite" else _postgresql(url, settings)}


def _sqlite(url: DatabaseUrl, settings: DjangoSettings) -> dict[str, Any]:
    file = Path(url.name).absolute()
    return {
        "ENGINE": "app.web.sqlite",
        # The process may change its folder.
        "NAME": str(file),
        # A thread of gthread serves many requests; one of an ASGI server ends with its request.
        "CONN_MAX_AGE": None if settings.web.server == "gthread" else 0,
        "OPTIONS": {"timeout": sqlite_timeout(settings.database), "transaction_mode": "IMMEDIATE"},
        # Not in memory, as Django has it: threads would have a lock per table there, and no WAL.
        "TEST": {"NAME": str(Path(tempfile.gettempdir(), f"{file.stem}-test-{os.getpid()}.db"))},
    }


def _postgresql(url: DatabaseUrl, settings: DjangoSettings) -> dict[str, Any]:
    limits = settings.database
    said = dict(url.options)
    options = [value for name, value in url.options if name == "options"]
    return {
        "ENGINE": "app.web.postgresql",
        "NAME": url.name,
        "USER": url.user or "",
        "PASSWORD": url.password or "",
        "HOST": url.host or "",
        "PORT": str(url.port or ""),
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            **said,
            **libpq_arguments(limits, said=said, options=options),
            "pool": {
                "min_size": limits.pool_size,
                "max_size": limits.pool_size + limits.pool_overflow,
                "timeout": limits.pool_timeout,
                "check_timeout": limits.connect_timeout,
            },
        },
    }
