"""Two servers of one deployment: a player may be connected to both, which know of each other by the stores alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from websockets.exceptions import InvalidStatus

from tests.server.clients import Client
from tests.stores import Stores
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
