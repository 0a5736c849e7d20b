"""The schema's history, in two independent branches: `core` is the template's, `orders` is yours.

`python -m app.migrations` brings the database to the newest revision of both. After a change to the tables,
on a database that is up to date, this writes the next revision of yours:

    uv run alembic revision --autogenerate --head orders@head --version-path src/app/migrations/orders -m "what changes"
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from ..adapters.database_connection import database_address
from ..settings import ConfigurationError, Settings

HERE = Path(__file__).parent
BRANCHES = ("core", "orders")


def alembic_config(url: URL) -> Config:
    """Return Alembic's configuration.

    Args:
        url: The database to migrate.

    """
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    locations = "\n".join(str(HERE / branch).replace("%", "%%") for branch in BRANCHES)
    config.set_main_option("version_locations", locations)
    config.attributes["url"] = url
    return config


def migrate(url: URL) -> None:
    """Bring a database to the newest revision of every branch.

    Args:
        url: The database.

    """
    command.upgrade(alembic_config(url), "heads")


def migrate_embedded(settings: Settings) -> None:
    """Bring a database that is a file to the current schema; for a server's that is a step of the deployment.

    Args:
        settings: Which database.

    Raises:
        ConfigurationError: The file cannot be opened or written.

    """
    url = database_address(settings)
    if url.get_backend_name() != "sqlite":
        return
    try:
        migrate(url)
    except OperationalError as error:
        msg = f"DATABASE_URL: received {settings.database_url!r} ({error.orig}); allowed: a file that can be written"
        raise ConfigurationError(msg) from error
