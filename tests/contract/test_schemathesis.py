"""The service does what its own OpenAPI document says, for inputs that nobody wrote by hand."""

import subprocess
import sys

from .logs import access_lines, settle
from .server import Service

OPTIONS = (
    "--checks",
    "all",
    "-n",
    "25",
    "--generation-deterministic",
    "--request-timeout",
    "10",
    "--no-color",
)


def test_schemathesis(service: Service) -> None:
    """No generated request finds a response that the document does not allow, and none fails inside."""
    url = f"http://127.0.0.1:{service.port}/openapi.json"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from schemathesis.cli import schemathesis; schemathesis()",
            "run",
            url,
            *OPTIONS,
        ],
        cwd=service.folder,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    settle(service)
    assert len(access_lines(service)) > 100
    assert [line for line in access_lines(service) if line["status_code"] >= 500] == []
