"""Run commands as a user of the template or of an emitted project does."""

import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# What the tests' own environment sets, and a user's does not.
OURS = {"CI", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "UV_PROJECT_ENVIRONMENT", "VIRTUAL_ENV"}
START_SECONDS = 60
STOP_SECONDS = 30


def surroundings(**changes: str) -> dict[str, str]:
    """Return a user's environment, with some variables set."""
    return {name: value for name, value in os.environ.items() if name not in OURS} | changes


def run(
    *command: str, cwd: Path, check: bool = True, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Return a finished command, whose output is shown when it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=surroundings(**environment),
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    if check and done.returncode:
        msg = f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}"
        raise AssertionError(msg)
    return done


def shell_lines(markdown: Path) -> list[str]:
    """Return the commands in a document's `sh` blocks, continued lines joined, comments left out."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", markdown.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", "").splitlines()
    return [re.sub(r"\s+", " ", line.split(" # ")[0]).strip() for line in lines]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(*command: str, cwd: Path, log: Path, **environment: str) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Give a started service's process and its address, once it is ready; nothing of it outlives the block."""
    port = str(free_port())
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=surroundings(PORT=port, LOG__FORMAT="json", **environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_until_ready(process, address, log)
            yield process, address
        finally:
            _end_group(process)


def _wait_until_ready(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if get(f"{address}/readyz") == 200:
            return
        time.sleep(0.1)
    msg = f"not ready within {START_SECONDS} s:\n{log.read_text(encoding='utf-8')}"
    raise AssertionError(msg)


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def get(url: str) -> int | None:
    """Return the status of a GET, or None where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def wait_until_gone(address: str) -> None:
    """Return once nobody listens at the address any more."""
    deadline = time.monotonic() + STOP_SECONDS
    while get(f"{address}/livez") is not None:
        if time.monotonic() > deadline:
            msg = f"{address} still answers after {STOP_SECONDS} s"
            raise AssertionError(msg)
        time.sleep(0.1)
