"""The schema's history, in two independent branches: `core` is the template's, `orders` is yours.

`python -m app.migrations` brings the database to the newest revision of both. After a change to the tables,
on a database that is up to date, this writes the next revision of yours:

    uv run alembic revision --autogenerate --head orders@head --version-path src/app/migrations/orders -m "what changes"
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import URL

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
