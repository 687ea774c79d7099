"""Two servers of one deployment: a player may be connected to both, which know of each other by the stores alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio
from websockets.exceptions import InvalidStatus

from tests.server.clients import Client
from tests.stores import Stores
from tests.whole.board import Follower
from tests.whole.running import Server, database_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: For what the contract promises within one second.
SECONDS = 5.0


@dataclass
class Nodes:
    one: Server
    other: Server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(stores: Stores) -> AsyncIterator[Nodes]:
    async with (
        database_of(stores) as settings,
        await Server.start(**settings, BRAINGAME_LIMITS="off") as one,
        await Server.start(**settings, BRAINGAME_LIMITS="off") as other,
    ):
        yield Nodes(one, other)


async def test_login_of_one_node_counts_on_the_other(nodes: Nodes) -> None:
    async with nodes.one.client() as client:
        granted = await client.register("everywhere")
        begun = await client.do("session.start")
        async with nodes.other.client(granted["token"]) as second:
            assert (await second.push("welcome"))["session"] == begun
            await second.do("auth.refresh", refreshToken=granted["refreshToken"])


async def test_action_is_replayed_on_the_other_node(nodes: Nodes) -> None:
    async with nodes.one.client() as client:
        granted = await client.register("replay")
        await client.do("session.start")
        done = await client.do("session.complete", score=5, key="on both nodes")
        async with nodes.other.client(granted["token"]) as second:
            assert await second.do("session.complete", score=5, key="on both nodes") == {**done, "replayed": True}
            assert (await second.error("session.complete", score=6, key="on both nodes"))["code"] == "key_reused"


async def test_actions_on_both_nodes_are_applied_one_at_a_time(nodes: Nodes) -> None:
    async with nodes.one.client() as client:
        token = (await client.register("onbothsides"))["token"]
        async with nodes.one.client(token) as one, nodes.other.client(token) as other:
            versions = await asyncio.gather(
                *(_versions(one_of_them, 50) for one_of_them in (one, other)),
            )
            assert sorted(versions[0] + versions[1]) == list(range(1, 101))


async def _versions(client: Client, count: int) -> list[int]:
    return [(await client.do("session.start"))["sessionVersion"] for _ in range(count)]


async def test_board_read_on_the_other_node_has_the_change(nodes: Nodes) -> None:
    async with nodes.one.client() as player, nodes.other.client() as spectator:
        await player.register("readelsewhere")
        await player.do("session.start", difficulty=1)
        await player.do("session.close", score=7)
        board = await player.do("leaderboard.get", board="all-time:1")  # it is in Redis by now
        assert await spectator.do("leaderboard.get", board="all-time:1") == board


async def test_revoked_login_is_refused_by_the_other_node(nodes: Nodes) -> None:
    async with nodes.one.client() as client:
        granted = await client.register("revokedeverywhere")
        await client.do("auth.logout")
    with pytest.raises(InvalidStatus) as caught:
        async with nodes.other.client(granted["token"]):
            pass
    assert caught.value.response.status_code == 401


async def test_spectator_of_the_other_node_sees_every_change(nodes: Nodes) -> None:
    async with AsyncExitStack() as stack:
        followers = [
            Follower(await stack.enter_async_context(node.client()), "all-time:2", 10)
            for node in (nodes.one, nodes.other)
        ]
        for follower in followers:
            await follower.subscribe()
        for index in range(6):
            node = (nodes.one, nodes.other)[index % 2]
            player = await stack.enter_async_context(node.client())
            await player.register(f"seen{index}")
            await player.do("session.start", difficulty=2)
            await player.do("session.close", score=index)
            # Both have it before they ask for anything themselves.
            for follower in followers:
                await follower.until(f"seen{index}")
        for follower in followers:
            await follower.check()
        assert followers[0].entries == followers[1].entries


async def test_session_is_pushed_to_the_players_sockets_on_the_other_node(nodes: Nodes) -> None:
    async with nodes.one.client() as client:
        token = (await client.register("pushedover"))["token"]
        async with nodes.other.client(token) as second:
            await second.push("welcome")
            begun = await client.do("session.start", difficulty=9)
            async with asyncio.timeout(SECONDS):
                assert await second.push("session") == begun


async def test_ended_logins_reach_the_sockets_of_the_other_node(nodes: Nodes) -> None:
    async with nodes.one.client() as client, nodes.one.client() as keeper:
        granted = await client.register("endedover")
        await keeper.do("auth.login", email="endedover@example.test", password="correct horse")
        async with nodes.other.client(granted["token"]) as second:
            await second.push("welcome")
            listed = (await keeper.do("logins.list"))["logins"]
            (ended,) = [one["id"] for one in listed if not one["current"]]
            await keeper.do("logins.revoke", id=ended)
            async with asyncio.timeout(SECONDS):
                assert await second.closed() == 4401


async def test_deleted_account_leaves_the_boards_and_sockets_of_the_other_node(nodes: Nodes) -> None:
    async with nodes.one.client() as client, nodes.other.client() as spectator:
        token = (await client.register("leaving"))["token"]
        follower = Follower(spectator, "daily:3", 10)
        await follower.subscribe()
        await client.do("session.start", difficulty=3)
        await client.do("session.close", score=3)
        await follower.until("leaving")
        async with nodes.other.client(token) as second:
            await second.push("welcome")
            await client.do("user.delete")
            async with asyncio.timeout(SECONDS):
                assert await second.closed() == 4401
        await follower.until("leaving", shown=False)
        await follower.check()
        assert follower.fulls == 0  # a delta did it
