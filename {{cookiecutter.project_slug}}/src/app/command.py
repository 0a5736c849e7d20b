"""What every command of the service does before its own work: read the settings, and log as the service does."""

import sys
from collections.abc import Callable

from .adapters.logging import configure_logging
from .settings import ConfigurationError, Settings, load_settings


def run_command(act: Callable[[Settings], int]) -> int:
    """Run a command, and return the process's exit code: 1 when the settings are wrong, otherwise what it returns.

    Args:
        act: The command; it gets the settings, and finds logging configured.

    """
    try:
        settings = load_settings()
        configure_logging(settings)
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- logging needs the settings that could not be read
        return 1
    return act(settings)
