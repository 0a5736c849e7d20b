"""`python -m app.migrations`: bring the database to the current schema."""

import sys

from ..adapters.database_connection import database_address
from ..command import run_command
from ..core.logging import get_logger
from ..settings import Settings
from . import migrate


def bring_up_to_date(settings: Settings) -> int:
    """Migrate, and return the process's exit code.

    Args:
        settings: Which database.

    """
    url = database_address(settings)
    migrate(url)
    get_logger(__name__).info("database.migrated", backend=url.get_backend_name())
    return 0


def main() -> int:
    """Migrate the database of the settings, and return the process's exit code."""
    return run_command(bring_up_to_date)


if __name__ == "__main__":
    sys.exit(main())
