"""Which of a project's tests another one does not run already.

Most of the code of two projects, and of their tests, is the same, byte for byte. It is tested in FastAPI's; in any
other run those tests that FastAPI's has not, or whose code it has not: found by comparing the two, so that nobody keeps
a list.
"""

import re
from collections.abc import Iterator
from pathlib import Path


def own_tests(project: Path, other: Path) -> list[str]:
    """Return the files with tests that another project does not have, or not on the same code.

    Args:
        project: Whose tests.
        other: The project that they are compared with.
    """
    tests = sorted(path.relative_to(project) for path in project.glob("tests/**/test_*.py"))
    helpers = set(_own_helpers(project, other))
    return [
        str(test)
        for test in tests
        if not (_is_same(project, other, test) and _tests_same(project, other, test)) or _uses(project / test, helpers)
    ]


def _is_same(project: Path, other: Path, file: Path) -> bool:
    return (other / file).exists() and (project / file).read_bytes() == (other / file).read_bytes()


def _tests_same(project: Path, other: Path, test: Path) -> bool:
    """Return whether the package that a test stands for is the same; what stands for none looks at all there is.

    A module that the other project has not is nothing that a test knows of which both have.
    """
    if len(test.parts) == 2:
        return False
    package = Path("src", "app", test.parts[1])
    files = [path.relative_to(project) for path in (project / package).rglob("*.py")]
    shared = [file for file in files if (other / file).exists()]
    return bool(shared) and all(_is_same(project, other, file) for file in shared)


def _own_helpers(project: Path, other: Path) -> Iterator[str]:
    """Yield the modules and packages that tests import, and that the other project has not, or not all of."""
    for path in project.glob("tests/**/*.py"):
        file = path.relative_to(project)
        if not file.name.startswith("test_") and not _is_same(project, other, file):
            yield file.parts[1].removesuffix(".py")


def _uses(test: Path, helpers: set[str]) -> bool:
    return any(re.search(rf"^from \.+{helper}\b", test.read_text(encoding="utf-8"), re.MULTILINE) for helper in helpers)
