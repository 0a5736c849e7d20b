"""`python -m tests.worker.told_early`: a worker that is told to stop while it starts."""

import os
import signal
import sys

from app.worker import __main__ as entry
from app.worker import server
from app.worker.configuration import WorkerSettings

sends_by_schedule = server.sends_by_schedule


def _told(settings: WorkerSettings) -> bool:
    os.kill(os.getpid(), signal.SIGTERM)
    return sends_by_schedule(settings)


if __name__ == "__main__":
    server.sends_by_schedule = _told
    sys.exit(entry.main())
