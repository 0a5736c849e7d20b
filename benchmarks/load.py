"""Load on a server from the other core: by `wrk` where it is installed, else by a client of our own."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .children.requests import CYCLE, ENDPOINTS
from .effort import Effort
from .machine import DRIVER, pinned
from .processes import child, work_folder

SCRIPT = Path(__file__).with_name("children") / "requests.lua"
CONNECTIONS = 32
# The share of a round that is thrown away at its start.
WARM_UP = 0.3
GRACE_SECONDS = 30.0
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True)
class Load:
    """What a server did under load; latencies in seconds."""

    per_second: float
    p50: float
    p99: float


def load(port: int, method: str, share: float, effort: Effort) -> Load:
    """Load a server for one round.

    Args:
        port: Where it listens.
        method: Which endpoint.
        share: The share of requests that are to be sampled.
        effort: How long.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        return own_load(port, method, share, effort)
    wrk_load(wrk, port, method, share, effort.load_seconds * WARM_UP)
    return wrk_load(wrk, port, method, share, effort.load_seconds)


def own_load(port: int, method: str, share: float, effort: Effort) -> Load:
    """Load a server by the client of our own."""
    seconds = effort.load_seconds
    asked = {"port": port, "method": method, "sampled": share, "warm_up": seconds * WARM_UP, "seconds": seconds}
    with child("load", asked, core=DRIVER) as process:
        return Load(**process.result(seconds + GRACE_SECONDS))


def wrk_load(wrk: str, port: int, method: str, share: float, seconds: float) -> Load:
    """Load a server by `wrk`, which counts in whole seconds."""
    whole = max(1, round(seconds))
    with work_folder() as folder, pinned(DRIVER):
        requests = folder / "requests"
        requests.write_bytes(b"".join(framed(ENDPOINTS[method].wire(n, share)) for n in range(CYCLE)))
        options = ["-t1", f"-c{CONNECTIONS}", f"-d{whole}s", "--latency", "-s", str(SCRIPT)]
        command = [wrk, *options, f"http://127.0.0.1:{port}/", "--", str(requests)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=whole + GRACE_SECONDS)
    return read_wrk(done.stdout)


def framed(request: bytes) -> bytes:
    """Return a request behind its length, as the script reads it."""
    return b"%d\n%b" % (len(request), request)


def read_wrk(text: str) -> Load:
    """Return the figures of a report of `wrk`.

    Args:
        text: What it printed.
    """
    if "Non-2xx" in text or "Socket errors" in text:
        raise ConnectionError(text)
    latencies = {line[1]: float(line[2]) * UNITS[line[3]] for line in re.finditer(r"(\d+)%\s+([\d.]+)(us|ms|s)", text)}
    per_second = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if per_second is None:
        raise ValueError(text)
    return Load(float(per_second[1]), latencies["50"], latencies["99"])
