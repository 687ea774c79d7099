"""Starting, stopping, and not starting."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import asyncpg
import pytest
from websockets.asyncio.client import connect

from server.version import VERSION
from tests.server_process import PATIENCE
from tests.stores import Stores
from tests.whole.running import Server, data_folder, database_of


@pytest.fixture
async def settings(stores: Stores) -> AsyncIterator[dict[str, str]]:
    """A deployment of its own."""
    async with database_of(stores) as found:
        yield found


@pytest.fixture
def folder() -> Iterator[Path]:
    with data_folder() as found:
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
    server = await Server.spawn(**settings)
    async with server:
        assert server.process.stdout is not None
        line = (await server.process.stdout.readline()).decode()
        assert line.startswith("Brain Game is ready on http://127.0.0.1:")
        assert line.count("\n") == 1
        async with aiohttp.ClientSession(line.split()[-1]) as http, http.get("/readyz") as answer:
            assert answer.status == 200
        await server.stop()
        assert await server.process.stdout.read() == b""
    for line in server.log.splitlines():
        assert {"event", "level", "timestamp"} <= set(json.loads(line))


async def test_server_listens_where_it_is_told(settings: dict[str, str]) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.2", 0))
        port = found.getsockname()[1]
    server = await Server.start("--host", "127.0.0.2", "--port", str(port), **settings)
    async with server:
        assert server.port == port
        async with connect(f"ws://127.0.0.2:{port}/ws", proxy=None) as connection:
            assert json.loads(await connection.recv())["data"]["server"] == f"braingame/{VERSION}"


async def test_empty_database_is_set_up_by_itself_and_by_migrate(stores: Stores, empty_database_url: str) -> None:
    for flags in ([], ["--migrate"]):
        settings = {"DATABASE_URL": empty_database_url, "REDIS_URL": stores.redis_url}
        async with (
            await Server.start(*flags, **settings, BRAINGAME_JWT_SECRET="x" * 32) as server,
            server.client() as client,
        ):
            assert (await client.do("leaderboard.get"))["total"] == 0


async def test_settings_may_stand_in_a_file(settings: dict[str, str], folder: Path) -> None:
    lines = [f"{name}={value}\n" for name, value in {**settings, "BRAINGAME_STAGES": "7"}.items()]
    (folder / ".env").write_text("".join(lines))
    # The helper runs the server in its data folder.
    async with await Server.start(BRAINGAME_DATA_DIR=str(folder)) as server, server.client() as client:
        assert (await client.push("welcome"))["limits"]["stages"] == 7


# Not starting


async def test_bad_setting_is_named(settings: dict[str, str]) -> None:
    by_variable, by_flag, unknown = await asyncio.gather(
        complaint(**settings, BRAINGAME_LIMITS="maybe"),
        complaint("--port", "eighty", **settings),
        complaint("--nonsense", **settings),
    )
    assert by_variable.startswith("BRAINGAME_LIMITS: ")
    assert by_flag.startswith("BRAINGAME_PORT: ")
    assert "--nonsense" in unknown


async def test_port_in_use_is_named(settings: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert port in await complaint("--port", port, **settings)


async def test_host_that_is_not_ours_is_named(settings: dict[str, str]) -> None:
    assert "192.0.2.1" in await complaint("--host", "192.0.2.1", **settings)


async def test_stores_that_cannot_be_reached_are_named_without_their_passwords(
    settings: dict[str, str], folder: Path
) -> None:
    tried = [
        ("DATABASE_URL", "postgresql://nobody:hunter2@127.0.0.1:1/nothing"),
        ("DATABASE_URL", f"postgresql://nobody@/nothing?host={folder}"),
        ("REDIS_URL", "redis://nobody:hunter2@127.0.0.1:1/0"),
        ("REDIS_URL", f"unix://{folder}/nothing.sock"),
        ("REDIS_URL", "nonsense"),
    ]
    lines = await asyncio.gather(*(complaint(**{**settings, name: url}) for name, url in tried))
    for (name, _), line in zip(tried, lines, strict=True):
        assert line.startswith(f"{name}: "), line
        assert "hunter2" not in line


async def test_newer_schema_is_not_touched(settings: dict[str, str]) -> None:
    connection = await asyncpg.connect(settings["DATABASE_URL"])
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    lines = await asyncio.gather(complaint(**settings), complaint("--migrate", **settings))
    assert all("9999" in line for line in lines)
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == "9999"
    await connection.close()


async def test_data_folder_that_cannot_be_made_is_named(settings: dict[str, str], folder: Path) -> None:
    (folder / "file").touch()
    without_secret = {**settings, "BRAINGAME_JWT_SECRET": ""}
    line = await complaint("--data-dir", str(folder / "file" / "var"), **without_secret)
    assert str(folder / "file" / "var") in line


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


async def test_two_servers_in_a_row_go_on_with_the_same_deployment(stores: Stores) -> None:
    async with database_of(stores) as settings:
        async with await Server.start(**settings) as server, server.client() as client:
            granted = await client.register("lasting")
            begun = await client.do("session.start", key="before the restart")
            await client.do("session.close", score=5)
            board = await client.do("leaderboard.get")
        async with await Server.start(**settings) as server, server.client(granted["token"]) as client:
            assert (await client.push("welcome"))["session"]["sessionTotalScore"] == 5
            assert await client.do("session.start", key="before the restart") == {**begun, "replayed": True}
            assert await client.do("leaderboard.get") == board
