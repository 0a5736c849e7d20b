"""The service for an ASGI server: `app.web.asgi:application`."""

from .manage import use_settings

use_settings()

# Django's settings are read with what these import.
from .handlers import asgi_application  # noqa: E402
from .lifecycle import living  # noqa: E402
from .lifespan import Lifespan  # noqa: E402

application = Lifespan(asgi_application(), living)
