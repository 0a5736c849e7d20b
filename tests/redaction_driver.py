"""Log rows of a redaction corpus through the emitted service's real chain and answer with what the sink received.

Reads JSON rows on standard input, one a line: `form`, `text`, and `extra` for fields. Writes one JSON string a row. Run
it in the emitted tree with `PYTHONPATH=src`.
"""

import json
import sys
from typing import Any

from app.adapters.logging import configure_logging
from app.core.logging import get_logger
from app.settings import load_settings
from app.settings_groups import LogSettings


def log_row(row: dict[str, Any]) -> None:
    """Log a row as its form suggests."""
    log = get_logger("corpus")
    if row["form"] == "exception":
        try:
            raise ValueError(row["text"])  # noqa: TRY301 - the row says that it was raised
        except ValueError:
            log.exception("failed")
        return
    if row["form"] == "extra":
        log.info(row["text"], **row["extra"])
        return
    log.info(row["text"], **row.get("extra", {}))


def main() -> None:
    """Answer every row with the lines that it became."""
    lines: list[str] = []
    configure_logging(load_settings(log=LogSettings(format="json")), sink=lines.append)
    for line in sys.stdin:
        lines.clear()
        log_row(json.loads(line))
        sys.stdout.write(json.dumps("\n".join(lines)) + "\n")


if __name__ == "__main__":
    main()
