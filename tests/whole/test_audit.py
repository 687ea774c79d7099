"""The audit from outside, beside a server that is played on: commands, rolling check, and what subscribers see."""

from __future__ import annotations

import asyncio
import json
import re

import aiohttp
import asyncpg

from tests.server.clients import Client
from tests.server_process import PATIENCE
from tests.stores import Stores
from tests.whole.board import Follower
from tests.whole.running import Server, data_folder, database_of
from tests.whole.test_operators import command, done


async def play_for_ever(client: Client) -> None:
    while True:
        await client.play(1, 2, 3)


async def test_audit_and_rebuild_beside_a_server_that_is_played_on(stores: Stores) -> None:
    # Nobody plays that fast by hand.
    async with database_of(stores) as settings, await Server.start(**settings, BRAINGAME_LIMITS="off") as server:
        async with server.client() as one, server.client() as last, server.client() as crowd:
            for name, client in (("ada", one), ("eve", last)):
                await client.register(name)
            await last.play(4, 4, 4)
            playing = asyncio.create_task(play_for_ever(one))
            board = Follower(crowd, "all-time", 10)
            await board.subscribe()

            found = json.loads(await done(settings, "audit", "--json"))
            assert (found["players"], found["differences"], found["redis"]) == (2, 0, "looked at")
            assert found["events"] > 0

            # Somebody has changed the tables by hand, and the boards follow.
            sql = await asyncpg.connect(settings["DATABASE_URL"])
            await sql.execute(
                "UPDATE ladder_entries SET total_score = 9999, changed_by = pg_current_xact_id() WHERE number = 2"
            )
            await sql.close()
            await shows(board, "eve", 9999)
            code, output, _ = await command(settings, "audit", "--ladder", "all-time")
            assert code == 1
            assert "entry all-time #2: total_score is 9999, not 12" in output.splitlines()

            output = await done(settings, "rebuild")
            assert "mended: entry all-time #2: total_score is 9999, not 12" in output.splitlines()
            # Subscribers are sent the new board, though nobody has played on it.
            await shows(board, "eve", 12)
            await board.check()
            assert await checked_players(server) > 0
            assert not playing.done()
            playing.cancel()
            await asyncio.wait([playing])
        # It may have logged what its rolling check has found meanwhile, as it should.
        await server.kill()


async def checked_players(server: Server) -> float:
    """How many the rolling check has looked at, as soon as it has had its first look."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE):
        while True:
            async with session.get(f"{server.origin}/metrics") as answer:
                found = re.search(r"^braingame_check_players_total (\S+)$", await answer.text(), re.MULTILINE)
            assert found is not None
            if float(found[1]):
                return float(found[1])
            await asyncio.sleep(0.1)


async def shows(board: Follower, username: str, score: int) -> None:
    """Wait, without asking for anything, until the board has this score of theirs."""
    async with asyncio.timeout(PATIENCE):
        while True:
            board.catch_up()
            if any((entry["username"], entry["totalScore"]) == (username, score) for entry in board.entries):
                return
            board.push(await board.client.receive())


async def test_audit_finds_the_embedded_stores_with_and_without_a_server() -> None:
    with data_folder() as folder:
        settings = {"BRAINGAME_DATA_DIR": str(folder)}
        async with await Server.start(**settings) as server:
            async with server.client() as client:
                await client.register("ada")
                await client.play(1, 2, 3)
            found = json.loads(await done(settings, "audit", "--json"))
            assert (found["events"], found["differences"], found["redis"]) == (4, 0, "looked at")
        code, output, _ = await command(settings, "audit", "--json")
        assert code == 0
        again = json.loads(output)
        boards = {board["ladder"]: board for board in again["ladders"]}
        assert boards["all-time"]["redis"] == boards["all-time"]["log"] is not None
        assert [board for board in again["ladders"] if board["entries"]] == [
            board for board in found["ladders"] if board["entries"]
        ]
