"""Django's commands: `python manage.py check`, `createsuperuser`, `makemigrations` and the rest."""

import sys
from pathlib import Path

# Where the project is not installed, its package is found beside this file.
sys.path.insert(0, str(Path(__file__).parent / "src"))

from app.web.manage import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
