"""What every test uses: a committed copy of the template, `emit`, and no silent skips in CI."""

import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.engines import Emit, commit
from tests.tree import ROOT, template_files

ENGINES = ("cookiecutter", "copier")
# How modules begin whose tests take minutes together: one process works on each.
TAKE_MINUTES = ("test_emitted", "test_update", "test_operations", "test_union", "test_benchmarks")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where CI is set: there, every server and tool must be present."""
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI forbids: {report.longrepr}"
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start what takes minutes first: at the end, one process would work on it while the other stands idle."""
    items.sort(key=lambda item: not item.path.name.startswith(TAKE_MINUTES))


@pytest.fixture(scope="session", autouse=True)
def _own_surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the developer's git, Copier and Cookiecutter settings out of the tests."""
    home = tmp_path_factory.mktemp("home")
    config = home / "gitconfig"
    config.write_text("[user]\nname = Tester\nemail = tester@example.com\n[init]\ndefaultBranch = main\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(config))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("COOKIECUTTER_CONFIG", str(_cookiecutter_config(home)))
        patch.setenv("COPIER_SETTINGS_PATH", str(_copier_settings(home)))
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
            patch.delenv(name, raising=False)
        yield


def _copier_settings(home: Path) -> Path:
    path = home / "copier.yml"
    path.write_text("{}\n")
    return path


def _cookiecutter_config(home: Path) -> Path:
    path = home / "cookiecutter.yml"
    path.write_text(f'cookiecutters_dir: "{home}/cookiecutters"\nreplay_dir: "{home}/replay"\n')
    return path


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, _own_surroundings: None) -> Path:
    """A copy of the template as it stands in the working tree, committed and tagged 1.0.0."""
    folder = tmp_path_factory.mktemp("template") / "template"
    for file in template_files():
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, target)
    commit(folder, "The template", tag="1.0.0")
    return folder


@pytest.fixture(scope="session")
def plain_template(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template without its history, as from an archive: Copier need not clone it, which saves time."""
    folder = tmp_path_factory.mktemp("plain") / "template"
    return Path(shutil.copytree(template, folder, ignore=shutil.ignore_patterns(".git")))


@pytest.fixture
def changed_template(template: Path, tmp_path: Path) -> Path:
    """A copy of the template that the test may change, with its history."""
    return Path(shutil.copytree(template, tmp_path / "changed template"))


@pytest.fixture(scope="session")
def emit(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Emit:
    """Emit a project through either engine: `emit(engine, framework, **answers)`."""
    return Emit(template, tmp_path_factory.mktemp("emitted"))
