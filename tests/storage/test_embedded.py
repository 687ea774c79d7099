"""The real binaries, on real folders. What a killed server leaves behind is in tests/whole."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.asyncio
import structlog

from storage.data_folder import DataFolderInUse, EmbeddedStoresError
from storage.embedded import EmbeddedStores

_PATIENCE = 20.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may pass through, unlike pytest's own, so that root's stores stay inside."""
    with tempfile.TemporaryDirectory(prefix="bg-") as name:
        Path(name).chmod(0o755)
        yield Path(name) / "var"


def _stores(folder: Path, **which: bool) -> EmbeddedStores:
    return EmbeddedStores(folder, log=structlog.get_logger(), **which)


async def _sql(stores: EmbeddedStores, statement: str) -> Any:
    connection = await asyncpg.connect(stores.database_url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def _redis(stores: EmbeddedStores, *command: str) -> Any:
    assert stores.redis_url is not None
    async with redis.asyncio.Redis.from_url(stores.redis_url, decode_responses=True) as client:
        return await client.execute_command(*command)  # type: ignore[no-untyped-call]


async def _eventually(look: Callable[[], Awaitable[Any]]) -> Any:
    """What `look` gives once the store is back."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            try:
                return await look()
            except (OSError, asyncpg.PostgresError, redis.RedisError):
                await asyncio.sleep(0.05)


async def test_data_is_there_again_after_a_stop_and_a_start(folder: Path) -> None:
    async with _stores(folder) as stores:
        await _sql(stores, "CREATE TABLE kept AS SELECT 42 AS answer")
        await _redis(stores, "SET", "kept", "42")
    async with _stores(folder) as stores:
        assert await _sql(stores, "SELECT answer FROM kept") == 42
        assert await _redis(stores, "GET", "kept") == "42"


async def test_nobody_else_can_reach_them(folder: Path) -> None:
    async with _stores(folder) as stores:
        home = folder / "stores"
        for name in (home, home / "postgres", home / "valkey", home / "run"):
            assert stat.S_IMODE(name.stat().st_mode) == 0o700
        assert await _sql(stores, "SHOW listen_addresses") == ""
        assert (await _redis(stores, "CONFIG", "GET", "port"))["port"] == "0"
        if os.geteuid() == 0:
            assert home.stat().st_uid != 0


async def test_fsync_and_the_log_of_commands_are_on(folder: Path) -> None:
    async with _stores(folder) as stores:
        assert await _sql(stores, "SHOW fsync") == "on"
        assert await _sql(stores, "SHOW synchronous_commit") == "on"
        assert (await _redis(stores, "CONFIG", "GET", "appendonly"))["appendonly"] == "yes"


async def test_each_store_can_be_had_alone(folder: Path) -> None:
    async with _stores(folder, redis=False) as stores:
        assert stores.redis_url is None
        assert await _sql(stores, "SELECT 1") == 1
    async with _stores(folder, postgres=False) as stores:
        assert stores.database_url is None
        assert await _redis(stores, "PING")


async def test_second_server_on_the_folder_is_refused_and_the_first_goes_on(folder: Path) -> None:
    async with _stores(folder) as stores:
        with pytest.raises(DataFolderInUse):
            await _stores(folder).start()
        assert await _sql(stores, "SELECT 1") == 1


async def test_stores_that_are_killed_come_back_with_what_they_had(folder: Path) -> None:
    async with _stores(folder) as stores:
        await _sql(stores, "CREATE TABLE kept AS SELECT 42 AS answer")
        assert await _redis(stores, "SET", "kept", "42")
        postmaster = int((folder / "stores/postgres/postmaster.pid").read_text().split()[0])
        valkey = (await _redis(stores, "INFO", "server"))["process_id"]
        # Synced each second; what is younger may go, and the boards make up for it.
        await _redis(stores, "WAITAOF", "1", "0", "5000")
        for process in (postmaster, valkey):
            os.kill(process, signal.SIGKILL)
        assert await _eventually(lambda: _sql(stores, "SELECT answer FROM kept")) == 42
        assert await _eventually(lambda: _redis(stores, "GET", "kept")) == "42"


async def test_path_too_long_for_a_socket_is_no_obstacle(folder: Path) -> None:
    long = folder.parent / ("x" * 120) / "var"
    long.parent.mkdir(mode=0o755)
    async with _stores(long) as stores:
        assert await _sql(stores, "SELECT 1") == 1
        assert await _redis(stores, "PING")
        short = (long / "stores/run").readlink()
        assert stat.S_IMODE(short.stat().st_mode) == 0o700
    assert not short.exists()
    async with _stores(long) as stores:
        assert await _sql(stores, "SELECT 1") == 1


async def test_half_a_cluster_of_a_crashed_start_is_made_anew(folder: Path) -> None:
    home = folder / "stores"
    home.mkdir(parents=True)
    (home / "postgres.new-12345678").mkdir()
    (home / "postgres.new-12345678" / "PG_VERSION").write_text("18")
    folder.chmod(0o755)
    async with _stores(folder, redis=False) as stores:
        assert await _sql(stores, "SELECT 1") == 1
    assert not list(home.glob("postgres.new-*"))


async def test_cluster_of_another_version_is_left_alone(folder: Path) -> None:
    async with _stores(folder, redis=False):
        pass
    version = folder / "stores/postgres/PG_VERSION"
    version.write_text("9\n")
    with pytest.raises(EmbeddedStoresError, match="made by PostgreSQL 9"):
        await _stores(folder, redis=False).start()
    assert version.read_text() == "9\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's stores run as somebody else")
async def test_stores_of_root_live_elsewhere_when_their_user_cannot_get_in(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    folder.chmod(0o700)
    async with _stores(folder) as stores:
        assert await _sql(stores, "SELECT 1") == 1
        elsewhere = (folder / "stores").readlink()
        await _sql(stores, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    async with _stores(folder) as stores:
        assert await _sql(stores, "SELECT answer FROM kept") == 42
    assert elsewhere.is_relative_to("/var/lib/braingame")
    for path in sorted(elsewhere.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    elsewhere.rmdir()
