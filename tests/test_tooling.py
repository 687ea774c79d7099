"""The files that install and start things: what they pin, and what make does where a person would notice."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")
# What Python's requirements pin is looked at in tests/tools/test_pins.py.


def test_javascript_packages_are_pinned() -> None:
    wanted = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    locked = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert wanted == {name: locked[f"node_modules/{name}"]["version"] for name in wanted}
    assert all("integrity" in package for path, package in locked.items() if path)


@pytest.mark.parametrize("name", [*REQUIREMENTS, "package.json", "package-lock.json", ".npmrc", "Makefile", ".ci/run"])
def test_no_file_names_a_registry(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    # A package's page of donors may be named in the lock file.
    addresses = [line for line in text.splitlines() if "://" in line and '"url": "https://' not in line]
    assert addresses == []
    assert '"resolved"' not in text


# make, with a stand-in for Python: what it would install is written down, and nothing is.

FAKE_PYTHON = """#!/bin/sh
case "$*" in
  *realpath*) [ -e too-old ] || echo "$0" ;;
  *ensurepip*) [ ! -e no-ensurepip ] ;;
  "-m venv .venv") mkdir -p .venv/bin .venv/lib && cp "$0" .venv/bin/python ;;
  *"pip install"*) echo "$*" | sed 's/.* //' >> installed; [ ! -e no-network ] ;;
  run_server.py*) echo "$*" ;;
esac
"""


class Project:
    """A folder with our Makefile and requirements, and a Python that only pretends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("Makefile", *REQUIREMENTS):
            shutil.copy(ROOT / name, folder)
            os.utime(folder / name, (1, 1))  # long ago
        self.python = folder / "fake-python"
        self.python.write_text(FAKE_PYTHON, encoding="utf-8")
        self.python.chmod(0o755)

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["make", f"PYTHON={self.python}", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=environment(), capture_output=True, text=True, check=False, timeout=30
        )

    def change_requirements(self) -> None:
        for stamp in (self.folder / ".venv").glob("ready*"):
            os.utime(stamp, (2, 2))
        os.utime(self.folder / "requirements.txt", (3, 3))

    def installed(self) -> list[str]:
        """Which requirements files were installed, oldest first."""
        path = self.folder / "installed"
        return path.read_text(encoding="utf-8").split() if path.exists() else []


def environment() -> dict[str, str]:
    """Give our own environment, without what a make above us says to a make below it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "ARGS"))}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_first_run_installs_and_the_second_does_not(project: Project) -> None:
    first = project.make("run", "ARGS=--port 0")
    assert "Installing requirements.txt into .venv" in first.stderr
    second = project.make("run", "ARGS=--port 0")
    assert second.stderr == ""
    assert first.stdout == second.stdout == "run_server.py --port 0\n"  # what the server prints, and nothing else
    assert project.installed() == ["requirements.txt"]


def test_changed_requirements_are_installed_anew(project: Project) -> None:
    project.make("setup")
    (project.folder / ".venv" / "left-over").touch()
    project.change_requirements()
    project.make("run")
    assert project.installed() == ["requirements.txt", "requirements.txt"]
    assert not (project.folder / ".venv" / "left-over").exists()


def test_tools_stay_when_the_requirements_change(project: Project) -> None:
    project.make(".venv/ready-dev")
    project.change_requirements()
    project.make("run")
    project.make(".venv/ready-dev")
    assert project.installed() == ["requirements-dev.txt", "requirements-dev.txt"]


def test_installation_that_failed_half_way_does_not_count(project: Project) -> None:
    (project.folder / "no-network").touch()
    assert project.make("run").returncode != 0
    assert project.make("run").stdout == ""  # still not started
    (project.folder / "no-network").unlink()
    assert project.make("run").stdout.startswith("run_server.py")


def test_environment_whose_python_is_gone_is_made_anew(project: Project) -> None:
    project.make("setup")
    (project.folder / ".venv/bin/python").unlink()
    (project.folder / ".venv/bin/python").symlink_to("/nowhere/python3")
    assert project.make("run").stdout.startswith("run_server.py")


def test_python_without_venv_is_one_clear_line(project: Project) -> None:
    (project.folder / "no-ensurepip").touch()
    result = project.make("run")
    said = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert said == [f"{project.python} cannot make a virtual environment: apt install python3-venv"]
    assert result.returncode != 0


@pytest.mark.parametrize("python", ["./fake-python", "/nowhere/python3"])
def test_unfit_python_is_one_clear_line(project: Project, python: str) -> None:
    (project.folder / "too-old").touch()
    result = project.make("run", f"PYTHON={python}")
    said = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert said == [f"Brain Game needs Python 3.11 or newer, and {python} is not. Name another: make PYTHON=python3.12"]
    assert result.returncode != 0


# make run, with a real process in the server's place.

STAND_IN = """
import os, signal, sys
def say(*words):
    os.write(1, (" ".join(words) + "\\n").encode())  # print() may not be interrupted by itself
def stop(number, frame):
    say("drained after", signal.Signals(number).name)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
if "--bad" in sys.argv:
    sys.exit(2)
say("ready", *sys.argv[1:])
while True:
    signal.pause()
"""


@pytest.fixture
def running(project: Project) -> Iterator[subprocess.Popen[str]]:
    """`make run` as a terminal starts it, in a process group of its own."""
    project.make("setup")
    (project.folder / ".venv/bin/python").unlink()
    (project.folder / ".venv/bin/python").symlink_to(sys.executable)
    (project.folder / "run_server.py").write_text(STAND_IN, encoding="utf-8")
    with subprocess.Popen(
        ["make", "run", "ARGS=--port 0"],
        cwd=project.folder,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready --port 0\n"
        yield process
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def test_sigterm_to_make_reaches_the_server(running: subprocess.Popen[str]) -> None:
    running.terminate()
    assert running.communicate(timeout=10)[0] == "drained after SIGTERM\n"


def test_ctrl_c_reaches_the_server(running: subprocess.Popen[str]) -> None:
    os.killpg(running.pid, signal.SIGINT)  # what a terminal does
    assert running.communicate(timeout=10)[0] == "drained after SIGINT\n"


def test_bad_setting_is_make_s_exit_code(project: Project, running: subprocess.Popen[str]) -> None:
    command = ["make", "run", "ARGS=--bad"]
    assert subprocess.run(command, cwd=project.folder, env=environment(), check=False, timeout=30).returncode == 2
