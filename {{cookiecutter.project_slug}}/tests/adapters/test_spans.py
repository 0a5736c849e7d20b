"""Spans leave the process: at the end of it too, over a fork, and never to the harm of the service."""

import json
import os

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from app.adapters.spans import create_recorder
from app.adapters.tracing import Tracing
from app.settings import Settings

from ..collectors import collector, endpoint_in_trouble
from ..conftest import Log
from ..processes import run_python

START = """
import multiprocessing, os, sys, threading, time
from app.adapters.logging import configure_logging
from app.adapters.tracing import Tracing
from app.settings import load_settings
settings = load_settings(service_name="orders")
configure_logging(settings)
tracing = Tracing(settings)
def work(name, count=1):
    for _ in range(count):
        with tracing.span(name):
            pass
"""
FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
# Python 3.12 and later warn of each fork in a process that has threads, which is what is tried here.
QUIET = ("-W", "ignore::DeprecationWarning", "-c")


def test_export_at_shutdown() -> None:
    """Spans are sent to the endpoint, at the latest when the service stops."""
    with collector() as collected:
        ended = run_python(
            "-c", START + "work('some-work', 3); tracing.shutdown()", OTEL_EXPORTER_OTLP_ENDPOINT=collected.url
        )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("", "", 0)
    ((path, body),) = collected
    assert (path, collected.names) == ("/v1/traces", {"some-work": 3})
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    assert "orders" in {pair.value.string_value for pair in resource.resource.attributes}


@pytest.mark.parametrize("end", ["", "raise RuntimeError('x')", "tracing.shutdown(); sys.exit(3)"])
def test_export_at_exit(end: str) -> None:
    """A process that ends without stopping tracing sends its spans all the same, once."""
    with collector() as collected:
        run_python("-c", f"{START}work('some-work', 700)\n{end}", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=collected.url)
    assert collected.names == {"some-work": 700}
    assert {path for path, _ in collected} == {"/"}


FORK = """
work("before", 5)
with tracing.span("around"):
    pid = os.fork()
    if not pid:
        work("child", 600)
if not pid:
    sys.exit(0)
work("parent", 600)
os.waitpid(pid, 0)
"""
WORKERS = """
def child(number):
    work(f"child {number}", 3)
work("before", 600)
context = multiprocessing.get_context("fork")
children = [context.Process(target=child, args=(number,)) for number in range(3)]
[one.start() for one in children]
[one.join() for one in children]
work("parent")
print([one.exitcode for one in children])
"""
BUSY = """
stop = threading.Event()
def busy():
    while not stop.is_set():
        work("parent", 50)
threads = [threading.Thread(target=busy) for _ in range(3)]
[one.start() for one in threads]
pids = []
for number in range(8):
    pid = os.fork()
    if not pid:
        work("child", 20)
        tracing.shutdown()
        os._exit(0)
    pids.append(pid)
    time.sleep(0.003)
[os.waitpid(pid, 0) for pid in pids]
stop.set()
[one.join() for one in threads]
tracing.shutdown()
print(tracing.account.exported)
"""


@FORKS
def test_fork() -> None:
    """Parent and child send their own spans, each once; a span that was open at the fork is the parent's."""
    with collector() as collected:
        ended = run_python(*QUIET, START + FORK, OTEL_EXPORTER_OTLP_ENDPOINT=collected.url)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("", "", 0)
    assert collected.names == {"before": 5, "around": 1, "child": 600, "parent": 600}
    ids = [span.span_id for span in collected.spans]
    assert len(set(ids)) == len(ids)
    (around,) = [span for span in collected.spans if span.name == "around"]
    assert {span.parent_span_id for span in collected.spans if span.name == "child"} == {around.span_id}


@FORKS
def test_worker_processes() -> None:
    """Processes of `multiprocessing`, which leave without what `atexit` knows, send their spans when they end."""
    with collector() as collected:
        ended = run_python(*QUIET, START + WORKERS, OTEL_EXPORTER_OTLP_ENDPOINT=collected.url)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("[0, 0, 0]\n", "", 0)
    assert collected.names == {"before": 600, "parent": 1, "child 0": 3, "child 1": 3, "child 2": 3}


@FORKS
def test_fork_while_spans_end() -> None:
    """Forking while threads end spans and others are sent holds nobody up and loses nothing."""
    with collector() as collected:
        ended = run_python(
            *QUIET, START + BUSY, OTEL_EXPORTER_OTLP_ENDPOINT=collected.url, OTEL_BSP_MAX_QUEUE_SIZE="500000"
        )
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert collected.names == {"child": 160, "parent": int(ended.stdout)}


TROUBLE = """
import app.adapters.spans
app.adapters.spans.FLUSH_SECONDS = 0.5
work("some-work", 5000)
tracing.shutdown()
print(tracing.account.dropped, file=sys.stderr)
"""


@pytest.mark.parametrize("kind", ["refuses", "hangs"])
def test_endpoint_in_trouble(kind: str) -> None:
    """An endpoint that is away slows nobody down, fills no log and no memory, and does not keep the service running."""
    # Whoever waited for the endpoint would do so longer than this process is given.
    waiting = {"OTEL_EXPORTER_OTLP_TIMEOUT": "600000", "OTEL_BSP_EXPORT_TIMEOUT": "600000"}
    with endpoint_in_trouble(kind) as url:
        ended = run_python(
            "-c",
            START + TROUBLE,
            OTEL_EXPORTER_OTLP_ENDPOINT=url,
            OTEL_BSP_MAX_QUEUE_SIZE="1000",
            LOG__FORMAT="json",
            **waiting,
        )
    assert (ended.stderr, ended.returncode) == ("5000\n", 0)
    events = [json.loads(line)["event"] for line in ended.stdout.splitlines()]
    assert sorted(set(events)) == sorted(events)
    assert set(events) <= {"traces.export_failed", "traces.dropped"}


def test_console(settings: Settings, log: Log) -> None:
    """Without a collector spans can be looked at in the log."""
    tracing = Tracing(settings.model_copy(update={"otel_traces_exporter": "console"}))
    with pytest.raises(KeyError), tracing.span("work", http_route="/orders"):
        raise KeyError
    tracing.shutdown()
    (line,) = log.named("span")
    assert (line["name"], line["kind"], line["status"]) == ("work", "internal", "error")
    assert line["attributes"] == {"http.route": "/orders", "error.type": "KeyError"}
    assert line["events"][0]["exception.type"] == "KeyError"
    assert line["parent_span_id"] is None


def test_batching_of_the_environment(settings: Settings) -> None:
    """OpenTelemetry's variables say how spans wait; they count milliseconds."""
    variables = {
        "otel_exporter_otlp_endpoint": "http://127.0.0.1:1",
        "otel_bsp_max_queue_size": 7,
        "otel_bsp_max_export_batch_size": 3,
        "otel_bsp_schedule_delay": 1500,
        "otel_bsp_export_timeout": 2500,
    }
    recorder = create_recorder(settings.model_copy(update=variables), {})
    assert recorder.batching == (7, 3, 1.5, 2.5)
    recorder.shutdown()
