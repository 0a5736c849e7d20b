"""What happens when modules of the service are imported, in a process of its own."""

import json
from typing import Any

from .processes import run_python

EFFECTS = """
import importlib, json, logging, os, pkgutil, signal, sys, threading
seen = []
FORBIDDEN = ("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.fork", "os.mkdir")

def watch(event, arguments):
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes or event.startswith(FORBIDDEN):
        seen.append(f"{name}: {event} {arguments[:1]}")

PREPARE
import app
names = [module.name for module in pkgutil.walk_packages(app.__path__, "app.")]
entry_points = [name for name in names if name.endswith(".__main__")] + ["app.migrations.env", "app.worker.celery"]
# Loaded only when a DSN is set: urllib3, which it brings, tries at import whether the machine has IPv6.
on_demand = ["app.adapters.reporters.sentry"]
names = [name for name in names if name not in entry_points + on_demand and CHOSEN]
name = "app"
sys.addaudithook(watch)
threading.Thread.start = lambda thread: seen.append(f"{name}: {thread}")
signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
environment = dict(os.environ)
for name in names:
    importlib.import_module(name)
import structlog
handlers = [type(handler).__name__ for handler in logging.root.handlers]
loggers = [log for log in logging.root.manager.loggerDict.values() if isinstance(log, logging.Logger)]
handlers += [type(h).__name__ for log in loggers for h in log.handlers if not isinstance(h, logging.NullHandler)]
print(json.dumps({
    "names": names,
    "seen": seen,
    "handlers": handlers,
    "logging configured": structlog.is_configured(),
    "signals changed": signals != [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
    "environment changed": environment != dict(os.environ),
}))
"""


def effects(chosen: str, prepare: str = "") -> dict[str, Any]:
    """Return what importing did.

    Args:
        chosen: An expression that says of a module's `name` whether it is imported.
        prepare: What runs before, and may have effects.

    """
    ended = run_python("-B", "-c", EFFECTS.replace("CHOSEN", chosen).replace("PREPARE", prepare))
    assert (ended.stderr, ended.returncode) == ("", 0)
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


NONE = {
    "seen": [],
    "handlers": [],
    "logging configured": False,
    "signals changed": False,
    "environment changed": False,
}
