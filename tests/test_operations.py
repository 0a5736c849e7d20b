"""What stands around an emitted service holds together: image, stack, monitoring, CI, update check."""

import ast
import json
import re
import shutil
import subprocess
import sysconfig
import time
import tomllib
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import jinja2
import pytest
import yaml

from tests.engines import Emit, commit
from tests.operations_docker import SECRET_KEY, Container, Image
from tests.operations_promql import (
    OF_PROMETHEUS,
    Exposition,
    alert_expressions,
    dashboard_expressions,
    panels_of,
    read_exposition,
    sample_names,
    unknown,
)
from tests.questions import COPIER, choices
from tests.tree import TREE

SCRIPTS = Path(sysconfig.get_path("scripts"))
DASHBOARDS = Path("deploy/grafana/dashboards")
RULES = Path("deploy/prometheus")
RULE_FILES = "alerts*.yaml"
WORKFLOWS = (".github/workflows/ci.yml", ".github/workflows/template-update.yml")
FILES = (
    ".dockerignore",
    ".editorconfig",
    ".github/dependabot.yml",
    *WORKFLOWS,
    ".pre-commit-config.yaml",
    "Dockerfile",
    "compose.yaml",
    "deploy/grafana/dashboards/daemon.json",
    "deploy/grafana/dashboards/service.json",
    "deploy/grafana/dashboards/worker.json",
    "deploy/grafana/provisioning/dashboards/dashboards.yaml",
    "deploy/grafana/provisioning/datasources/prometheus.yaml",
    "deploy/otel-collector/config.yaml",
    "deploy/prometheus/alerts-http.yaml",
    "deploy/prometheus/alerts-messages.yaml",
    "deploy/prometheus/alerts-tasks.yaml",
    "deploy/prometheus/alerts.yaml",
    "deploy/prometheus/prometheus.yaml",
)
SCHEMAS = {
    ".github/dependabot.yml": "vendor.dependabot",
    **dict.fromkeys(WORKFLOWS, "vendor.github-workflows"),
    "compose.yaml": "vendor.compose-spec",
}
# Settings takes over what the others hold.
SETTINGS_MODULES = ("settings.py", "settings_groups.py", "otel_settings.py")
SETTINGS = {"Settings", "OtelSettings"}
# What runs the service's code.
OWN = {"app", "beat", "migrate"}
ENTRY_POINTS = {"fastapi": "app.api", "django": "app.web", "celery": "app.worker", "daemon": "app.daemon"}
# What answers the health check.
PORTS = {"fastapi": "PORT", "django": "PORT", "celery": "ADMIN_PORT", "daemon": "ADMIN_PORT"}
# What has a queue.
BACKGROUND = {"celery", "daemon"}
WORK_SECONDS = 30
PYTHON_SETTINGS = {"PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}


@pytest.fixture(scope="module", params=choices())
def framework(request: pytest.FixtureRequest) -> str:
    """The framework of the project."""
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def project(emit: Emit, framework: str) -> Path:
    """A project as it is emitted."""
    return emit("copier", framework, project_slug="stock-keeper")


@pytest.fixture(params=["tree", "project"])
def folder(request: pytest.FixtureRequest, project: Path) -> Path:
    """The tree as it stands in the template, and a project made of it."""
    return TREE if request.param == "tree" else project


@pytest.fixture(scope="module")
def compose(project: Path) -> dict[str, Any]:
    """The stack around the service."""
    document: dict[str, Any] = _yaml(project / "compose.yaml")
    return document


def _yaml(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def _tool(*command: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([SCRIPTS / command[0], *command[1:]], cwd=cwd, capture_output=True, text=True, check=False)


# Every file is valid, as it stands and as it is emitted.


def _of(folder: Path, *suffixes: str) -> list[str]:
    """Return those of the files that a project has: some are for one kind of service alone."""
    return [name for name in FILES if name.endswith(suffixes or "") and (folder / name).exists()]


def test_emitting_changes_nothing_but_answers(project: Path, framework: str) -> None:
    """A file is emitted as it stands, without the marks that protect it, the answers written out."""
    environment = jinja2.Environment(**COPIER["_envops"] | {"undefined": jinja2.StrictUndefined}, autoescape=False)
    for name in _of(project):
        template = environment.from_string((TREE / name).read_text(encoding="utf-8"))
        emitted = (project / name).read_text(encoding="utf-8")
        assert emitted == template.render(cookiecutter={"project_slug": "stock-keeper", "framework": framework}), name
        assert "cookiecutter" not in emitted


def test_every_file_is_emitted(emit: Emit) -> None:
    """No file is left out of every project."""
    assert {name for framework in choices() for name in _of(emit("copier", framework))} == set(FILES)


def test_the_list_of_files_is_complete(project: Path) -> None:
    """Every file of these concerns is in the list that the tests go through."""
    found = {
        path.relative_to(project).as_posix()
        for part in (".github", "deploy")
        for path in (project / part).rglob("*")
        if path.is_file()
    }
    assert found <= set(FILES)


def test_a_file_is_valid_in_its_language(folder: Path) -> None:
    """YAML and JSON files parse, in the template too."""
    assert [name for name in _of(folder, ".json", ".yaml", ".yml") if not _yaml(folder / name)] == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_file_follows_its_schema(folder: Path, name: str) -> None:
    """GitHub and Compose know every key that stands in their files."""
    checked = _tool("check-jsonschema", "--builtin-schema", SCHEMAS[name], name, cwd=folder)
    assert checked.returncode == 0, checked.stdout


def test_the_dockerfile_passes_its_linter(folder: Path) -> None:
    """Hadolint finds nothing."""
    checked = _tool("hadolint", "Dockerfile", cwd=folder)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_the_workflows_pass_their_audit(project: Path) -> None:
    """Actions are pinned by hash, tokens may do little, and no expression is pasted into a shell."""
    checked = _tool("zizmor", "--offline", "--pedantic", "--quiet", "--no-progress", ".github", cwd=project)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_shell_in_workflows_is_valid(project: Path, name: str) -> None:
    """Bash parses every step."""
    for job in _yaml(project / name)["jobs"].values():
        for step in job["steps"]:
            subprocess.run(["bash", "-n", "-c", step.get("run", "")], check=True)


# The image.


def test_the_image_runs_as_nobody_in_particular(project: Path, framework: str) -> None:
    """The last USER is a number that is not root's, and the service is started without a shell."""
    image = Image(project, Path("/nowhere"))
    users = [x.value for x in image.stages["final"] if x.keyword == "USER"]
    assert int(users[-1].split(":")[0]) > 0
    assert image.command == ["python", "-m", ENTRY_POINTS[framework]]


def test_the_image_takes_only_what_it_needs(project: Path) -> None:
    """What the build copies is let through by .dockerignore, which lets nothing else through."""
    ignore = (project / ".dockerignore").read_text(encoding="utf-8").split("\n")
    let_through = {line[1:] for line in ignore if line.startswith("!")}
    needed = {re.sub(r"\[(\w)\]", r"\1", name) for name in Image(project, Path()).copied()}
    assert "*" in ignore
    assert let_through == needed


def test_python_and_uv_have_one_version(project: Path) -> None:
    """The image's Python is one that CI tests, and uv is the same one everywhere."""
    dockerfile = (project / "Dockerfile").read_text(encoding="utf-8")
    (python,) = re.findall(r"^FROM python:([\d.]+)-slim", dockerfile, re.MULTILINE)
    matrix = _yaml(project / WORKFLOWS[0])["jobs"]["check"]["strategy"]["matrix"]["python"]
    pyproject = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    assert python in matrix
    assert pyproject["project"]["requires-python"] == f">={matrix[0]}"
    pinned = re.findall(r"\buv==([\d.]+)", dockerfile)
    for name in WORKFLOWS:
        steps = [s for job in _yaml(project / name)["jobs"].values() for s in job["steps"]]
        pinned += [s["with"]["version"] for s in steps if "setup-uv" in s.get("uses", "")]
    assert len(pinned) == 3
    assert len(set(pinned)) == 1


@pytest.mark.slow
def test_a_missing_lock_file_stops_the_build_with_a_remedy(project: Path, tmp_path: Path) -> None:
    """Without uv.lock the build fails and says how to make one."""
    with pytest.raises(subprocess.CalledProcessError) as failure:
        Image(project, tmp_path).build()
    assert "make install" in failure.value.stderr
    assert "uv.lock" in failure.value.stderr


@pytest.fixture(scope="module")
def image(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The project's image, built by its own commands, its database migrated as compose.yaml says."""
    source = Path(shutil.copytree(project, tmp_path_factory.mktemp("source") / "project"))
    built = Image(source, tmp_path_factory.mktemp("image"))
    lock = ["uv", "lock", "--quiet", "--directory", str(source)]
    subprocess.run(lock, env=built.surroundings("base"), check=True)
    built.build()
    migrate = _yaml(project / "compose.yaml")["services"]["migrate"]["command"]
    built.run(migrate, SECRET_KEY=SECRET_KEY)
    return built


# Series that a service has from the moment that they are needed: it calls another one, and runs out of label values.
ON_DEMAND = """
import asyncio
import httpx2
from app.adapters.http_client import create_http_client
from app.adapters.message_metrics import MessageMetrics
from app.adapters.metrics import Metrics
from app.adapters.tracing import Tracing
from app.settings import load_settings

async def main():
    settings = load_settings()
    metrics, transport = Metrics(settings), httpx2.MockTransport(lambda request: httpx2.Response(200))
    async with create_http_client(Tracing(settings), on_call=metrics.call_finished, transport=transport) as http:
        await http.get("http://other")
    metrics.registry.limit = 1
    metrics.idempotency("unheard of")
    metrics.task_sent("other", "sent")
    MessageMetrics(metrics).published("other", "sent")
    print(metrics.render().decode())

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def exposition(image: Image, framework: str) -> Exposition:
    """What a running service says on /metrics after work of each kind, and what it says on demand."""
    with image.container(IDEMPOTENCY__PURGE_INTERVAL="1" if framework == "daemon" else "300") as container:
        {"celery": _send_tasks, "daemon": _publish_messages}.get(framework, _place_orders)(container)
        container.get("/readyz")
        running = container.get("/metrics")
    on_demand = image.run(["python", "-c", ON_DEMAND], SECRET_KEY=SECRET_KEY).stdout
    return read_exposition(running + on_demand)


def _place_orders(container: Container) -> None:
    order = '{"sku": "A-1", "quantity": 1, "customer_email": "a@example.com"}'
    for _ in range(2):
        assert container.post("/orders", order, Idempotency_Key='"once"') == 201
    container.get("/orders")


def _send_tasks(container: Container) -> None:
    """Send a task twice, and one that cannot succeed, as a user of the image does."""
    send = ["celery", "-A", "app.worker.celery", "call", "orders.fulfil", "--args"]
    for arguments in ('["o-1"]', '["o-1"]', '[""]'):
        container.image.run([*send, arguments], SECRET_KEY=SECRET_KEY)
    _wait_for(container, 'outcome="failure"')


def _publish_messages(container: Container) -> None:
    """Send a message twice, and one that cannot succeed, as a user of the image does."""
    send = ["python", "-m", "app.daemon", "publish"]
    for name, order in (("m-1", "o-1"), ("m-1", "o-1"), ("m-2", "")):
        message = {"id": name, "type": "order.placed", "data": {"order_id": order}, "x-sent-at": time.time()}
        container.image.run([*send, json.dumps(message)], SECRET_KEY=SECRET_KEY)
    _wait_for(container, 'message_dead_letters_total{reason="permanent"} 1')
    for measured in ("message_backlog ", "periodic_job_duration_seconds_count"):
        _wait_for(container, measured)


def _wait_for(container: Container, sample: str) -> None:
    deadline = time.monotonic() + WORK_SECONDS
    while sample not in container.get("/metrics"):
        assert time.monotonic() < deadline, "what was sent was not worked on"
        time.sleep(0.1)


@pytest.mark.slow
def test_the_image_holds_the_service_and_no_tools(image: Image, framework: str) -> None:
    """The package is installed, not linked to a source that the image lacks; development tools are absent."""
    packages = next((image.root / "app" / ".venv").glob("lib/python*/site-packages"))
    installed = {path.name.split("-")[0] for path in packages.glob("*.dist-info")}
    assert (packages / "app" / "settings.py").is_file()
    # Celery's own package is what a worker is; the others' is what a server is; a daemon is none of these.
    assert installed & set(choices()) == {framework} - {"daemon"}
    assert not {"pytest", "mypy", "ruff"} & installed


@pytest.mark.slow
def test_the_health_check_follows_the_service(image: Image) -> None:
    """It succeeds while the service answers on its PORT, whatever proxy is set, and fails afterwards."""
    with image.container() as container:
        proxy = "http://127.0.0.1:9"
        assert container.is_healthy(http_proxy=proxy, HTTP_PROXY=proxy)
        container.stop()
        assert not container.is_healthy()


@pytest.mark.slow
def test_the_stop_signal_ends_the_service_cleanly(image: Image) -> None:
    """A stopped container has exit code 0."""
    with image.container() as container:
        assert container.stop() == 0


@pytest.mark.slow
def test_the_image_refuses_to_run_without_a_secret(image: Image) -> None:
    """The image is for production: without a SECRET_KEY it says so and ends."""
    ended = image.run(image.command, check=False)
    assert ended.returncode not in {0, None}
    assert "SECRET_KEY" in ended.stderr + ended.stdout


@pytest.mark.slow
def test_the_service_has_the_name_of_the_project(image: Image) -> None:
    """A service in its image knows the project's slug as its name, and its metrics say so."""
    with image.container() as container:
        assert 'service="stock-keeper"' in container.get("/metrics")


# The stack.


def test_the_service_is_confined(compose: dict[str, Any]) -> None:
    """What runs the service's code has a read-only disk, no capability and no way to gain one."""
    for name in OWN & set(compose["services"]):
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert "/tmp" in service["tmpfs"]


def test_every_port_is_bound_to_the_loopback(compose: dict[str, Any]) -> None:
    """Nothing of the stack is reachable from another machine."""
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_image_is_pinned(compose: dict[str, Any]) -> None:
    """Images that are not built here name a full version."""
    images = [s["image"] for s in compose["services"].values() if "build" not in s]
    assert len(images) == 5
    assert all(re.search(r":v?\d+\.\d+(\.\d+)?$", image) for image in images)


def test_no_secret_has_a_default(compose: dict[str, Any]) -> None:
    """Without SECRET_KEY or POSTGRES_PASSWORD Compose stops and says where to look."""
    services = compose["services"]
    settings = [x for s in services.values() for x in s.get("environment", {}).items()]
    secret = [value for name, value in settings if re.search("SECRET_KEY|PASSWORD|DATABASE", name)]
    # Two in each that runs the service's code, and PostgreSQL's own.
    assert len(secret) == 2 * len(OWN & set(services)) + 1
    assert all(re.search(r"\$\{\w+:\?see the first lines of [\w.]+\}", value) for value in secret)


def test_what_is_waited_for_can_say_that_it_is_ready(compose: dict[str, Any]) -> None:
    """A service that others wait for has a health check, in its image or here, and one that ends does end."""
    services = compose["services"]
    for service in services.values():
        for other, condition in service.get("depends_on", {}).items():
            if condition["condition"] == "service_healthy":
                assert services[other]["healthcheck"]["test"]
            elif condition["condition"] == "service_completed_successfully":
                assert services[other]["healthcheck"]["disable"] is True
                assert "restart" not in services[other]


def test_a_container_is_given_the_time_to_stop(project: Path, compose: dict[str, Any]) -> None:
    """The grace period is longer than what the service takes by its own defaults."""
    grace = int(compose["services"]["app"]["stop_grace_period"].removesuffix("s"))
    defaults = _settings(project)
    assert grace > defaults["SHUTDOWN_TIMEOUT"] + defaults["SHUTDOWN_DELAY"]


def test_every_variable_is_a_setting(project: Path, compose: dict[str, Any]) -> None:
    """What the image and the stack set is something that the service reads."""
    given = {*Image(project, Path()).environment, *compose["services"]["app"]["environment"]}
    assert given - PYTHON_SETTINGS <= set(_settings(project))


def _settings(project: Path) -> dict[str, Any]:
    """Return the fields of the service's Settings with their defaults, where those are plain values."""
    own = [str(path.relative_to(project / "src/app")) for path in project.glob("src/app/*/configuration.py")]
    modules = [ast.parse((project / "src/app" / name).read_text("utf-8")) for name in (*SETTINGS_MODULES, *own)]
    classes = [x for module in modules for x in module.body if isinstance(x, ast.ClassDef) and _is_settings(x)]
    assert {cls.name for cls in classes} >= SETTINGS
    return {
        x.target.id.upper(): x.value.value if isinstance(x.value, ast.Constant) else None
        for cls in classes
        for x in cls.body
        if isinstance(x, ast.AnnAssign) and isinstance(x.target, ast.Name)
    }


def _is_settings(cls: ast.ClassDef) -> bool:
    """Return whether a class has the service's settings, or those that a framework adds."""
    return cls.name in SETTINGS or any(isinstance(base, ast.Name) and base.id == "Settings" for base in cls.bases)


def test_addresses_within_the_stack_lead_somewhere(project: Path, framework: str, compose: dict[str, Any]) -> None:
    """Each address names a service, on the port where that listens."""
    collector = _yaml(project / "deploy/otel-collector/config.yaml")
    protocols = collector["receivers"]["otlp"]["protocols"].values()
    listening = {
        "app": {int(Image(project, Path()).environment[PORTS[framework]])},
        "collector": {int(protocol["endpoint"].split(":")[1]) for protocol in protocols},
        "postgres": {5432},
        "prometheus": {9090},
        "redis": {6379},
    }
    environment = compose["services"]["app"]["environment"]
    datasources = _yaml(project / "deploy/grafana/provisioning/datasources/prometheus.yaml")
    scrapes = _yaml(project / "deploy/prometheus/prometheus.yaml")["scrape_configs"]
    addresses = [
        re.sub(r"\$\{.*?\}", "x", environment["DATABASE_URL"]),
        *(environment[name] for name in ("BROKER_URL", "REDIS_URL") if name in environment),
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"],
        *(source["url"] for source in datasources["datasources"]),
        *(f"//{x}" for job in scrapes for static in job["static_configs"] for x in static["targets"]),
    ]
    assert len(addresses) == (6 if framework in BACKGROUND else 5)
    for address in map(urlsplit, addresses):
        assert address.hostname in compose["services"]
        assert (address.port or 5432) in listening[str(address.hostname)]


def test_what_is_mounted_exists_and_is_used(project: Path, compose: dict[str, Any]) -> None:
    """Every folder that a container gets is in the project, read-only, and the paths in commands lie in it."""
    for service in compose["services"].values():
        binds = [x.split(":") for x in service.get("volumes", []) if x.startswith("./")]
        for source, target, mode in binds:
            assert mode == "ro"
            for word in [*service.get("command", []), *_grafana_paths(project, service)]:
                path = PurePosixPath(word.rpartition("=")[2])
                if path.is_relative_to(target):
                    assert (project / source / path.relative_to(target)).exists(), word
            assert (project / source).is_dir()
    provided = compose["services"]["grafana"]["volumes"]
    paths = _grafana_paths(project, compose["services"]["grafana"])
    assert all(any(path.startswith(x.split(":")[1]) for x in provided) for path in paths)


def _grafana_paths(project: Path, service: dict[str, Any]) -> list[str]:
    if "grafana" not in service.get("image", ""):
        return []
    provisioned = _yaml(project / "deploy/grafana/provisioning/dashboards/dashboards.yaml")
    home: str = service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    return [home, *(provider["options"]["path"] for provider in provisioned["providers"])]


def test_the_collector_uses_what_it_declares(project: Path) -> None:
    """Every part of the collector's pipelines is configured, and every configured part is in a pipeline."""
    config = _yaml(project / "deploy/otel-collector/config.yaml")
    pipelines = config["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        used = {name for pipeline in pipelines for name in pipeline[kind]}
        assert used == set(config[kind])


# Monitoring.


def _dashboard(project: Path) -> Path:
    """Return the only dashboard of a project."""
    (dashboard,) = (project / DASHBOARDS).glob("*.json")
    return dashboard


def _alerts(project: Path) -> list[str]:
    """Return the expressions of all alert rules of a project."""
    return [text for file in sorted((project / RULES).glob(RULE_FILES)) for text in alert_expressions(file)]


@pytest.mark.slow
def test_the_dashboard_and_the_alerts_use_real_series(project: Path, exposition: Exposition) -> None:
    """Every series and label in an expression is one that a running service exposes."""
    expressions = dashboard_expressions(_dashboard(project)) + _alerts(project)
    missing = [text for expression in expressions for text in unknown(expression, exposition)]
    assert len(expressions) > 30
    assert missing == []


@pytest.mark.slow
def test_the_dashboard_shows_every_family(project: Path, exposition: Exposition) -> None:
    """Whatever the service exposes stands on the dashboard."""
    shown = {
        exposition.family(name)
        for expression in dashboard_expressions(_dashboard(project))
        for name in sample_names(expression)
    }
    assert set(exposition.families) - shown == set()


def test_the_alerts_watch_the_job_that_is_scraped(project: Path) -> None:
    """A job that a rule names is one of the scrape configuration, which loads the rules."""
    config = _yaml(project / "deploy/prometheus/prometheus.yaml")
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    named = set(re.findall(r'job="(\w+)"', " ".join(_alerts(project))))
    assert named
    assert named <= jobs
    assert config["rule_files"] == [RULE_FILES]
    assert any(set(OF_PROMETHEUS) & sample_names(x) for x in _alerts(project))


def test_panels_read_the_provisioned_data_source(project: Path) -> None:
    """The dashboard's data source is the one that provisioning makes, in every panel and query."""
    sources = _yaml(project / "deploy/grafana/provisioning/datasources/prometheus.yaml")
    (source,) = sources["datasources"]
    document = json.loads(_dashboard(project).read_text(encoding="utf-8"))
    panels = [panel for panel in panels_of(document) if panel["type"] != "row"]
    named = [x["datasource"] for x in (*panels, *document["templating"]["list"])]
    named += [target["datasource"] for panel in panels for target in panel["targets"]]
    assert all(x == {"type": source["type"], "uid": source["uid"]} for x in named)


@dataclass(frozen=True)
class Box:
    """Where a panel stands."""

    x: int
    y: int
    w: int
    h: int

    def overlaps(self, other: "Box") -> bool:
        """Return whether both cover a place."""
        apart_x = self.x + self.w <= other.x or other.x + other.w <= self.x
        apart_y = self.y + self.h <= other.y or other.y + other.h <= self.y
        return not (apart_x or apart_y)


def test_panels_stand_side_by_side(project: Path) -> None:
    """Panels have ids of their own, fit the grid of 24 columns and cover no other."""
    panels = panels_of(json.loads(_dashboard(project).read_text(encoding="utf-8")))
    boxes = [Box(**panel["gridPos"]) for panel in panels]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(box.x + box.w <= 24 for box in boxes)
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_ci_asks_for_the_dashboard_that_exists(project: Path) -> None:
    """The address that CI asks Grafana for ends in the dashboard's uid."""
    uid = json.loads(_dashboard(project).read_text(encoding="utf-8"))["uid"]
    assert f"/api/dashboards/uid/{uid}\n" in (project / WORKFLOWS[0]).read_text(encoding="utf-8")


# Commits and updates.


@pytest.mark.parametrize(
    ("name", "text", "hook"),
    [
        ("a.py", "<<<<<<< before updating\n", "conflict-markers"),
        ("b.md", ">>>>>>> after updating\n", "conflict-markers"),
        ("pyproject.toml.rej", "- x\n", "rejected-hunks"),
    ],
)
def test_what_an_unfinished_update_leaves_cannot_be_committed(
    project: Path, tmp_path: Path, name: str, text: str, hook: str
) -> None:
    """The commit hooks stop conflict markers and rejected hunks, and nothing else."""
    work = Path(shutil.copytree(project, tmp_path / "work"))
    commit(work, "As emitted")
    assert _tool("pre-commit", "run", "--all-files", hook, cwd=work).returncode == 0
    (work / name).write_text(text)
    commit(work, "Half merged")
    stopped = _tool("pre-commit", "run", "--all-files", hook, cwd=work)
    assert stopped.returncode == 1
    assert name in stopped.stdout


def test_hooks_run_tools_that_the_project_has(project: Path) -> None:
    """Each hook's program is uv itself or comes with the development tools."""
    pyproject = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    tools = {re.split(r"[<>=\[]", x)[0] for x in pyproject["dependency-groups"]["dev"]}
    tools |= {"lint-imports"} if "import-linter" in tools else set()
    (repo,) = _yaml(project / ".pre-commit-config.yaml")["repos"]
    ran = {
        hook["entry"].split()[2]
        for hook in repo["hooks"]
        if hook["language"] == "system" and hook["entry"].startswith("uv run ")
    }
    assert {"ruff", "mypy", "lint-imports"} <= ran <= tools


@dataclass(frozen=True)
class Checkout:
    """A committed project, where the steps of the update workflow run with a recorded `gh`."""

    folder: Path
    bin: Path

    def check(self) -> "subprocess.CompletedProcess[str]":
        """Run the step that asks the template for its latest release."""
        return self._step(0, {"GITHUB_OUTPUT": str(self.bin / "output")})

    def report(self, issue: str = "") -> list[str]:
        """Run the step that writes the issue and return the commands that it gave to `gh`."""
        (line,) = (self.bin / "output").read_text().splitlines()
        update = json.loads(line.removeprefix("update="))
        log = self.bin / "log"
        log.touch()
        # As GitHub writes expressions out: a boolean as true or false, the rest as text.
        given = {
            "AVAILABLE": json.dumps(update["update_available"]),
            "CURRENT": update["current_version"],
            "LATEST": update["latest_version"],
        }
        done = self._step(1, given | {"ISSUE": issue, "LOG": str(log)})
        assert done.returncode == 0, done.stderr
        return [x for x in log.read_text().split("\0") if x]

    def _step(self, index: int, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
        steps = _yaml(self.folder / WORKFLOWS[1])["jobs"]["check"]["steps"]
        script = [step["run"] for step in steps if "run" in step][index]
        path = {"PATH": f"{self.bin}:{SCRIPTS}:/usr/bin:/bin", "HOME": str(self.bin)}
        return subprocess.run(
            ["bash", "-e", "-c", script], cwd=self.folder, env=path | env, capture_output=True,
            text=True, check=False,
        )  # fmt: skip


@pytest.fixture
def checkout(emit: Emit, changed_template: Path, tmp_path: Path) -> Checkout:
    """A project of a template that has a release of its own."""
    folder = emit("cookiecutter", "fastapi", template=changed_template)
    commit(folder, "As emitted")
    tools = tmp_path / "bin"
    tools.mkdir()
    scripts = {
        "uvx": '#!/bin/sh\ntest "${1%%@*}" = copier || exit 9\nshift\nexec copier "$@"\n',
        "gh": '#!/bin/sh\nif [ "$1 $2" = \'issue list\' ]; then echo "$ISSUE"; '
        'else printf \'%s\\0\' "$*" >> "$LOG"; fi\n',
    }
    for name, text in scripts.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    return Checkout(folder, tools)


def test_no_issue_is_opened_while_the_project_is_up_to_date(checkout: Checkout) -> None:
    """The latest release is in the project: nothing happens, and an issue left open is closed."""
    assert checkout.check().returncode == 0
    assert checkout.report() == []
    (closed,) = checkout.report(issue="7")
    assert closed.startswith("issue close 7 ")


def test_a_new_release_opens_one_issue(checkout: Checkout, changed_template: Path) -> None:
    """A newer tag opens an issue with both versions and the commands; the next run refreshes it."""
    commit(changed_template, "Better", tag="1.1.0")
    assert checkout.check().returncode == 0
    label, opened = checkout.report()
    assert label.startswith("label create template-update ")
    assert opened.startswith("issue create --label template-update --title Update to release 1.1.0")
    assert "updated to 1.0.0" in opened
    assert "copier update\n" in opened
    (edited,) = checkout.report(issue="7")[2:]
    assert edited.startswith("issue edit 7 --title Update to release 1.1.0")


def test_an_unreachable_template_fails_the_check(checkout: Checkout, changed_template: Path) -> None:
    """The check fails, names _src_path and leaves no result behind that could open an issue."""
    shutil.rmtree(changed_template)
    failed = checkout.check()
    assert failed.returncode == 1
    assert "_src_path" in failed.stdout
    assert not (checkout.bin / "output").exists()
