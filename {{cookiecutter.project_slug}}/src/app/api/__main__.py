"""`python -m app.api`: serve over HTTP until a signal comes."""

import sys

from ..adapters.logging import configure_logging
from ..bootstrap import bootstrap
from ..settings import ConfigurationError, load_settings
from .application import create_app
from .server import serve


def main() -> int:
    """Serve, and return the process's exit code: 0 after a signal, 1 when the service could not start."""
    try:
        settings = load_settings()
        services = bootstrap(settings)
        app = create_app(settings, services=services)
        configure_logging(settings, on_event=services.metrics.log_record)
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- logging needs the settings that could not be read
        return 1
    services.tracing.install()
    services.reporting.watch_process()
    return 0 if serve(app, services) else 1


if __name__ == "__main__":
    sys.exit(main())
