"""Walk through an emitted service: make it, start it, place an order twice, provoke an error, read the log, stop it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cookiecutter.main import cookiecutter

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
START_SECONDS = 60
STOP_SECONDS = 30
ORDER = {"sku": "TEA-500", "quantity": 2, "customer_email": "jane.doe@example.com"}
SHOWN_HEADERS = ("content-type", "location", "idempotent-replayed", "x-request-id", "x-trace-id")


@dataclass(frozen=True)
class Answer:
    """What the service answered."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


def main() -> int:
    """Show the whole walk, and return 0 where everything went as promised."""
    say("1. Emit a FastAPI service")
    project = emit()
    say("2. Install it (`make install`, which `make run` and `make test` do by themselves)")
    run("make", "--no-print-directory", "install", cwd=project)
    log = BUILD / "demo.log"
    say("3. Start it on a free port (`make run`)")
    with running(project, log) as (process, address):
        print(f"   listens on {address}, ready")
        show_orders(address)
        say("8. Stop it by SIGTERM")
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=STOP_SECONDS)
        print(f"   exit code {code}")
    say("9. What it logged, one JSON object per line")
    show_log(log)
    print(f"\nThe project is in {project}: `make run` and `make test` work there.")
    return code


def emit() -> Path:
    """Return the folder of a new project below build/."""
    BUILD.mkdir(exist_ok=True)
    shutil.rmtree(BUILD / "orders-demo", ignore_errors=True)
    answers = {"project_name": "Orders Demo", "description": "Takes orders, each of them once"}
    return Path(cookiecutter(str(ROOT), no_input=True, extra_context=answers, output_dir=str(BUILD)))


@contextmanager
def running(project: Path, log: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Give the ready service and its address; whatever happens, it ends with the block."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "PORT": str(port), "LOG__FORMAT": "json"}
    python = project / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    with log.open("wb") as output:
        command = [str(python), "-m", "app.api"]
        process = subprocess.Popen(command, cwd=project, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_until_ready(process, address, log)
            yield process, address
        finally:
            process.kill()
            process.wait()


def show_orders(address: str) -> None:
    """Place an order twice under one key, then show three ways to be refused."""
    say("4. Place an order")
    first = request(address, "POST", "/orders", ORDER, key="demo-1")
    show(first, 201)
    say("5. Send it again with the same Idempotency-Key: the stored answer, and no second order")
    again = request(address, "POST", "/orders", ORDER, key="demo-1")
    show(again, 201)
    expect(again.body == first.body and again.headers.get("idempotent-replayed") == "true", "the answer is replayed")
    expect(len(request(address, "GET", "/orders").body["items"]) == 1, "there is one order")
    say("6. Use the key for another order: a problem document")
    show(request(address, "POST", "/orders", {**ORDER, "quantity": 3}, key="demo-1"), 422)
    say("7. Ask for what is not there, and send what is not valid")
    show(request(address, "GET", "/orders/00000000-0000-0000-0000-000000000000"), 404)
    show(request(address, "POST", "/orders", {**ORDER, "quantity": 0}), 422)


def request(address: str, method: str, path: str, body: object = None, key: str | None = None) -> Answer:
    """Return the service's answer, whatever its status."""
    headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
    data = json.dumps(body).encode() if body is not None else None
    call = urllib.request.Request(address + path, data=data, headers=headers, method=method)  # noqa: S310 - http only
    try:
        with urllib.request.urlopen(call, timeout=10) as response:  # noqa: S310 - http only
            return answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        return answer(error.code, error.headers, error.read())


def answer(status: int, headers: Any, body: bytes) -> Answer:
    """Return an answer with lower-case header names and a parsed body."""
    return Answer(status, {name.lower(): value for name, value in headers.items()}, json.loads(body or b"{}"))


def wait_until_ready(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    """Return once /readyz says 200; end with the log where that does not happen."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if request(address, "GET", "/readyz").status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit(f"The service did not become ready within {START_SECONDS} s:\n{log.read_text(encoding='utf-8')}")


def show(shown: Answer, status: int) -> None:
    """Print an answer, after making sure that it has the promised status."""
    expect(shown.status == status, f"the status is {status}, not {shown.status}: {shown.body}")
    print(f"   {shown.status}")
    for name in SHOWN_HEADERS:
        if name in shown.headers:
            print(f"   {name}: {shown.headers[name]}")
    for line in json.dumps(shown.body, indent=2).splitlines():
        print(f"   {line}")


def show_log(log: Path) -> None:
    """Print the service's log lines, after making sure that each is JSON."""
    for line in log.read_text(encoding="utf-8").splitlines():
        json.loads(line)
        print(f"   {line}")


def expect(holds: bool, what: str) -> None:
    """End the demo where the service breaks a promise."""
    if not holds:
        sys.exit(f"The demo failed: expected that {what}.")


def say(heading: str) -> None:
    """Print a step's heading."""
    print(f"\n{heading}", flush=True)


def run(*command: str, cwd: Path) -> None:
    """Run a command of the emitted project; end the demo where it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    subprocess.run(command, cwd=cwd, env=environment, check=True)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
