"""Boards as the contract describes them, seen from outside: order, windows, deltas that add up, slow readers."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import redis.asyncio

from tests.server.clients import Client
from tests.server_process import PATIENCE
from tests.stores import Stores
from tests.whole.board import Follower
from tests.whole.running import Server, server_on

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Long replies that a slow reader asks for and does not read.
UNREAD = 120


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unlimited(stores: Stores) -> AsyncIterator[Server]:
    """Without limits: a few sockets stand for many players. Each test has a difficulty, and so boards, of its own."""
    async with server_on(stores, BRAINGAME_LIMITS="off", BRAINGAME_BOARD_HZ="50") as found:
        yield found


async def test_without_limits_nobody_is_refused(unlimited: Server) -> None:
    async with unlimited.client() as client:
        await client.push("welcome")
        requests = [await client.send("ping") for _ in range(2000)]
        for request in requests:
            assert (await client.reply(request))["type"] == "pong"


async def play(client: Client, difficulty: int, *scores: int, fail: bool = False) -> None:
    """A session to its end: finished, or failed in the stage after these."""
    await client.do("session.start", difficulty=difficulty)
    for score in scores:
        await client.do("session.complete", score=score)
    if fail:
        await client.do("session.close", score=0)


def rows(board: dict[str, Any]) -> list[tuple[int, str, int]]:
    return [(entry["position"], entry["username"], entry["totalScore"]) for entry in board["entries"]]


async def test_order_of_a_board(unlimited: Server) -> None:
    async with unlimited.client() as client:
        for name, scores, fail in (
            ("order failed", (900, 900), True),
            ("order low", (1, 1, 1), False),
            ("order first", (5, 5, 5), False),
            ("order second", (5, 4, 6), False),
            ("order high", (6, 6, 6), False),
        ):
            await client.do(
                "auth.register", email=f"{name.replace(' ', '')}@example.test", username=name, password="x" * 8
            )
            await play(client, 1, *scores, fail=fail)
        board = await client.do("leaderboard.get", board="all-time:1")
        assert rows(board) == [
            (1, "order high", 18),
            (2, "order first", 15),  # equal scores: who was earlier
            (3, "order second", 15),
            (4, "order low", 3),
            (5, "order failed", 1800),  # did not pass all games
        ]
        assert set(board) == {"board", "epoch", "version", "total", "entries"}
        assert set(board["entries"][0]) == {
            "position",
            "number",
            "username",
            "totalScore",
            "passedAllGames",
            "achievedAt",
        }
        for name in ("weekly:1", "daily:1"):
            assert rows(await client.do("leaderboard.get", board=name)) == rows(board)
        assert rows(await client.do("leaderboard.get", board="daily:8")) == []


async def test_equal_score_reached_by_the_later_registered_first_stands_higher(unlimited: Server) -> None:
    async with unlimited.client() as older, unlimited.client() as younger:
        await older.register("olderaccount")
        await younger.register("youngeraccount")
        await play(younger, 2, 1, 2, 3)
        await play(older, 2, 3, 2, 1)
        board = await older.do("leaderboard.get", board="all-time:2")
        assert [entry["username"] for entry in board["entries"]] == ["youngeraccount", "olderaccount"]
        # Reaching the same once more does not change who was earlier.
        await play(younger, 2, 1, 2, 3)
        again = await older.do("leaderboard.get", board="all-time:2")
        assert again["entries"] == board["entries"]


async def test_playing_more_never_lowers_an_entry(unlimited: Server) -> None:
    async with unlimited.client() as client:
        await client.register("stubborn")
        await play(client, 3, 10, 10, 10)
        best = await client.do("leaderboard.get", board="all-time:3")
        await play(client, 3, 1, 1, 1)
        await play(client, 3, 900_000, 900_000, fail=True)
        await client.do("session.start", difficulty=3)
        await client.do("session.complete", score=900_000)
        await client.do("session.cancel")
        assert await client.do("leaderboard.get", board="all-time:3") == best


async def test_windows_and_the_stretch_around_a_player(unlimited: Server) -> None:
    async with unlimited.client() as client:
        for index in range(12):
            await client.register(f"window{index}")
            await play(client, 4, 100 - index, 0, 0)
        top = rows(await client.do("leaderboard.get", board="all-time:4", limit=100))
        assert [position for position, *_ in top] == list(range(1, 13))
        for offset, limit in ((0, 5), (5, 5), (10, 5), (12, 5), (2**31 - 1, 1)):
            board = await client.do("leaderboard.get", board="all-time:4", offset=offset, limit=limit)
            assert (rows(board), board["total"]) == (top[offset : offset + limit], 12)
        await client.do("auth.login", email="window5@example.test", password="correct horse")
        around = await client.do("leaderboard.get", board="all-time:4", around="me", limit=5)
        assert rows(around) == top[3:8]
        error = await client.error("leaderboard.get", board="all-time:4", around="me", offset=0)
        assert (error["code"], error["fields"][0]["path"]) == ("invalid", "offset")


async def test_bad_requests_for_boards_are_refused(unlimited: Server) -> None:
    async with unlimited.client() as client:
        for kind in ("leaderboard.get", "leaderboard.subscribe", "leaderboard.unsubscribe"):
            for board in ("hourly", "daily:10", "daily:", "daily:-1", "all-time@2026-11-23", ""):
                error = await client.error(kind, board=board)
                assert (error["code"], error["retryable"]) == ("unknown_board", False)
        for kind, data, path in (
            ("leaderboard.get", {"limit": 0}, "limit"),
            ("leaderboard.get", {"limit": 101}, "limit"),
            ("leaderboard.get", {"offset": -1}, "offset"),
            ("leaderboard.get", {"around": "you"}, "around"),
            ("leaderboard.subscribe", {"limit": 11}, "limit"),
            ("leaderboard.subscribe", {"since": {"epoch": "x"}}, "since.version"),
            ("leaderboard.subscribe", {"since": 7}, "since"),
        ):
            error = await client.error(kind, **data)
            assert (error["code"], [field["path"] for field in error["fields"]]) == ("invalid", [path])


async def test_player_sees_what_it_has_just_done(unlimited: Server) -> None:
    async with unlimited.client() as client:
        await client.register("impatient")
        for score in range(1, 20):
            await play(client, 5, score, 0, 0)
            board = await client.do("leaderboard.get", board="daily:5")
            assert rows(board) == [(1, "impatient", score)]


async def test_spectator_sees_each_change_as_deltas_that_add_up(unlimited: Server) -> None:
    draw = random.Random(20261123)
    async with AsyncExitStack() as stack:
        players = [await stack.enter_async_context(unlimited.client()) for _ in range(14)]
        for index, player in enumerate(players):
            await player.register(f"delta{index}")
        followers = [
            Follower(await stack.enter_async_context(unlimited.client()), board, limit)
            for board, limit in (("all-time:6", 10), ("daily:6", 25), ("weekly:6", 100))
        ]
        for follower in followers:
            await follower.subscribe()
        for _ in range(40):
            acting = draw.sample(players, draw.choice((1, 1, 2, 5)))
            await asyncio.gather(
                *(play(player, 6, draw.randrange(5), draw.randrange(5), fail=draw.random() < 0.4) for player in acting)
            )
            for follower in followers:
                await follower.check()
        for follower in followers:
            assert follower.total == len(players)  # more than the shortest of the limits
            assert follower.deltas > 10
            assert follower.fulls == 0
            assert all("@" not in str(entry) for entry in follower.entries)


async def test_subscription_goes_on_from_what_the_client_holds(unlimited: Server) -> None:
    async with unlimited.client() as player, unlimited.client() as spectator:
        await player.register("since")
        await play(player, 7, 1, 1, 1)
        follower = Follower(spectator, "all-time:7", 10)
        await follower.subscribe()
        held = {"epoch": follower.epoch, "version": follower.version}
        await spectator.do("leaderboard.unsubscribe", board="all-time:7")
        reply = await spectator.do("leaderboard.subscribe", board="all-time:7", since=held)
        assert (reply["entries"], reply["version"]) == (None, follower.version)
        await play(player, 7, 2, 2, 2)
        await follower.check()
        assert (follower.deltas, follower.fulls) == (1, 0)
        for since in (held, {"epoch": "another", "version": follower.version}):
            assert (await spectator.do("leaderboard.subscribe", board="all-time:7", since=since))["entries"]


async def test_who_unsubscribes_hears_nothing_more(unlimited: Server) -> None:
    async with unlimited.client() as player, unlimited.client() as leaving, unlimited.client() as staying:
        await player.register("unheard")
        follower = Follower(staying, "all-time:8", 10)
        await follower.subscribe()
        await leaving.do("leaderboard.subscribe", board="all-time:8")
        assert await leaving.do("leaderboard.unsubscribe", board="all-time:8") == {}
        assert await leaving.do("leaderboard.unsubscribe", board="all-time:8") == {}  # once more changes nothing
        await play(player, 8, 1, 1, 1)
        await follower.check()
        await leaving.do("ping")
        assert [message["type"] for message in leaving.pushes] == ["welcome"]


async def test_burst_comes_conflated_and_complete(unlimited: Server) -> None:
    async with unlimited.client() as player, unlimited.client() as spectator:
        hertz = (await spectator.push("welcome"))["limits"]["boardHz"]
        await player.register("burst")
        follower = Follower(spectator, "all-time:9", 10)
        await follower.subscribe()
        loop = asyncio.get_running_loop()
        started = loop.time()
        for score in range(100):
            await play(player, 9, score, fail=True)
        await follower.check()
        assert follower.deltas <= (loop.time() - started) * hertz + 2
        assert [entry["totalScore"] for entry in follower.entries] == [99]


def memory_of(server: Server) -> int:
    """Resident bytes."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


