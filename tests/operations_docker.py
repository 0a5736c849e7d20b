"""What a Dockerfile does, done without Docker: its commands in a folder that plays the image's root."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from json import loads
from pathlib import Path

from uv import find_uv_bin

SECRET_KEY = "only-for-tests-9f4c1d7b2e8a6035-abcdefghij"
START_SECONDS = 40
STOP_SECONDS = 30
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Instruction:
    """One instruction, its `--flags` apart."""

    keyword: str
    flags: tuple[str, ...]
    value: str


def stages(dockerfile: Path) -> dict[str, list[Instruction]]:
    """Return the instructions of each stage by its name; the last one's is "final"."""
    found: dict[str, list[Instruction]] = {}
    for instruction in _instructions(dockerfile):
        if instruction.keyword == "FROM":
            name = re.search(r"\bAS (\S+)$", instruction.value)
            found[name[1] if name else "final"] = []
        list(found.values())[-1].append(instruction)
    return found


def _instructions(dockerfile: Path) -> Iterator[Instruction]:
    lines = dockerfile.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if not line.strip():
            continue
        keyword, value = line.split(maxsplit=1)
        flags = re.match(r"(?:--\S+\s+)*", value)
        assert flags is not None
        yield Instruction(keyword, tuple(flags[0].split()), value[flags.end() :].strip())


class Image:
    """The image of a project, as a folder.

    Args:
        project: What is built.
        root: The folder that plays the image's root.

    """

    def __init__(self, project: Path, root: Path) -> None:
        self.root = root
        self.project = project
        self.stages = stages(project / "Dockerfile")

    @property
    def environment(self) -> dict[str, str]:
        """What the last stage's ENV says."""
        return self._env("final")

    @property
    def port_variable(self) -> str:
        """Which variable says where the health check is answered."""
        return "ADMIN_PORT" if "ADMIN_PORT" in self.environment else "PORT"

    @property
    def command(self) -> list[str]:
        """What a container runs."""
        return self._exec_form("CMD")

    @property
    def healthcheck(self) -> list[str]:
        """What tells whether a container is healthy."""
        return self._exec_form("HEALTHCHECK")

    def copied(self) -> list[str]:
        """Return what the build takes from the project."""
        copies = [x for x in self.stages["build"] if x.keyword == "COPY" and not x.flags]
        return [name for x in copies for name in x.value.split()[:-1]]

    def build(self) -> None:
        """Run the build stage's COPY and RUN instructions; the tools it installs are the tests' own.

        Raises:
            subprocess.CalledProcessError: A command failed.

        """
        work = self.root / "build"
        work.mkdir(parents=True, exist_ok=True)
        for instruction in self.stages["build"]:
            if instruction.keyword == "COPY":
                self._copy(instruction.value.split(), work)
            elif instruction.keyword == "RUN" and not instruction.value.startswith("pip "):
                command = ["sh", "-c", self._inside(instruction.value)]
                subprocess.run(
                    command, cwd=work, env=self.surroundings("build"), check=True,
                    capture_output=True, text=True,
                )  # fmt: skip

    def run(self, command: list[str], *, check: bool = True, **env: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end, as in a container."""
        return subprocess.run(
            command, cwd=self._folder(), env=self.surroundings("final") | env, check=check,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    @contextmanager
    def container(self, **env: str) -> "Iterator[Container]":
        """Start what the image starts, and kill it at the end if it still runs."""
        port = _free_port()
        surroundings = self.surroundings("final") | {
            self.port_variable: str(port),
            "SECRET_KEY": SECRET_KEY,
            **env,
        }
        process = subprocess.Popen(
            self.command, cwd=self._folder(), env=surroundings,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            container = Container(self, process, port)
            container.wait_until_healthy()
            yield container
        finally:
            process.kill()
            process.communicate()

    def _folder(self) -> Path:
        folder = self.root / "app"
        (folder / "var").mkdir(parents=True, exist_ok=True)
        return folder

    def _env(self, stage: str) -> dict[str, str]:
        pairs = (x for i in self.stages[stage] if i.keyword == "ENV" for x in shlex.split(i.value))
        return dict(pair.split("=", 1) for pair in pairs)

    def _exec_form(self, keyword: str) -> list[str]:
        (instruction,) = (x for x in self.stages["final"] if x.keyword == keyword)
        words: list[str] = loads(instruction.value.removeprefix("CMD "))
        return words

    def _inside(self, text: str) -> str:
        return re.sub(r"/app(?=/|$|:|\s)", str(self.root / "app"), text)

    def surroundings(self, stage: str) -> dict[str, str]:
        """Return the environment of a stage's commands."""
        kept = {x: os.environ[x] for x in os.environ if x.startswith(("PIP_", "SSL_", "UV_"))}
        tools = f"{Path(find_uv_bin()).parent}:{os.environ['PATH']}"
        declared = {name: self._inside(value) for name, value in self._env(stage).items()}
        declared["PATH"] = declared.get("PATH", "$PATH").replace("$PATH", tools)
        return {"HOME": str(Path.home()), "UV_PYTHON": sys.executable, **kept, **declared}

    def _copy(self, words: list[str], work: Path) -> None:
        for pattern in words[:-1]:
            for source in sorted(self.project.glob(pattern)):
                if source.is_dir():
                    shutil.copytree(source, work / words[-1], dirs_exist_ok=True)
                else:
                    shutil.copy(source, work / words[-1])


@dataclass
class Container:
    """A running service."""

    image: Image
    process: "subprocess.Popen[str]"
    port: int

    def get(self, path: str) -> str:
        """Return what the service answers; an error status raises."""
        with DIRECT.open(f"http://127.0.0.1:{self.port}{path}", timeout=10) as response:
            text: str = response.read().decode()
        return text

    def post(self, path: str, body: str, **headers: str) -> int:
        """Send JSON and return the status."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", body.encode(), method="POST",
            headers={"Content-Type": "application/json"}
            | {name.replace("_", "-"): value for name, value in headers.items()},
        )  # fmt: skip
        with DIRECT.open(request, timeout=10) as response:
            status: int = response.status
        return status

    def is_healthy(self, **env: str) -> bool:
        """Return what the health check finds."""
        check = self.image.run(self.image.healthcheck, check=False, **{self.image.port_variable: str(self.port), **env})
        return check.returncode == 0

    def wait_until_healthy(self) -> None:
        """Wait for the health check to succeed; fail with what the service printed."""
        deadline = time.monotonic() + START_SECONDS
        while not self.is_healthy():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                msg = f"it did not start:\n{self.process.communicate()[0]}"
                raise AssertionError(msg)
            time.sleep(0.2)

    def stop(self) -> int:
        """Send the image's stop signal and return the exit code."""
        (instruction,) = (x for x in self.image.stages["final"] if x.keyword == "STOPSIGNAL")
        self.process.send_signal(signal.Signals[instruction.value])
        self.process.communicate(timeout=STOP_SECONDS)
        return self.process.returncode


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
