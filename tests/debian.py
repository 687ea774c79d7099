"""Programs from Debian's packages, unpacked below this checkout: nothing is installed, and no service started."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import NOT_RUN

_FOLDER = Path(__file__).parent.parent / ".debian"


def folder_of(package: str) -> Path:
    """Where the package's files are, with those of the packages that it needs and that this machine lacks. Without apt,
    or without a way to the packages, the test is NOT RUN."""
    folder = _FOLDER / package
    _FOLDER.mkdir(exist_ok=True)
    with (_FOLDER / f"{package}.lock").open("w") as lock:
        # Two files of tests run at a time.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            try:
                _fetch(package, folder)
            except (OSError, subprocess.CalledProcessError) as error:
                said = getattr(error, "stderr", "") or str(error)
                pytest.skip(f"{NOT_RUN}Debian's {package} cannot be had: {said.strip().splitlines()[-1]}")
    return folder


def file_of(package: str, pattern: str) -> Path:
    """A file of the package, by a pattern inside it: `usr/sbin/nginx`."""
    (found,) = folder_of(package).glob(pattern)
    return found


def environment_of(package: str) -> dict[str, str]:
    """What a program of the package needs to find its libraries."""
    libraries = {path.parent for path in folder_of(package).glob("usr/lib/**/*.so*")}
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, sorted(libraries)))}


def _run(*command: str, folder: Path) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def _fetch(package: str, folder: Path) -> None:
    draft = folder.with_suffix(".new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    simulate = ("apt-get", "-s", "install", "--no-install-recommends", package)
    try:
        planned = _run(*simulate, folder=draft)
    except subprocess.CalledProcessError:
        # No list of packages yet; only root may fetch one.
        _run("apt-get", "update", folder=draft)
        planned = _run(*simulate, folder=draft)
    # Those that are installed already are not in the plan, but the one that was asked for is wanted in any case.
    names = {package, *(line.split()[1] for line in planned.splitlines() if line.startswith("Inst "))}
    _run("apt-get", "download", *sorted(names), folder=draft)
    for archive in draft.glob("*.deb"):
        _run("dpkg-deb", "-x", archive.name, ".", folder=draft)
        archive.unlink()
    draft.rename(folder)