async def until_quiet(server: Server) -> None:
    """Wait until the server has nothing to do."""
    used = -1
    while (now := cpu_ticks_of(server)) > used + 1:
        used = now
        await asyncio.sleep(0.3)


def cpu_ticks_of(server: Server) -> int:
    """Hundredths of a second that it has computed."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def narrow_connection(server: Server) -> socket.socket:
    """A connection that holds little of what nobody reads, on the server's side too: it sends small segments."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", server.port))
    return plain


async def test_slow_readers_get_a_fresh_board_and_disturb_nobody(stores: Stores) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(server_on(stores, BRAINGAME_LIMITS="off", BRAINGAME_BOARD_HZ="50"))
        players = [await stack.enter_async_context(server.client()) for _ in range(100)]
        await asyncio.gather(*(player.register(f"slow{index}") for index, player in enumerate(players)))

        async def improve(index: int, score: int) -> None:
            await players[index].do("session.start")
            await players[index].do("session.close", score=score)

        await asyncio.gather(*(improve(index, 1) for index in range(len(players))))
        slow = []
        for _ in range(3):
            plain = await narrow_connection(server)
            reader = Follower(await stack.enter_async_context(server.client(sock=plain, max_queue=1)), "all-time", 100)
            await reader.subscribe()
            slow.append(reader)
        quick = Follower(await stack.enter_async_context(server.client()), "all-time", 100)
        await quick.subscribe()

        before = memory_of(server)
        for reader in slow:
            for _ in range(UNREAD):
                await reader.client.send("leaderboard.get", limit=100)
        await until_quiet(server)  # no room is left in the network, so the server waits for its readers
        for score in range(2, 7):
            await asyncio.gather(*(improve(index, score) for index in range(len(players))))
            await quick.check()  # the others are not disturbed
        assert quick.fulls == 0
        assert quick.deltas >= 5
        assert memory_of(server) - before < 20 * 2**20

        async def wake_up(reader: Follower) -> None:
            for _ in range(UNREAD):
                while "re" not in (message := await reader.client.receive()):
                    reader.push(message)
            await reader.check()

        await asyncio.gather(*(wake_up(reader) for reader in slow))
        for reader in slow:
            assert reader.fulls >= 1
            assert reader.deltas < quick.deltas
            assert reader.entries == quick.entries


