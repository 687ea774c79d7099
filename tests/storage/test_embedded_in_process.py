"""The embedded stores of a process that is killed, interrupted, or run by somebody else."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from storage.embedded import EmbeddedStores
from tests.storage.own_stores import (
    AS_ROOT,
    NOBODY,
    Events,
    client_of,
    connected,
    is_alive,
    postmaster,
    processes_in,
    read,
    started,
    until,
    why_not_as_nobody,
    write,
)

both_loops = pytest.mark.parametrize("loop", [(), ("--uvloop",)], ids=["asyncio", "uvloop"])


def beside(folder: Path) -> Path:
    return folder.with_name("shared")


def stores_in(folder: Path) -> EmbeddedStores:
    return EmbeddedStores(folder, log=Events(), shared_home=beside(folder))


@both_loops
async def test_killed_server_leaves_no_store_and_loses_nothing(used: Path, loop: tuple[str, ...]) -> None:
    async with AsyncExitStack() as held:
        server = await held.enter_async_context(started(used, beside(used), *loop))
        await server.ready()
        await write(server, "before the kill")
        # A backend that is busy, and one that waits for its client.
        busy = await held.enter_async_context(connected(server.database_url))
        work = asyncio.create_task(busy.execute("SELECT pg_sleep(600)"))
        await held.enter_async_context(connected(server.database_url))
        await until(lambda: any("SELECT" in name for name in names(processes_in(used))))

        await server.end(signal.SIGKILL)
        # At once, while the old stores are still about to end.
        async with stores_in(used) as stores:
            rows, values = await read(stores)
            assert rows == values
            assert rows[-1] == "before the kill"
        assert (await asyncio.gather(work, return_exceptions=True))[0] is not None
    assert processes_in(used) == set()


def names(pids: set[int]) -> list[str]:
    """What the processes call themselves; PostgreSQL says what they do."""
    return [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids if is_alive(pid)]


async def test_stores_of_a_killed_server_end_by_themselves(used: Path) -> None:
    async with started(used, beside(used)) as server:
        await server.ready()
        assert len(processes_in(used)) > 2
        await server.end(signal.SIGKILL)
        await until(lambda: processes_in(used) == set())
        *_, last = (used / "log/postgres.log").read_text().splitlines()
        assert "database system is shut down" in last  # in order, so that the next start has nothing to repair


async def test_next_server_waits_for_a_store_that_ends_late(folder: Path) -> None:
    async with started(folder, beside(folder), "--without-postgres") as server:
        await server.ready()
        async with client_of(server.redis_url) as client:
            late = int((await client.info("server"))["process_id"])
        os.kill(late, signal.SIGSTOP)
        try:
            await server.end(signal.SIGKILL)
            stores = EmbeddedStores(folder, postgres=False, log=Events(), shared_home=beside(folder))
            start = asyncio.create_task(stores.start())
            # Two Valkeys on one folder would both run, and both would write.
            await asyncio.wait([start], timeout=0.3)
            assert not start.done()
            assert processes_in(folder) == {late}
        finally:
            os.kill(late, signal.SIGCONT)
        await start
        assert not is_alive(late)
        await stores.stop()


async def test_half_a_cluster_of_a_killed_server_is_made_anew(folder: Path) -> None:
    async with started(folder, beside(folder)) as server:
        await until(lambda: any(folder.glob("stores/postgres.new-*/base")))
        await server.end(signal.SIGKILL)
    (half,) = folder.glob("stores/postgres*")
    assert half.name != "postgres"
    async with stores_in(folder) as stores:
        await write(stores, "after")
    assert [path.name for path in folder.glob("stores/postgres*")] == ["postgres"]


@both_loops
async def test_ctrl_c_reaches_the_server_alone_so_that_it_can_drain(used: Path, loop: tuple[str, ...]) -> None:
    async with started(used, beside(used), *loop) as server:
        await server.ready()
        before = {postmaster(used)}
        os.killpg(server.process.pid, signal.SIGINT)  # what a terminal does
        assert await server.line() == {"drained": True}
        assert await server.code() == 0
        assert not any(is_alive(pid) for pid in before)
    log = (used / "log/postgres.log").read_text()
    assert log.rstrip().endswith("database system is shut down")
    assert processes_in(used) == set()


# As another user


@pytest.fixture
def uid(folder: Path) -> int:
    """An ordinary user: ourselves, or as root somebody to whom the room beside the folder is given."""
    if not AS_ROOT:
        return os.geteuid()
    if reason := why_not_as_nobody():
        pytest.skip(reason)
    os.chown(folder.parent, NOBODY.pw_uid, NOBODY.pw_gid)
    return NOBODY.pw_uid


async def test_ordinary_users_stores_are_that_users_alone_whatever_the_umask(folder: Path, uid: int) -> None:
    async with started(folder, beside(folder), "--umask=002", uid=uid) as server:
        await server.ready()
        await write(server, "mine")
        for path in [folder, *folder.rglob("*")]:
            mode = path.lstat().st_mode
            assert path.lstat().st_uid == uid
            assert stat.S_ISLNK(mode) or mode & 0o022 == 0, path
        assert stat.S_IMODE((folder / "stores").stat().st_mode) == 0o700
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in processes_in(folder)} == {uid}
        assert await server.end(signal.SIGTERM) == 0
    assert not beside(folder).exists()
    async with started(folder, beside(folder), "--umask=077", uid=uid) as server:
        await server.ready()
        assert await read(server) == (["mine"], ["mine"])


async def test_folder_that_cannot_be_written_is_one_clear_line(folder: Path, uid: int) -> None:
    folder.parent.chmod(0o555)
    async with started(folder, beside(folder), uid=uid) as server:
        assert await server.line() == {"error": f"the data folder {folder} cannot be used: Permission denied"}
        assert await server.code() == 2
    folder.parent.chmod(0o755)
    folder.mkdir()
    subprocess.run(["chown", str(uid), folder], check=True)
    (folder / "stores").mkdir()
    (folder / "stores").chmod(0o555)
    if AS_ROOT:
        os.chown(folder / "stores", uid, -1)
    async with started(folder, beside(folder), uid=uid) as server:
        expected = f"the stores cannot be set up in {folder}: Permission denied: {folder}/stores/run"
        assert await server.line() == {"error": expected}
        assert await server.code() == 2
