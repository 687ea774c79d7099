"""A version is in one place, and all that shows it reads it from there (docs/releasing.md)."""

from __future__ import annotations

import re
import subprocess
import tomllib

import pytest

from protocol.contracts import CONTRACT_VERSION, asyncapi, message_schemas, openapi
from server.version import VERSION
from storage.schema import OLDEST_USABLE, known_revisions
from tests.conftest import NOT_RUN
from tests.releases import Release, releases
from tests.server_process import ROOT

CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
HEADS = re.findall(r"^## (\d+\.\d+\.\d+)( \(unreleased\))?$", CHANGELOG, re.MULTILINE)


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def section(version: str) -> str:
    """What the changelog says of a version."""
    return CHANGELOG.partition(f"\n## {version}")[2].partition("\n## ")[0]


def test_changelog_begins_with_the_servers_version_and_goes_back_from_there() -> None:
    versions = [version for version, _ in HEADS]
    assert versions[0] == VERSION
    assert versions == sorted(versions, key=numbers, reverse=True)
    assert [version for version, unreleased in HEADS if unreleased] in ([], [VERSION])


def test_package_has_the_servers_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "server.version.VERSION"}


def test_every_document_of_the_contract_has_its_version() -> None:
    shown = (openapi()["info"]["version"], asyncapi()["info"]["version"], message_schemas()["version"])
    assert set(shown) == {CONTRACT_VERSION}


def test_changelog_names_the_contracts_version_when_it_is_new() -> None:
    if releases()[-1].contract != CONTRACT_VERSION:
        assert f"Contract {CONTRACT_VERSION}." in section(VERSION)


def test_server_is_newer_than_the_last_release_and_knows_its_schema() -> None:
    found = releases()
    assert found == sorted(found, key=lambda release: numbers(release.version))
    assert numbers(VERSION) > numbers(found[-1].version)
    assert found[-1].schema in known_revisions()
    # Its nodes may go on, and start again, while this version's schema is in place.
    assert found[-1].schema >= OLDEST_USABLE


@pytest.mark.parametrize("release", releases(), ids=lambda release: release.version)
def test_commit_of_a_release_is_what_the_table_says(release: Release) -> None:
    shallow = subprocess.run(
        ["git", "rev-parse", "--is-shallow-repository"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if shallow.stdout.strip() != "false":
        pytest.skip(f"{NOT_RUN}git's history does not reach to {release.version}; clone the whole history")

    def of(path: str) -> str:
        command = ["git", "show", f"{release.commit}:{path}"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert f'VERSION = "{release.version}"' in of("server/version.py")
    assert f'CONTRACT_VERSION: Final = "{release.contract}"' in of("protocol/contracts.py")
    command = ["git", "ls-tree", "--name-only", release.commit, "storage/migrations/versions/"]
    migrations = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert max(path.rpartition("/")[2].partition("_")[0] for path in migrations) == release.schema
