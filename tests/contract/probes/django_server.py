"""The Django service, served by its own server, with probe endpoints on top."""

# mypy: disable-error-code="import-not-found,import-untyped"

import os
import sys

from app.web.__main__ import main

if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "django_settings"
    sys.exit(main())
