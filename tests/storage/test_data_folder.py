from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage.data_folder import DataFolder, DataFolderInUse, EmbeddedStoresError


async def test_second_server_on_one_folder_is_told_who_has_it(tmp_path: Path) -> None:
    async with DataFolder(tmp_path / "var"):
        with pytest.raises(DataFolderInUse, match=f"process {os.getpid()}"):
            await DataFolder(tmp_path / "var").lock()


async def test_folder_can_be_taken_again_after_it_was_let_go(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "var")
    for _ in range(2):
        await folder.lock()
        folder.unlock()
        folder.unlock()


async def test_folder_that_is_made_lets_the_stores_user_through_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        async with DataFolder(tmp_path / "var"):
            assert (tmp_path / "var").stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(before)


async def test_folders_on_the_way_are_made_alike(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        async with DataFolder(tmp_path / "a/b/var"):
            modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/var")}
            assert modes == {0o755}
    finally:
        os.umask(before)


async def test_nobody_else_can_open_the_locks_and_so_hold_them(tmp_path: Path) -> None:
    async with DataFolder(tmp_path):
        modes = {(tmp_path / name).stat().st_mode & 0o777 for name in ("server.lock", "stores.lock")}
        assert modes == {0o600}


async def test_link_to_the_folder_is_the_same_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "var")
    async with DataFolder(tmp_path / "var"):
        with pytest.raises(DataFolderInUse):
            await DataFolder(tmp_path / "link").lock()


async def test_mode_of_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir(mode=0o700)
    async with DataFolder(tmp_path / "var"):
        assert (tmp_path / "var").stat().st_mode & 0o777 == 0o700


async def test_server_waits_until_no_store_of_an_earlier_run_is_alive(tmp_path: Path) -> None:
    earlier = DataFolder(tmp_path)
    await earlier.lock()
    store = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        pass_fds=[earlier.stores_lock],
    )
    # As after a SIGKILL: the server's own descriptors are gone, the store's are not.
    earlier.unlock()

    later = DataFolder(tmp_path)
    waiting = asyncio.create_task(later.lock())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    store.communicate()
    await asyncio.wait_for(waiting, 10)
    later.unlock()


async def test_store_that_never_ends_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.data_folder.EARLIER_STORES_SECONDS", 0.1)
    holder = DataFolder(tmp_path)
    await holder.lock()
    keeper = os.dup(holder.stores_lock)
    holder.unlock()
    try:
        with pytest.raises(EmbeddedStoresError, match="earlier run"):
            await DataFolder(tmp_path).lock()
    finally:
        os.close(keeper)
    async with DataFolder(tmp_path):
        pass


async def test_path_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")
    with pytest.raises(EmbeddedStoresError, match="cannot be used"):
        await DataFolder(tmp_path / "var").lock()
