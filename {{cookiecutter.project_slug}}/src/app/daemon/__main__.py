"""`python -m app.daemon`: work until a signal comes; with `publish '<json>'`, send one message instead."""

import sys

from ..adapters.logging import configure_logging
from ..settings import ConfigurationError, load_settings_of
from .configuration import DaemonSettings

USAGE = "usage: python -m app.daemon [publish '<json>']"
PUBLISH = "publish"


def main(arguments: list[str] | None = None) -> int:
    """Work, or send, and return the process's exit code: 0 when done, 1 when it could not, 2 for a wrong argument.

    Args:
        arguments: What stands behind `-m app.daemon`.

    """
    given = sys.argv[1:] if arguments is None else arguments
    if given and (given[0] != PUBLISH or len(given) != 2):
        print(f"{USAGE}\nreceived: {' '.join(given)}", file=sys.stderr)  # noqa: T201 -- there is no log yet
        return 2
    # Not at the top: settings that are wrong should be told before a client of a broker is imported.
    try:
        settings = load_settings_of(DaemonSettings)
        return _publish(settings, given[1]) if given else _run(settings)
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- logging needs the settings that could not be read
        return 1


def _run(settings: DaemonSettings) -> int:
    from .server import run

    return run(settings)


def _publish(settings: DaemonSettings, text: str) -> int:
    from .publish import publish

    configure_logging(settings)
    return publish(settings, text)


if __name__ == "__main__":
    sys.exit(main())
