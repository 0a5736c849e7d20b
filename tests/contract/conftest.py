"""Running services for the tests: one per module, and more on demand."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .server import TARGETS, Service, Target
from .tracing import Neighbour, Seen

Launch = Callable[..., Service]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Collect the W3C's harness where it is, and nothing where it is not."""
    if file_path.name != "w3c_harness.py" or parent.session.isinitpath(file_path):
        return None
    present = os.environ.get("TRACE_CONTEXT_HARNESS")
    return pytest.Module.from_parent(parent, path=file_path) if present else None


@pytest.fixture(scope="session", params=TARGETS, ids=lambda target: target.name)
def target(request: pytest.FixtureRequest) -> Target:
    """The server under test."""
    chosen: Target = request.param
    return chosen


@pytest.fixture(scope="module")
def service(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A ready service that the tests of one module share."""
    running = Service(target.command, tmp_path_factory.mktemp("service"), {})
    yield from _run(running)


@pytest.fixture(scope="module")
def probe(
    request: pytest.FixtureRequest, target: Target, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The same service with the endpoints of `probes` on top; a parameter names the idempotency store."""
    env = {"IDEMPOTENCY__STORE": getattr(request, "param", "sql")}
    running = Service(target.probe_command, tmp_path_factory.mktemp("probe"), env)
    yield from _run(running)


def _run(service: Service) -> Iterator[Service]:
    try:
        yield service.start()
    finally:
        service.stop()


@pytest.fixture
def prepare(target: Target, tmp_path: Path) -> Iterator[Launch]:
    """Make services that are not started yet; what runs at the test's end is stopped."""
    made: list[Service] = []

    def make(*, probes: bool = False, **env: str) -> Service:
        command = target.probe_command if probes else target.command
        made.append(Service(command, tmp_path / "service", env))
        return made[-1]

    yield make
    for service in made:
        if service.running():
            service.stop()


@pytest.fixture
def launch(prepare: Launch) -> Launch:
    """Start services in one folder, and so on one database, for one test."""

    def start(**options: object) -> Service:
        return prepare(**options).start()

    return start


@pytest.fixture(scope="module")
def neighbour() -> Iterator[Neighbour]:
    """A server that the service under test can call."""
    with Neighbour().listening() as running:
        yield running


@pytest.fixture
def seen(probe: Service, neighbour: Neighbour) -> Callable[..., Seen]:
    """Send trace headers through the service to a neighbour, and return what arrives there."""

    def send(*headers: tuple[str, str]) -> Seen:
        return neighbour.seen_through(probe, list(headers))[0]

    return send
