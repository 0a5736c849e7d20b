"""`python -m app.worker`: work on tasks until a signal comes; with `beat`, send what is due by the schedule instead."""

import sys

from ..settings import ConfigurationError
from .bootstrap import load_worker_settings

USAGE = "usage: python -m app.worker [beat]"


def main(arguments: list[str] | None = None) -> int:
    """Work, and return the process's exit code: 0 after a signal, 1 when it could not start, 2 for a wrong argument.

    Args:
        arguments: What stands behind `-m app.worker`.

    """
    given = sys.argv[1:] if arguments is None else arguments
    if given not in ([], ["beat"]):
        print(f"{USAGE}\nreceived: {' '.join(given)}", file=sys.stderr)  # noqa: T201 -- there is no log yet
        return 2
    # Not at the top: settings that are wrong should be told before Celery is imported.
    try:
        settings = load_worker_settings()
        from .server import run, run_beat

        return run_beat(settings) if given else run(settings)
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- logging needs the settings that could not be read
        return 1


if __name__ == "__main__":
    sys.exit(main())
