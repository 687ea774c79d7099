"""Which server has a key: known from whoever answers, and found out anew when a server has failed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from redis.exceptions import AskError, MovedError

from game.ranking import BOARDS
from storage.postgres import StoreUnavailable
from storage.redis_nodes import ClusterMap, Node, Whereabouts, whereabouts
from storage.redis_url import RedisUrl
from tests.storage.redis_servers import SERVICE, Cluster, Server, Watched, free_port
from tests.storage.waiting import PROMISED, until
from tests.stores import Stores


@pytest.fixture
def frozen() -> Iterator[str]:
    """Where connections are made and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def looking(url: str) -> AsyncIterator[Whereabouts]:
    found = whereabouts(RedisUrl.parse(url))
    yield found
    await found.close()


async def port_of(node: Node | None) -> int:
    """As the server itself says it."""
    assert node is not None
    ((_, port),) = (await node.exchange([("CONFIG", "GET", "port")]))[0].items()
    return int(port)


async def test_one_server_has_every_key(stores: Stores) -> None:
    async with looking(stores.redis_url) as places:
        await places.look()
        assert places.known
        assert places.node("a") is places.node("b") is not None
        assert not places.sharded


async def test_node_of_a_key_is_the_one_that_the_cluster_names(redis_cluster: Cluster) -> None:
    async with looking(redis_cluster.url) as places:
        assert not places.known
        assert places.node("a") is None
        await places.look()
        assert places.sharded
        for key in (f"key {number}" for number in range(30)):
            assert await port_of(places.node(key)) == redis_cluster.owner(key).port


async def test_ladders_of_a_deployment_are_on_all_nodes_and_each_is_on_one(redis_cluster: Cluster) -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    async with looking(redis_cluster.url) as places:
        await places.look()
        used = set()
        for board in BOARDS.values():
            tag = f"braingame:b2c7:{{{board.ladder(now)}}}"
            nodes = {places.node(f"{tag}:{name}") for name in ("meta", "ranks", "members", "ranks:0f0f0f0f")}
            assert len(nodes) == 1
            used |= nodes
        assert len(used) == 3


async def test_cluster_is_found_past_nodes_that_are_gone_or_frozen(redis_cluster: Cluster, frozen: str) -> None:
    (_, there, _) = redis_cluster.primaries
    url = f"redis+cluster://{frozen},127.0.0.1:{free_port()},{there.address}"
    async with looking(url) as places, asyncio.timeout(PROMISED):
        await places.look()
        assert await port_of(places.node("x")) == redis_cluster.owner("x").port


async def test_primary_is_found_past_sentinels_that_are_gone_or_frozen(redis_watched: Watched, frozen: str) -> None:
    url = f"redis+sentinel://{frozen},127.0.0.1:{free_port()},{redis_watched.sentinel.address}/{SERVICE}"
    async with looking(url) as places:
        # In whichever order they are asked.
        for _ in range(5):
            async with asyncio.timeout(PROMISED):
                await places.look()
        assert await port_of(places.node("x")) == redis_watched.primary().port
        assert not places.sharded


@pytest.mark.parametrize("form", ["redis+cluster://{}", "redis+sentinel://{}/boards", "redis://{}"])
async def test_nobody_who_answers_is_unavailable_in_time(form: str, frozen: str) -> None:
    for nowhere in (f"127.0.0.1:{free_port()}", frozen):
        async with looking(form.format(nowhere)) as places, asyncio.timeout(PROMISED):
            with pytest.raises(StoreUnavailable):
                await places.look()


async def test_server_that_is_no_cluster_and_service_that_nobody_knows_are_unavailable(
    redis_watched: Watched,
) -> None:
    async with looking(f"redis+cluster://{redis_watched.servers[0].address}") as places:
        with pytest.raises(StoreUnavailable, match="Cluster"):
            await places.look()
    async with looking(redis_watched.url.replace(f"/{SERVICE}", "/another")) as places:
        with pytest.raises(StoreUnavailable, match="'another'"):
            await places.look()
        assert not places.known


async def test_moved_slot_counts_from_then_on_and_an_asking_one_this_time_only(redis_cluster: Cluster) -> None:
    """A server that does not know its own name leaves it out."""
    places = ClusterMap(RedisUrl.parse(redis_cluster.url))
    await places.look()
    before = places.node("x")
    owner = redis_cluster.owner("x")
    (other, third) = [server for server in redis_cluster.primaries if server is not owner]
    slot = 16287  # of "x", by the algorithm of the specification
    assert before is not None
    asked = places.moved(AskError(f"{slot} 127.0.0.1:{other.port}"), before)
    assert await port_of(asked) == other.port
    assert places.node("x") is before
    for named, host in ((other, "127.0.0.1"), (third, "")):
        sent = places.moved(MovedError(f"{slot} {host}:{named.port}"), before)
        assert await port_of(sent) == named.port
        assert places.node("x") is sent
    # Whoever looks is told the truth.
    await places.look()
    assert places.node("x") is before
    await places.close()


async def seen(places: Whereabouts, key: str, holds: Callable[[Node | None], bool]) -> bool:
    return holds(places.node(key))


async def test_doubt_leads_to_a_look(redis_cluster: Cluster) -> None:
    places = ClusterMap(RedisUrl.parse(redis_cluster.url))
    await places.look()
    right = places.node("x")
    assert right is not None
    wrong = next(server for server in redis_cluster.primaries if server is not redis_cluster.owner("x"))
    places.moved(MovedError(f"16287 127.0.0.1:{wrong.port}"), right)
    assert places.node("x") is not right
    for _ in range(100):  # as many calls may fail at once
        places.doubt(places.node("x"))
    await until(lambda: seen(places, "x", lambda node: node is right), "the slot where it is")
    await places.close()


async def test_node_that_has_left_is_forgotten(redis_cluster: Cluster) -> None:
    """Its connections are closed with it."""
    places = ClusterMap(RedisUrl.parse(redis_cluster.url))
    await places.look()
    right = places.node("x")
    assert right is not None
    gone = places.moved(MovedError(f"16287 127.0.0.1:{free_port()}"), right)
    await places.look()
    assert gone not in set(places._nodes.values())
    assert right in set(places._nodes.values())
    await places.close()


def test_helper_reads_the_map_as_the_servers_tell_it(redis_cluster: Cluster) -> None:
    servers: list[Server] = [redis_cluster.owner(key) for key in ("a", "b", "c", "d", "e", "f")]
    assert len(set(servers)) == 3
