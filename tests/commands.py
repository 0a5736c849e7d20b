"""Run commands as a user of the template or of an emitted project does."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

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


def newest_python() -> tuple[str, tuple[int, int]]:
    """Return the newest interpreter at hand, on the PATH or kept by pyenv, and its version."""
    found = [shutil.which(f"python3.{minor}") for minor in range(11, 30)]
    found += [
        str(path) for path in Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/3.*/bin/python")
    ]
    versions = {path: _version(path) for path in [sys.executable, *filter(None, found)]}
    return max(versions.items(), key=lambda item: item[1])


def _version(python: str) -> tuple[int, int]:
    """Return an interpreter's version; 0 where it does not run, as pyenv's shim of a version that is not chosen."""
    said = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, check=False)
    major, minor = said.stdout.split() or (0, 0)
    return int(major), int(minor)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    *command: str, cwd: Path, log: Path, port: str = "PORT", **environment: str
) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Give a started service's process and its address, once it is ready; nothing of it outlives the block.

    Args:
        command: What starts it.
        cwd: Where.
        log: Where its output goes.
        port: The variable that says where it listens.
        environment: Further variables.
    """
    number = str(free_port())
    address = f"http://127.0.0.1:{number}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=surroundings(LOG__FORMAT="json", **{port: number}, **environment),
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


def wait_for_events(log: Path, event: str, count: int, **fields: object) -> list[dict[str, Any]]:
    """Return the lines of an event with these fields, once there are so many."""
    deadline = time.monotonic() + STOP_SECONDS
    while True:
        lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
        events = [found for found in map(json.loads, lines) if found["event"] == event]
        chosen = [found for found in events if fields.items() <= found.items()]
        if len(chosen) >= count:
            return chosen
        if time.monotonic() > deadline:
            msg = f"{len(chosen)} times {event}, not {count}, within {STOP_SECONDS} s:\n" + "\n".join(lines)
            raise AssertionError(msg)
        time.sleep(0.1)
