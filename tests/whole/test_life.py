"""Starting, stopping, and not starting."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import asyncpg
import pytest
from websockets.asyncio.client import connect

from server.version import VERSION
from tests.server_process import PATIENCE
from tests.stores import Stores
from tests.whole.running import Server, database_of


@pytest.fixture
async def settings(stores: Stores) -> AsyncIterator[dict[str, str]]:
    """A deployment of its own."""
    async with database_of(stores) as found:
        yield found


async def complaint(*flags: str, **variables: str) -> str:
    """What a server that cannot start says; it has to be one line, and exit code 2."""
    server = await Server.spawn(*flags, **variables)
    assert server.process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        printed = await server.process.stdout.read()
    assert await server.exit_code() == 2, server.log
    assert printed == b""
    (line,) = server.log.splitlines()
    assert line.startswith("Brain Game cannot start: ")
    return line.removeprefix("Brain Game cannot start: ")


# Starting


async def test_ready_is_one_line_and_logs_go_to_standard_error(settings: dict[str, str]) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.2", 0))
        port = found.getsockname()[1]
    server = await Server.spawn("--host", "127.0.0.2", "--port", str(port), **settings)
    async with server:
        assert server.process.stdout is not None
        line = (await server.process.stdout.readline()).decode()
        assert line == f"Brain Game is ready on http://127.0.0.2:{port}\n"
        async with aiohttp.ClientSession(line.split()[-1]) as http, http.get("/readyz") as answer:
            assert answer.status == 200
        async with connect(f"ws://127.0.0.2:{port}/ws", proxy=None) as connection:
            assert json.loads(await connection.recv())["data"]["server"] == f"braingame/{VERSION}"
        await server.stop()
        assert await server.process.stdout.read() == b""
    for line in server.log.splitlines():
        assert {"event", "level", "timestamp"} <= set(json.loads(line))


async def test_migrate_sets_an_empty_database_up(stores: Stores, empty_database_url: str) -> None:
    settings = {
        "DATABASE_URL": empty_database_url,
        "REDIS_URL": stores.redis_url,
        "BRAINGAME_JWT_SECRET": "a secret for tests that is long enough",
    }
    async with await Server.start("--migrate", **settings) as server, server.client() as client:
        assert (await client.do("leaderboard.get"))["total"] == 0


# Not starting: one process for each kind of reason; their many variants are in tests/server/test_main.py


async def test_server_that_cannot_start_names_what_is_wrong(
    settings: dict[str, str], stores: Stores, empty_database_url: str
) -> None:
    newer = await asyncpg.connect(empty_database_url)
    await newer.execute("CREATE TABLE deployment (); CREATE TABLE alembic_version AS SELECT '9999' AS version_num")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        by_setting, by_port, by_database, by_redis, by_schema = await asyncio.gather(
            complaint(**settings, BRAINGAME_LIMITS="maybe"),
            complaint("--port", port, **settings),
            complaint(**{**settings, "DATABASE_URL": "postgresql://nobody:hunter2@127.0.0.1:1/nothing"}),
            complaint(**{**settings, "REDIS_URL": "redis://nobody:hunter2@127.0.0.1:1/0"}),
            complaint("--migrate", **{**settings, "DATABASE_URL": empty_database_url}),
        )
    assert by_setting.startswith("BRAINGAME_LIMITS: ")
    assert port in by_port
    assert by_database.startswith("DATABASE_URL: ")
    assert by_redis.startswith("REDIS_URL: ")
    assert "hunter2" not in by_database + by_redis
    assert "9999" in by_schema
    assert await newer.fetchval("SELECT version_num FROM alembic_version") == "9999"  # and nothing was touched
    await newer.close()


# Stopping


async def test_sigterm_drains(settings: dict[str, str]) -> None:
    """The server tells its clients, answers what was asked, lets nobody in any more, and goes with code 0."""
    async with await Server.start(**settings, BRAINGAME_BCRYPT_COST="12") as server:
        async with server.client() as busy, AsyncExitStack() as stack:
            idle = [await stack.enter_async_context(server.client()) for _ in range(20)]
            await idle[0].do("leaderboard.subscribe")
            await busy.register("busy")
            # A login takes its time, and all else waits behind it.
            asked = [
                await busy.send("auth.login", email="busy@example.test", password="correct horse"),
                await busy.send("session.start"),
                *[await busy.send("session.complete", score=score) for score in (1, 2, 3)],
                *[await busy.send("ping") for _ in range(10)],
            ]
            await asyncio.wait_for(await busy.connection.ping(), PATIENCE)  # the server has read them
            server.process.send_signal(signal.SIGTERM)
            told = [await busy.push("server.draining")]
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", server.port)
            replies = [await busy.reply(request) for request in asked]
            assert [reply["type"] for reply in replies[:5]] == ["authenticated"] + ["session"] * 4
            assert replies[4]["data"]["sessionTotalScore"] == 6
            for client in (busy, *idle):
                assert await client.closed() == 1001
            told += [await client.push("server.draining") for client in idle]
            assert all(0 < draining["reconnectAfterMs"] <= 2000 for draining in told)
            assert len({draining["reconnectAfterMs"] for draining in told}) > 5  # not all at once
        assert await server.exit_code() == 0
    connection = await asyncpg.connect(settings["DATABASE_URL"])
    assert await connection.fetchval("SELECT total_score FROM sessions") == 6
    await connection.close()


async def test_ctrl_c_drains_too_and_neither_more_signals_nor_idle_connections_disturb(
    settings: dict[str, str],
) -> None:
    async with (
        await Server.start(**settings) as server,
        server.client() as client,
        aiohttp.ClientSession(server.origin) as http,
    ):
        async with http.get("/healthz") as answer:
            assert answer.status == 200  # and the connection stays open
        silent, writer = await asyncio.open_connection("127.0.0.1", server.port)
        server.process.send_signal(signal.SIGINT)
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGINT)
        assert await client.closed() == 1001
        assert await server.exit_code() == 0
        assert await silent.read() == b""
        writer.close()
