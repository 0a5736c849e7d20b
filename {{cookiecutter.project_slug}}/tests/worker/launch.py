"""`python -m tests.worker.launch [beat]`: a worker that also has the tests' own tasks."""

import sys

from app.worker import __main__ as entry
from app.worker import application

OWN = ("tests.worker.slow_tasks", "tests.worker.observed_tasks")
application.TASKS = (*application.TASKS, *OWN)

if __name__ == "__main__":
    sys.exit(entry.main())
