"""Operators of a real server: by HTTP and by the command line, with everybody connected who is concerned."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest_asyncio

from tests.server.clients import Client
from tests.server_process import PATIENCE, ROOT
from tests.stores import Stores
from tests.whole.board import Follower
from tests.whole.running import Server, data_folder, database_of

WHY = "scores nobody can reach"


async def command(settings: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run a command of `run_server.py` beside the server; gives exit code, output, complaint."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BRAINGAME_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "run_server.py"),
        *arguments,
        cwd=ROOT,
        env=inherited | {"DATABASE_URL": "", "REDIS_URL": ""} | settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        output, complaint = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), complaint.decode()


async def done(settings: dict[str, str], *arguments: str) -> str:
    code, output, complaint = await command(settings, *arguments)
    assert (code, complaint) == (0, "")
    return output


@dataclass
class Site:
    """A server, and what its commands need to find its database."""

    server: Server
    settings: dict[str, str]

    async def api(self, token: str, path: str, reason: str | None = None) -> tuple[int, dict[str, Any]]:
        """Status and body of /api/admin; with a reason it is an act."""
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
            url = f"{self.server.origin}/api/admin/{path}"
            request = session.get(url) if reason is None else session.post(url, json={"reason": reason})
            async with request as answer:
                return answer.status, await answer.json()


@pytest_asyncio.fixture(loop_scope="function")
async def site(stores: Stores) -> AsyncIterator[Site]:
    async with database_of(stores) as settings, await Server.start(**settings) as server:
        yield Site(server, settings)


async def test_cheater_vanishes_and_comes_back_by_http_and_by_command_line(site: Site) -> None:
    server = site.server
    async with server.client() as boss, server.client() as cheater, server.client() as honest, server.client() as crowd:
        token = (await boss.register("boss"))["token"]
        eve = await cheater.register("eve")
        number = eve["user"]["number"]
        await cheater.play(1000, 1000, 1000)
        await honest.register("bob")
        await honest.play(1, 2, 3)
        board = Follower(crowd, "all-time", 10)
        await board.subscribe()

        # No operator yet.
        status, said = await site.api(token, f"players/{number}/take-off-boards", WHY)
        assert (status, said["code"]) == (403, "forbidden")
        assert await names(honest) == ["eve", "bob"]
        await done(site.settings, "grant-admin", "BOSS@example.test")

        # By HTTP
        status, said = await site.api(token, f"players/{number}/take-off-boards", WHY)
        assert (status, said["player"]["offBoards"]) == (200, True)
        await board.until("eve", shown=False)
        await cheater.play(1000, 1000, 1001)
        assert await names(honest) == ["bob"]
        await site.api(token, f"players/{number}/put-back-on-boards", "looked again")
        await board.until("eve")
        await board.check()
        assert [entry["totalScore"] for entry in board.entries] == [3001, 6]

        # By the command line, which knows nothing but PostgreSQL
        await done(site.settings, "take-off-boards", str(number), "--reason", WHY)
        await board.until("eve", shown=False)
        assert await names(honest) == ["bob"]
        await done(site.settings, "put-back-on-boards", f"#{number}", "--reason", "looked once more")
        await board.until("eve")
        await board.check()

        # Logins
        await done(site.settings, "revoke-logins", str(number), "--reason", "stolen")
        assert await cheater.closed() == 4401
        async with server.client() as again:
            await again.do("auth.login", email="eve@example.test", password="correct horse")
            assert (await site.api(token, f"players/{number}/revoke-logins", "stolen again"))[0] == 200
            assert await again.closed() == 4401

        # Everything is on record, wherever it was done.
        _, record = await site.api(token, "acts")
        assert [(act["act"], (act["operator"] or {}).get("username"), act["reason"]) for act in record["acts"]] == [
            ("revoke_logins", "boss", "stolen again"),
            ("revoke_logins", None, "stolen"),
            ("put_back_on_boards", None, "looked once more"),
            ("take_off_boards", None, WHY),
            ("put_back_on_boards", "boss", "looked again"),
            ("take_off_boards", "boss", WHY),
            ("grant_admin", None, ""),
        ]
        listed = await done(site.settings, "acts")
        assert len(listed.splitlines()) == 1 + len(record["acts"])
        assert all(act["reason"] in listed for act in record["acts"])

        await done(site.settings, "withdraw-admin", "boss@example.test")
        assert (await site.api(token, "acts"))[0] == 403


async def names(client: Client) -> list[str]:
    return [entry["username"] for entry in (await client.do("leaderboard.get"))["entries"]]


async def test_commands_find_the_embedded_database_with_and_without_a_server() -> None:
    with data_folder() as folder:
        settings = {"BRAINGAME_DATA_DIR": str(folder)}
        async with await Server.start(**settings) as server:
            async with server.client() as client:
                await client.register("eve")
                await client.play(1, 2, 3)
                code, _, complaint = await command(settings, "players", "nobody")
                assert code == 2
                assert len(complaint.splitlines()) == 1
                assert "eve@example.test" in await done(settings, "players", "#1")
                assert "players" in await done(settings, "figures", "--url", server.origin)
            # The server has not noticed anything.
            assert server.alive
        log = await done(settings, "session-log", "1")
        assert [line.split()[3] for line in log.splitlines()[2:]] == ["start", "complete", "complete", "complete"]
        # Nothing was left running: the next one has the folder for itself.
        await done(settings, "take-off-boards", "1", "--reason", WHY)
        async with await Server.start(**settings) as server, server.client() as client:
            assert (await client.do("leaderboard.get"))["entries"] == []
