"""Running services for the tests: one per module, and more on demand.

CONTRACT_DATABASE   where services keep what they are not told otherwise: `sqlite`, the default, or `postgresql`
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from .backends import Backend, PostgreSQL, Redis, own_schema
from .server import TARGETS, Service, Target
from .tracing import Neighbour, Seen

Launch = Callable[..., Service]
Server = TypeVar("Server", bound=Backend)
Environment = dict[str, str]
DATABASE = os.environ.get("CONTRACT_DATABASE", "sqlite")
STORES = ("sql", "memory", "redis")
ON_EACH_STORE = pytest.mark.parametrize("probe", STORES, indirect=True)


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
    folder = tmp_path_factory.mktemp("service")
    with _own_database(target, folder) as database:
        yield from _run(Service(target.command, folder, {**target.env, **database}))


@contextmanager
def _own_database(target: Target, folder: Path) -> Iterator[Environment]:
    """Give the settings of a database that is nobody else's; a service has one of SQLite without any."""
    if DATABASE == "sqlite":
        yield {}
        return
    with own_schema() as url:
        yield {"DATABASE_URL": migrate(target, folder, url)}


@pytest.fixture(scope="module")
def probe(
    request: pytest.FixtureRequest, target: Target, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The same service with the endpoints of `probes` on top; a parameter names the idempotency store."""
    folder = tmp_path_factory.mktemp("probe")
    with _own_database(target, folder) as database:
        env = {**target.env, **_with_store(request, getattr(request, "param", "sql")), **database}
        yield from _run(Service(target.probe_command, folder, env))


def _with_store(request: pytest.FixtureRequest, name: str) -> Environment:
    """Return the settings of an idempotency store."""
    env = {"IDEMPOTENCY__STORE": name}
    return env | {"REDIS_URL": request.getfixturevalue("redis").url()} if name == "redis" else env


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Environment:
    """The settings of each idempotency store in turn."""
    return _with_store(request, request.param)


@pytest.fixture(params=["sqlite", "postgresql", "redis"])
def shared(request: pytest.FixtureRequest, target: Target, tmp_path: Path) -> Iterator[Environment]:
    """The settings of each store that several processes can share, and of its database where it is one."""
    if request.param != "postgresql":
        yield _with_store(request, {"sqlite": "sql"}.get(request.param, request.param))
        return
    with own_schema() as url:
        migrate(target, tmp_path, url)
        yield {"IDEMPOTENCY__STORE": "sql", "DATABASE_URL": url}


def migrate(target: Target, folder: Path, url: str) -> str:
    """Bring a database to the schema of the service under test, and return its address."""
    migration = Service(target.migrate_command, folder / "migration", {"DATABASE_URL": url}).spawn()
    assert migration.wait() == 0, migration.output()
    return url


def _lent(server: Server) -> Iterator[Server]:
    """Start a server, and end it with what it is lent for."""
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """A Redis for those that do it no harm."""
    yield from _lent(Redis())


@pytest.fixture(scope="session")
def frail_redis() -> Iterator[Redis]:
    """A Redis to stop, kill and freeze; `restore` it before the test ends."""
    yield from _lent(Redis())


@pytest.fixture(scope="session")
def frail_postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL to stop, kill and freeze; `restore` it before the test ends."""
    yield from _lent(PostgreSQL())


def _run(service: Service) -> Iterator[Service]:
    try:
        yield service.start()
    finally:
        service.stop()


@pytest.fixture
def prepare(target: Target, tmp_path: Path) -> Iterator[Launch]:
    """Make services that are not started yet; what runs at the test's end is stopped."""
    made: list[Service] = []
    with ExitStack() as stack:
        database = stack.enter_context(_own_database(target, tmp_path))

        def make(*, probes: bool = False, **env: str) -> Service:
            command = target.probe_command if probes else target.command
            made.append(Service(command, tmp_path / "service", {**target.env, **database, **env}))
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
