"""
Run the W3C's own trace context harness (https://github.com/w3c/trace-context, folder `test`) against the service.

Collected only when TRACE_CONTEXT_HARNESS names that folder; `test_traceparent.py` and `test_tracestate.py` hold our own
versions of its 41 cases.
"""

import os
import subprocess
import sys

from .server import Service, free_port

HARNESS = "TRACE_CONTEXT_HARNESS"


def test_w3c_harness(probe: Service) -> None:
    """All 41 tests of the harness pass at the strictest level."""
    port = str(free_port())
    levels = {
        "SPEC_LEVEL": "2",
        "STRICT_LEVEL": "2",
        "HARNESS_PORT": port,
        "HARNESS_BIND_PORT": port,
    }
    done = subprocess.run(
        [sys.executable, "test.py", f"http://127.0.0.1:{probe.port}/test"],
        cwd=os.environ[HARNESS],
        env={**os.environ, **levels},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran 41 tests" in done.stderr
    assert "skipped" not in done.stderr
