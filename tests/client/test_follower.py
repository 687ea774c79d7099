"""A board that is kept whole, whatever the server and the network do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from client.errors import RequestRefused
from client.follower import Follower
from client.player import connect
from tests.client.scripted import Json, Talk, scripted

DEADLINE = 10.0


async def quickly(_seconds: float) -> None:
    await asyncio.sleep(0.001)


def entry(number: int, score: int) -> Json:
    return {
        "number": number,
        "username": f"player {number}",
        "totalScore": score,
        "passedAllGames": True,
        "achievedAt": "2026-11-23T13:24:02.007Z",
    }


def board(version: int, *entries: Json, epoch: str = "e", **more: Any) -> Json:
    ranked = [{"position": position, **one} for position, one in enumerate(entries, start=1)]
    return {"board": "daily", "epoch": epoch, "version": version, "total": len(entries), "entries": ranked} | more


def delta(old: int, new: int, *upserts: Json, removals: tuple[int, ...] = (), epoch: str = "e") -> Json:
    return {
        "board": "daily",
        "epoch": epoch,
        "from": old,
        "version": new,
        "total": 2,
        "upserts": list(upserts),
        "removals": list(removals),
    }


async def shown(follower: Follower, *expected: tuple[int, int]) -> None:
    """Wait until the live state has these numbers and scores."""
    async with asyncio.timeout(DEADLINE):
        while True:
            state = follower.state
            held = () if state is None else tuple((one.number, one.total_score) for one in state.entries)
            if follower.live and held == expected:
                return
            await follower.changed()


async def test_deltas_apply_and_a_gap_is_healed() -> None:
    async def serve(talk: Talk) -> None:
        request = await talk.next("leaderboard.subscribe")
        assert request["data"] == {"board": "daily", "limit": 10}
        await talk.answer(request, "leaderboard", board(1, entry(1, 5)))
        await talk.push("leaderboard.delta", **delta(1, 2, entry(2, 9)))
        await talk.push("leaderboard.delta", **delta(3, 4, entry(3, 1)))
        request = await talk.next("leaderboard.subscribe")
        assert request["data"]["since"] == {"epoch": "e", "version": 2}
        await talk.push("leaderboard.delta", **delta(4, 5, entry(4, 1)))  # for a state that is asked for already
        await talk.answer(request, "leaderboard", board(5, entry(2, 9), entry(1, 5)))
        await talk.push("leaderboard.delta", **delta(5, 6, removals=(1,)))

    async with scripted(serve) as server, connect(server.url, sleep=quickly) as game:
        follower = game.follow("daily")
        await shown(follower, (2, 9))
        assert follower.state is not None
        assert follower.state.version == 6


async def test_new_period_replaces_the_state_and_an_old_delta_does_not_apply() -> None:
    async def serve(talk: Talk) -> None:
        await talk.answer(await talk.next("leaderboard.subscribe"), "leaderboard", board(7, entry(1, 5)))
        await talk.push("leaderboard", **board(1, epoch="f"))
        await talk.push("leaderboard.delta", **delta(7, 8, entry(2, 2)))
        await talk.answer(await talk.next("leaderboard.subscribe"), "leaderboard", board(2, entry(3, 3), epoch="f"))

    async with scripted(serve) as server, connect(server.url, sleep=quickly) as game:
        await shown(game.follow("daily"), (3, 3))


async def test_board_is_followed_again_on_the_next_connection_from_what_is_held() -> None:
    async def first(talk: Talk) -> None:
        await talk.answer(await talk.next("leaderboard.subscribe"), "leaderboard", board(1, entry(1, 5)))
        await talk.push("leaderboard.place", board="daily", epoch="e", version=1, total=1, position=1, new=1)
        await talk.next("ping")
        talk.socket.transport.abort()

    async def second(talk: Talk) -> None:
        request = await talk.next()
        while request["type"] != "leaderboard.subscribe":
            await talk.answer(request, "pong", {"serverTime": "now"})
            request = await talk.next()
        assert request["data"]["since"] == {"epoch": "e", "version": 1}
        await talk.answer(request, "leaderboard", board(1, entries=None))
        await talk.push("leaderboard.delta", **delta(1, 2, entry(2, 9)))

    async with scripted(first, second) as server, connect(server.url, sleep=quickly) as game:
        follower = game.follow("daily")
        await shown(follower, (1, 5))
        while follower.place is None:
            await follower.changed()
        assert follower.place.position == 1
        await game.ping()
        await shown(follower, (2, 9), (1, 5))


async def test_store_that_is_away_is_asked_again() -> None:
    async def serve(talk: Talk) -> None:
        refused = await talk.next("leaderboard.subscribe")
        await talk.refuse(refused, "unavailable", retryable=True, retryAfterMs=1)
        await talk.answer(await talk.next("leaderboard.subscribe"), "leaderboard", board(1, entry(1, 5)))

    async with scripted(serve) as server, connect(server.url, sleep=quickly) as game:
        await shown(game.follow("daily"), (1, 5))


async def test_board_that_the_server_doubts_is_not_live_until_it_does_no_more() -> None:
    async def serve(talk: Talk) -> None:
        await talk.answer(await talk.next("leaderboard.subscribe"), "leaderboard", board(1, entry(1, 5)))
        await talk.push("leaderboard.stale", board="daily", stale=True)
        await talk.push("leaderboard.delta", **delta(1, 2, entry(2, 9)))  # it may still say what it knows
        await talk.answer(await talk.next("ping"), "pong", {"serverTime": "now"})
        question = await talk.next("ping")
        await talk.push("leaderboard.stale", board="daily", stale=False)
        await talk.answer(question, "pong", {"serverTime": "now"})

    async def comes_stale(talk: Talk) -> None:
        await talk.answer(await talk.next("leaderboard.subscribe"), "leaderboard", board(1, entry(1, 5), stale=True))
        await talk.answer(await talk.next("ping"), "pong", {"serverTime": "now"})
        question = await talk.next("ping")
        await talk.push("leaderboard", **board(1, entry(1, 6), epoch="f"))
        await talk.answer(question, "pong", {"serverTime": "now"})

    for script, before, after in ((serve, 2, 2), (comes_stale, 1, 1)):
        async with scripted(script) as server, connect(server.url, sleep=quickly) as game:
            follower = game.follow("daily")
            async with asyncio.timeout(DEADLINE):
                while follower.state is None:
                    await follower.changed()
            await game.ping()
            assert (follower.live, follower.state.version) == (False, before)
            await game.ping()
            assert (follower.live, follower.state.version) == (True, after)


async def test_board_that_there_is_not_is_said_to_who_waits() -> None:
    async def serve(talk: Talk) -> None:
        await talk.refuse(await talk.next("leaderboard.subscribe"), "unknown_board")

    async with scripted(serve) as server, connect(server.url, sleep=quickly) as game:
        with pytest.raises(RequestRefused, match="unknown_board"):
            async for _ in game.follow("hourly"):
                pass
        game.follow("hourly")  # the name is free again


async def test_slow_consumer_sees_the_newest_state_and_the_end() -> None:
    async def serve(talk: Talk) -> None:
        await talk.answer(await talk.next("leaderboard.subscribe"), "leaderboard", board(1, entry(1, 1)))
        for version in range(1, 50):
            await talk.push("leaderboard.delta", **delta(version, version + 1, entry(1, version + 1)))
        await talk.answer(await talk.next("ping"), "pong", {"serverTime": "now"})
        await talk.answer(await talk.next("leaderboard.unsubscribe"), "ok", {})

    async with scripted(serve) as server, connect(server.url, sleep=quickly) as game:
        seen = []
        async with game.follow("daily") as follower:
            async for state in follower:
                seen.append(state.version)
                if state.version == 50:
                    break
                await game.ping()  # everything has come by then
        assert seen[-1] == 50
        assert len(seen) <= 3
        assert [state async for state in follower] == []


async def test_board_is_followed_once_and_with_a_limit_that_there_is() -> None:
    async with scripted() as server, connect(server.url, sleep=quickly) as game:
        game.follow("daily", 25)
        with pytest.raises(ValueError, match="followed already"):
            game.follow("daily")
        with pytest.raises(ValueError, match="limit"):
            game.follow("weekly", 11)
