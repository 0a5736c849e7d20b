"""`python -m app.web`: serve over HTTP until a signal comes."""

import sys

from ..settings import ConfigurationError
from .server import serve


def main() -> int:
    """Serve, and return the process's exit code: 0 after a signal, 1 when the service could not start."""
    try:
        return serve()
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- logging needs the settings that could not be read
        return 1


if __name__ == "__main__":
    sys.exit(main())
