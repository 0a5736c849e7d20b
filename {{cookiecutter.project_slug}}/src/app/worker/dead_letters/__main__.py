"""`python -m app.worker.dead_letters`: look at the tasks that were given up, and send them once more or drop them.

    python -m app.worker.dead_letters list [--limit 100]
    python -m app.worker.dead_letters show <id>
    python -m app.worker.dead_letters replay <id>… | --all
    python -m app.worker.dead_letters purge <id>… | --all

It ends with 0; with 1 when an id is not there, the broker does not answer or the settings are wrong; with 2 when the
arguments are.
"""

import sys

from ...settings import ConfigurationError
from ..bootstrap import load_worker_settings


def main(arguments: list[str] | None = None) -> int:
    """Do what the arguments say, and return the process's exit code.

    Args:
        arguments: Instead of those of the process.

    """
    # Not at the top: settings that are wrong should be told before Celery is imported.
    try:
        settings = load_worker_settings()
        from .command import run

        return run(settings, arguments)
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- there is no log
        return 1


if __name__ == "__main__":
    sys.exit(main())
