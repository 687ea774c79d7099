"""The pinned files of requirements: writes their hashes, and says which pins have none.

    python -m tools.pins lock      ask the package index for the hashes of every pin, and write them behind it
    python -m tools.pins check     offline: every pin has at least one, so that pip checks what it installs

Of a release, those files are taken that pip may choose on Linux (glibc) and macOS, x86_64 and ARM64, with CPython 3.11
or later, and its source. Order, versions and comments stay as they are, but that a comment behind a pin goes above it,
since pip takes none on a line that goes on. The index is the first that pip is set to use.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pip._internal.models.index import PyPI

ROOT: Final = Path(__file__).parent.parent
FILES: Final = (
    "requirements.txt",
    "requirements-dev.txt",
    "bench/requirements.txt",
    "tests/fuzz/requirements.txt",
    "tools/requirements.txt",
)
_OLDEST_PYTHON: Final = 11
_SECONDS: Final = 30
_PIN: Final = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;#\\]+)")
_HASH: Final = re.compile(r"^\s+--hash=sha256:[0-9a-f]{64}(\s*\\)?$")
_PLATFORM: Final = re.compile(r"any|manylinux.*_(x86_64|aarch64)|macosx_.*_(x86_64|arm64|universal2)")
_CPYTHON: Final = re.compile(r"cp3(\d+)")


@dataclass(frozen=True)
class Pin:
    """One requirement: the lines that belong to it, the first with its comment, without hashes."""

    name: str
    version: str
    line: str
    hashes: tuple[str, ...]


def parse(text: str) -> list[Pin | str]:
    """The pins of a requirements file, and all other lines as they are."""
    found: list[Pin | str] = []
    lines = iter(text.splitlines())
    for line in lines:
        matched = _PIN.match(line)
        if matched is None:
            if _HASH.match(line) and isinstance(last := found[-1], Pin):
                digest = line.strip().removesuffix("\\").strip().removeprefix("--hash=sha256:")
                found[-1] = Pin(last.name, last.version, last.line, (*last.hashes, digest))
            else:
                found.append(line)
            continue
        found.append(Pin(matched[1], matched[2], line.removesuffix("\\").rstrip(), ()))
    return found


def written(parts: Iterable[Pin | str]) -> str:
    """The file of these parts. pip takes no comment on a line that goes on, so that of a pin stands above it."""
    lines: list[str] = []
    for part in parts:
        if isinstance(part, str):
            lines.append(part)
            continue
        requirement, separator, comment = (text.strip() for text in part.line.partition("#"))
        if separator:
            lines.append(f"# {comment}")
        lines.append(" \\\n".join([requirement, *(f"    --hash=sha256:{digest}" for digest in part.hashes)]))
    return "\n".join(lines) + "\n"


def wanted(filename: str) -> bool:
    """Whether pip may choose this file on one of our platforms, or could build from it."""
    if not filename.endswith(".whl"):
        return filename.endswith((".tar.gz", ".zip"))
    python, abi, platform = filename.removesuffix(".whl").split("-")[-3:]
    if not python.startswith(("cp", "py")) or (abi.endswith("t") and _CPYTHON.match(abi)):
        # Another interpreter, or CPython without its lock: not what this server runs on.
        return False
    if not any(_PLATFORM.fullmatch(part) for part in platform.split(".")):
        return False
    versions = [int(found) for found in _CPYTHON.findall(python)]
    return not versions or abi == "abi3" or max(versions) >= _OLDEST_PYTHON


def unpinned(text: str) -> list[str]:
    """Requirements without a version, or without a hash."""
    problems = [pin.name for pin in parse(text) if isinstance(pin, Pin) and not pin.hashes]
    for part in parse(text):
        if isinstance(part, str) and part.strip() and not part.lstrip().startswith(("#", "-r ")):
            problems.append(part.strip())
    return problems


def hashes_of(release: Pin, index: str) -> tuple[str, ...]:
    """The SHA-256 of each wanted file of a release (https://peps.python.org/pep-0691/), sorted. Raises LookupError."""
    name = re.sub(r"[-_.]+", "-", release.name).lower()
    request = urllib.request.Request(  # noqa: S310 - the index is the operator's own setting
        f"{index.rstrip('/')}/{name}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
        page: dict[str, Any] = json.load(answer)
    found = {
        file["hashes"]["sha256"]
        for file in page["files"]
        if _version_of(file["filename"]) == _normal(release.version) and wanted(file["filename"])
    }
    if not found:
        raise LookupError(f"the index has no file of {release.name} {release.version} for our platforms")
    return tuple(sorted(found))


def _version_of(filename: str) -> str:
    if filename.endswith(".whl"):
        return _normal(filename.split("-")[1])
    return _normal(re.sub(r"\.(tar\.gz|zip)$", "", filename).rpartition("-")[2])


def _normal(version: str) -> str:
    return version.lower().replace("_", ".").replace("-", ".")


def _index() -> str:
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    return os.environ.get("PIP_INDEX_URL") or asked.stdout.strip() or PyPI.simple_url


def _pins() -> Iterator[Pin]:
    seen = set()
    for name in FILES:
        for part in parse((ROOT / name).read_text(encoding="utf-8")):
            if isinstance(part, Pin) and (part.name.lower(), part.version) not in seen:
                seen.add((part.name.lower(), part.version))
                yield part


def lock() -> int:
    """Write the hashes of every pin into its file."""
    index = _index()
    pins = list(_pins())
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda pin: hashes_of(pin, index), pins)
        hashes = {(pin.name.lower(), pin.version): those for pin, those in zip(pins, found, strict=True)}
    for name in FILES:
        path = ROOT / name
        parts = [
            Pin(part.name, part.version, part.line, hashes[part.name.lower(), part.version])
            if isinstance(part, Pin)
            else part
            for part in parse(path.read_text(encoding="utf-8"))
        ]
        if (text := written(parts)) != path.read_text(encoding="utf-8"):
            # Otherwise it would look newer than what was installed by it.
            path.write_text(text, encoding="utf-8")
    print(f"{len(pins)} pins, {sum(map(len, hashes.values()))} files")
    return 0


def check() -> int:
    """Name every requirement that pip could not check."""
    problems = [f"{name}: {one}" for name in FILES for one in unpinned((ROOT / name).read_text(encoding="utf-8"))]
    for problem in problems:
        print(f"{problem} has no version and hash; run `make lock`", file=sys.stderr)
    return 1 if problems else 0


def main() -> int:
    """Do what the command line asks for."""
    commands = {"lock": lock, "check": check}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    return commands[sys.argv[1]]()


if __name__ == "__main__":
    sys.exit(main())
