"""The service for a WSGI server: `app.web.wsgi:application`."""

from .manage import use_settings

use_settings()

# Django's settings are read with what it imports.
from .handlers import wsgi_application  # noqa: E402

application = wsgi_application()
