"""`python -m app.migrations`: bring the database to the current schema."""

import sys

from ..adapters.logging import configure_logging
from ..core.logging import get_logger
from ..settings import ConfigurationError, load_settings
from . import migrate


def main() -> int:
    """Migrate, and return the process's exit code."""
    try:
        settings = load_settings()
        configure_logging(settings)
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- logging needs the settings that could not be read
        return 1
    migrate(settings.database)
    get_logger(__name__).info("database.migrated", backend=settings.database.get_backend_name())
    return 0


if __name__ == "__main__":
    sys.exit(main())
