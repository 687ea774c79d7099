"""What was released, by the table of docs/releasing.md, and the tree of a release from git's history."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import NOT_RUN
from tests.server_process import ROOT

_ROW = re.compile(r"\| (\d+\.\d+\.\d+) \| `([0-9a-f]{7,40})` \| (\d+\.\d+\.\d+) \| (\d{4}) \|")


@dataclass(frozen=True)
class Release:
    """One line of the table."""

    version: str
    commit: str
    contract: str
    schema: str

    def unpack(self, folder: Path) -> Path:
        """Its tree, in this empty folder. Without git, or with a history that does not reach so far, NOT RUN."""
        shallow = False
        try:
            shallow = _git("rev-parse", "--is-shallow-repository").strip() == b"true"
            archive = _git("archive", "--format=tar", self.commit)
        except (OSError, subprocess.CalledProcessError) as error:
            said = (getattr(error, "stderr", b"") or str(error).encode()).decode().strip()
            reason = f"git has no commit {self.commit} of {self.version} ({said})"
            # Where the whole history is, the table is wrong.
            if not (shallow or "not a git repository" in said or isinstance(error, OSError)):
                raise AssertionError(reason) from error
            pytest.skip(f"{NOT_RUN}{reason}; clone the whole history")
        subprocess.run(["tar", "--extract", "--directory", folder], input=archive, check=True)
        return folder


def releases() -> list[Release]:
    """Every release, the oldest first."""
    text = (ROOT / "docs/releasing.md").read_text(encoding="utf-8")
    return [Release(*row) for row in _ROW.findall(text)]


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout
