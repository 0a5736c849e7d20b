"""The entry point of Django's commands: `python -m app.web.manage`, or `python manage.py` in a checkout."""

import os
import sys
from collections.abc import Sequence

from django.core.management import execute_from_command_line

from ..settings import ConfigurationError

SETTINGS = "app.web.settings"


def use_settings() -> None:
    """Let Django find its settings, unless somebody named others."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS)  # noqa: TID251 -- Django reads no settings of ours


def main(arguments: Sequence[str]) -> int:
    """Run a command, and return the process's exit code.

    Args:
        arguments: As the process received them.

    """
    use_settings()
    try:
        execute_from_command_line(list(arguments))
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- logging needs the settings that could not be read
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
