"""`python -m app.api`: serve over HTTP until a signal comes."""

import sys

from ..serving.supervisor import supervise
from ..settings import ConfigurationError, load_settings
from .server import run, work


def main() -> int:
    """Serve, and return the process's exit code: 0 after a signal, 1 when the service could not start."""
    try:
        settings = load_settings()
        return run(settings) if settings.http.workers == 1 else supervise(settings, work)
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- logging needs the settings that could not be read
        return 1


if __name__ == "__main__":
    sys.exit(main())