async def test_emptied_redis_comes_right_by_itself(unlimited: Server, stores: Stores) -> None:
    async with unlimited.client() as player, unlimited.client() as spectator:
        await player.register("flushed")
        await play(player, 0, 1, 2, 3)
        follower = Follower(spectator, "all-time:0", 10)
        await follower.subscribe()
        await follower.check()
        entries, epoch = follower.entries, follower.epoch
        async with redis.asyncio.Redis.from_url(stores.redis_url) as valkey:
            await valkey.flushall()
        async with asyncio.timeout(PATIENCE):
            while follower.fulls == 0:
                follower.push(await spectator.receive())
        await follower.check()
        assert follower.entries == entries
        assert follower.epoch != epoch
        await play(player, 0, 4, 5, 6)
        await follower.check()
        assert [entry["totalScore"] for entry in follower.entries] == [15]


async def test_player_is_told_its_own_place_and_a_spectator_is_not(unlimited: Server) -> None:
    async with unlimited.client() as ann, unlimited.client() as bob, unlimited.client() as spectator:
        for client in (ann, bob, spectator):
            others = (await client.do("leaderboard.subscribe", board="weekly:1"))["total"]
        await ann.register("placedone")
        await bob.register("placedtwo")
        await play(ann, 1, 900_000, 0, 0)  # above whatever other tests have left here
        place = await ann.push("leaderboard.place")
        assert (place["board"], place["position"], place["total"]) == ("weekly:1", 1, others + 1)
        await play(bob, 1, 900_001, 0, 0)
        for client, position in ((bob, 1), (ann, 2)):
            place = await client.push("leaderboard.place")
            assert (place["board"], place["position"], place["total"]) == ("weekly:1", position, others + 2)
        board = await ann.do("leaderboard.get", board="weekly:1")
        assert (place["epoch"], place["version"]) == (board["epoch"], board["version"])
        # One that has left is told nothing more, nor is one whose socket is a spectator's again.
        await ann.do("leaderboard.unsubscribe", board="weekly:1")
        await bob.do("auth.logout")
        async with unlimited.client() as cem:
            await cem.register("placedthree")
            await cem.do("leaderboard.subscribe", board="weekly:1")
            await play(cem, 1, 900_002, 0, 0)
            assert (await cem.push("leaderboard.place"))["position"] == 1
        for client in (ann, bob, spectator):
            await client.do("ping")
            assert "leaderboard.place" not in [message["type"] for message in client.pushes]
