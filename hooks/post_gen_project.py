"""After Cookiecutter has written every file: leave out what was not chosen, record the answers, say what is next."""

import json
import sys
from pathlib import Path

# `tojson` writes no apostrophe, so nothing in an answer can end these strings.
ROOT = json.loads(r'''{{ template_root | tojson }}''')  # fmt: skip
PLAN = json.loads(r'''{{ plan(cookiecutter) | tojson }}''')  # fmt: skip

sys.path.insert(0, ROOT)

from cookiecutter_finish import finish  # noqa: E402 - it stands in the template's folder

finish(Path.cwd(), PLAN)
