"""Make the benchmarks' own environment where it is missing or out of date, then run them in it.

This file needs nothing but Python 3.11: `python benchmarks/run.py [--quick] [--only NAME] [--list]`.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "{{cookiecutter.project_slug}}"
BUILD = ROOT / "build"
ENVIRONMENT = BUILD / "benchmarks-venv"
PEERS = Path(__file__).with_name("requirements.txt")
UV = "uv>=0.13,<0.14"


def main(arguments: list[str]) -> int:
    """Run the benchmarks in their environment, and return their exit code."""
    python = prepare()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(PROJECT / "src")]),
        # Compiled files stay out of the tree, which the engines copy as they find it.
        "PYTHONPYCACHEPREFIX": str(BUILD / "benchmarks-pycache"),
        "PATH": os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)]),
    }
    return subprocess.run([python, "-m", "benchmarks", *arguments], cwd=ROOT, env=environment, check=False).returncode


def prepare() -> Path:
    """Return the environment's interpreter, after installing what changed since the last time."""
    python, stamp = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "installed"
    wanted = [*emitted_requirements(), *PEERS.read_text(encoding="utf-8").splitlines()]
    digest = hashlib.sha256("\n".join([sys.version, *wanted]).encode()).hexdigest()
    with alone():
        if not python.exists() or not stamp.exists() or stamp.read_text(encoding="utf-8") != digest:
            install(python, "\n".join(wanted))
            stamp.write_text(digest, encoding="utf-8")
    return python


@contextmanager
def alone() -> Iterator[None]:
    """Keep a second run, such as the tests', from making the environment at the same time."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "benchmarks.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def emitted_requirements() -> list[str]:
    """Return what the emitted project needs; its Jinja lines are comments to TOML, so all frameworks' needs at once."""
    document = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    return list(document["project"]["dependencies"])


def install(python: Path, requirements: str) -> None:
    """Make the environment anew.

    Args:
        python: The interpreter that it will have.
        requirements: What goes into it, one requirement per line.
    """
    sys.stderr.write(f"Installing the benchmarks' environment in {ENVIRONMENT} …\n")
    uv = find_uv()
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, ENVIRONMENT], check=True)
    command = [uv, "pip", "install", "--quiet", "--python", str(python), "--requirement", "-"]
    subprocess.run(command, input=requirements, text=True, check=True)


def find_uv() -> str:
    """Return the path of uv: the one on PATH, the template's own, or one that is fetched for the benchmarks."""
    places = [str(ROOT / ".uv" / "bin"), str(ROOT / ".venv" / "bin"), str(BUILD / "benchmarks-uv" / "bin")]
    found = shutil.which("uv", path=os.pathsep.join([os.environ.get("PATH", os.defpath), *places]))
    if found:
        return found
    own = BUILD / "benchmarks-uv"
    subprocess.run([sys.executable, "-m", "venv", own], check=True)
    subprocess.run([own / "bin" / "python", "-m", "pip", "install", "--quiet", UV], check=True)
    return str(own / "bin" / "uv")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
