"""Requests reach who has their key, and have an outcome in time: also while slots move and servers fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from redis.exceptions import AskError, MovedError, TryAgainError

from game.ranking import Entry
from storage.boards import Applied, Boards, Cursor
from storage.notices import Notices
from storage.redis_nodes import ClusterMap, Command, Node, RedisUnavailable
from storage.redis_server import RedisServer, Request, Script
from storage.redis_url import RedisUrl
from tests.storage.redis_servers import ON_EVERY_KIND, Cluster, Server, cluster, wait_for, watched
from tests.storage.waiting import PROMISED, until

BOTH = Script("redis.call('SET', KEYS[1], ARGV[1]) return {redis.call('GET', KEYS[2]), ARGV[1]}")


@pytest.fixture
async def server(redis_url: str) -> AsyncIterator[RedisServer]:
    found = RedisServer.connect(redis_url)
    yield found
    await found.close()


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[Cluster]:
    """One that tests may move, freeze, and in the end harm; the first primary has a replica."""
    with cluster(replicas=1) as found:
        yield found


@pytest.fixture
async def moving(own_cluster: Cluster) -> AsyncIterator[RedisServer]:
    found = RedisServer.connect(own_cluster.url)
    await found.ping()
    yield found
    await found.close()


def put(key: str, value: str) -> Request:
    return Request(key, ("SET", key, value))


def get(key: str) -> Request:
    return Request(key, ("GET", key))


async def answers(server: RedisServer, *requests: Request) -> list[Any]:
    """In the time that is promised; the kind of an error stands for it."""
    async with asyncio.timeout(PROMISED):
        outcomes = await server.run(requests)
    return [type(outcome) if isinstance(outcome, Exception) else outcome for outcome in outcomes]


def key_at(cluster: Cluster, server: Server) -> str:
    """A new key that this server has; its tag may have more."""
    while cluster.owner(key := f"{{{uuid4().hex}}}") is not server:
        pass
    return key


# Whatever Redis consists of


@ON_EVERY_KIND
async def test_answers_come_in_the_order_of_the_requests(server: RedisServer) -> None:
    keys = [uuid4().hex for _ in range(40)]
    assert await answers(server, *(put(key, key[:4]) for key in keys)) == [True] * 40
    assert await answers(server, *(get(key) for key in reversed(keys))) == [key[:4] for key in reversed(keys)]
    assert await answers(server) == []


@ON_EVERY_KIND
async def test_script_that_a_server_has_never_seen_is_told_to_it(server: RedisServer) -> None:
    script = Script(f"return {{KEYS[1], ARGV[1]}} -- {uuid4().hex}")
    keys = [uuid4().hex for _ in range(9)]
    for round_ in ("first", "second"):
        found = await answers(server, *(script.on([key], [round_]) for key in keys))
        assert found == [[key, round_] for key in keys]


@ON_EVERY_KIND
async def test_request_that_is_refused_fails_alone(server: RedisServer) -> None:
    one, other = uuid4().hex, uuid4().hex
    wrong = Request(one, ("HGET", one, "a string has no fields"))
    assert await answers(server, put(one, "1"), wrong, put(other, "2"), get(one)) == [True, RedisUnavailable, True, "1"]


@ON_EVERY_KIND
async def test_many_at_once_are_all_served(server: RedisServer) -> None:
    keys = [uuid4().hex for _ in range(100)]
    assert await asyncio.gather(*(answers(server, put(key, key), get(key)) for key in keys)) == [
        [True, key] for key in keys
    ]


async def test_cluster_behind_the_url_of_one_server_is_named(redis_cluster: Cluster) -> None:
    primary = redis_cluster.primaries[0]
    key = key_at(redis_cluster, redis_cluster.primaries[1])
    server = RedisServer.connect(f"redis://{primary.address}")
    (outcome,) = await server.run([get(key)])
    assert isinstance(outcome, RedisUnavailable)
    assert "redis+cluster://" in str(outcome)
    await server.close()


# Slots that move


async def test_slot_that_has_moved_is_followed(own_cluster: Cluster, moving: RedisServer) -> None:
    _, source, target = own_cluster.primaries
    key, staying = key_at(own_cluster, source), key_at(own_cluster, source)
    assert await answers(moving, put(key, "before"), put(staying, "there")) == [True, True]
    own_cluster.move(key, target)
    assert target.ask("GET", key) == "before"
    assert await answers(moving, get(staying), get(key), put(key, "after")) == ["there", "before", True]
    assert target.ask("GET", key) == "after"
    own_cluster.move(key, source)


async def test_keys_on_their_way_are_found_where_they_are(own_cluster: Cluster, moving: RedisServer) -> None:
    _, source, target = own_cluster.primaries
    tag = key_at(own_cluster, source)
    stays, goes, new = (f"{tag}:{name}" for name in ("stays", "goes", "new"))
    await answers(moving, put(stays, "1"), put(goes, "2"))
    own_cluster.begin_move(tag, target)
    own_cluster.carry(source, target, goes)
    with pytest.raises(AskError):
        source.ask("GET", goes)
    with pytest.raises(MovedError):
        target.ask("GET", goes)
    script = Script(f"redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1]) -- {uuid4().hex}")
    found = await answers(moving, get(stays), get(goes), put(new, "3"), get(new), script.on([goes], ["4"]))
    assert found == ["1", "2", True, "3", "4"]
    # The slot is still the source's for everything else, also in the mind of the client.
    assert await answers(moving, put(stays, "5"), get(stays)) == [True, "5"]
    own_cluster.end_move(tag, source, target)
    assert await answers(moving, get(stays), get(goes), get(new)) == ["5", "4", "3"]
    own_cluster.move(tag, source)


async def test_script_waits_while_its_keys_are_in_two_places(own_cluster: Cluster, moving: RedisServer) -> None:
    _, source, target = own_cluster.primaries
    tag = key_at(own_cluster, source)
    one, other, elsewhere = f"{tag}:one", f"{tag}:other", key_at(own_cluster, target)
    await answers(moving, put(one, "1"), put(other, "2"), BOTH.on([one, other], ["1"]))
    own_cluster.begin_move(tag, target)
    own_cluster.carry(source, target, other)
    with pytest.raises(TryAgainError):
        source.ask("EVALSHA", BOTH.sha, 2, one, other, "x")
    # As long as that lasts it is unavailable, in time, and nothing else is.
    assert await answers(moving, BOTH.on([one, other], ["3"]), put(elsewhere, "there")) == [RedisUnavailable, True]
    waiting = asyncio.create_task(answers(moving, BOTH.on([one, other], ["4"]), get(elsewhere)))
    refused = source.client.info("errorstats")["errorstat_TRYAGAIN"]["count"]

    async def refused_once_more() -> bool:
        return bool(source.client.info("errorstats")["errorstat_TRYAGAIN"]["count"] > refused)

    await until(refused_once_more, "a try that came too early")
    own_cluster.end_move(tag, source, target)
    assert await waiting == [["2", "4"], "there"]
    own_cluster.move(tag, source)


async def test_subscriber_goes_with_its_channel(own_cluster: Cluster) -> None:
    one = Notices.connect(own_cluster.url, deployment := uuid4().hex)
    other = Notices.connect(own_cluster.url, deployment)
    listener = one.listen()
    channel = f"braingame:{deployment}:notices"
    async with asyncio.timeout(PROMISED):
        assert await anext(listener) is None
        await other.publish("before")
        assert await anext(listener) == "before"
    owner = own_cluster.owner(channel)
    target = next(server for server in own_cluster.primaries if server is not owner)
    own_cluster.move(channel, target)
    async with asyncio.timeout(PROMISED):
        assert await anext(listener) is None  # something may have been missed
        await other.publish("after")
        assert await anext(listener) == "after"
    own_cluster.move(channel, owner)
    await listener.aclose()  # type: ignore[attr-defined]
    await one.close()
    await other.close()


# Servers that fail


def entry(number: int) -> Entry:
    return Entry(number, False, number, datetime(2026, 11, 23, tzinfo=UTC))


async def nothing() -> AsyncIterator[list[Entry]]:
    return
    yield


async def test_ladders_go_on_while_a_node_is_frozen(own_cluster: Cluster) -> None:
    frozen = own_cluster.primaries[1]
    boards = Boards.connect(own_cluster.url, uuid4().hex)
    ladders: dict[bool, str] = {}
    while len(ladders) < 2:
        ladder = f"all-time:{uuid4().hex}"
        ladders[own_cluster.owner(f"{{{ladder}}}") is frozen] = ladder
    there, away = ladders[False], ladders[True]
    for ladder in ladders.values():
        assert await boards.rebuild(ladder, 5, nothing(), has_period=False)
    held = await boards.cursors([there, away])
    frozen.freeze()
    try:
        async with asyncio.timeout(PROMISED):
            done = await boards.apply({away: [entry(1)], there: [entry(2)], "missing": []})
        assert done.changed == {there}
        assert done.unreached >= {away}
        assert (await boards.read(there, 0, 10)).entries == [entry(2)]
        known = {ladder: cursor for ladder, cursor in held.items() if cursor is not None}
        async with asyncio.timeout(PROMISED):
            cursors, *failed = await asyncio.gather(
                boards.cursors([away, there]),
                boards.cursors([away]),
                boards.read(away, 0, 10),
                boards.apply({away: [entry(1)]}),
                boards.rebuild(away, 6, nothing(), has_period=False),
                return_exceptions=True,
            )
        assert cursors == {there: held[there]}
        assert {type(outcome) for outcome in failed} == {RedisUnavailable}
        async with asyncio.timeout(PROMISED):
            with pytest.raises(RedisUnavailable):
                await boards.advance(known, 9)
        cursor = (await boards.cursors([there]))[there]
        assert cursor is not None
        assert cursor.at == 9
        await boards.ping()  # a part of it is there
    finally:
        frozen.thaw()

    async def back() -> Applied | None:
        try:
            return await boards.apply({away: [entry(1)]})
        except RedisUnavailable:
            return None

    await until(back, "the node that is not frozen any more")
    assert (await boards.read(away, 0, 10)).entries == [entry(1)]
    found = (await boards.cursors([away]))[away]
    assert isinstance(found, Cursor)
    assert found.at == 5
    await boards.close()


class SilentNode(Node):
    """Lets nobody know that it was asked."""

    asked = 0

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        self.asked += 1
        raise TimeoutError


async def test_node_that_does_not_answer_is_left_alone_for_a_while(
    redis_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others that are asked by the same call would be kept waiting each time."""
    places = ClusterMap(RedisUrl.parse(redis_cluster.url))
    silent = SilentNode({})
    server = RedisServer(places)
    await server.ping()
    monkeypatch.setattr(places, "node", lambda _key: silent)
    for _ in range(3):
        assert await answers(server, get("a")) == [RedisUnavailable]
    assert silent.asked == 1
    monkeypatch.setattr("storage.redis_server._SHUNNED_SECONDS", 0.0)
    silent.shunned_until = 0.0
    for _ in range(3):
        assert await answers(server, get("a")) == [RedisUnavailable]
    assert silent.asked == 4
    await server.close()


async def test_replica_that_takes_over_is_found_and_the_others_never_missed(own_cluster: Cluster) -> None:
    """It ends this cluster's first primary, so it is the last of these tests."""
    primary, healthy, _ = own_cluster.primaries
    (replica,) = own_cluster.replicas
    server = RedisServer.connect(own_cluster.url)
    lost, kept = key_at(own_cluster, primary), key_at(own_cluster, healthy)
    assert await answers(server, put(lost, "1"), put(kept, "2")) == [True, True]
    wait_for(lambda: primary.ask("WAIT", 1, 100), "that the replica has it")
    notices = Notices.connect(own_cluster.url, deployment_at(own_cluster, primary))
    listener = notices.listen()
    assert await anext(listener) is None
    primary.kill()

    async def found() -> bool:
        outcome, other = await answers(server, get(lost), get(kept))
        assert other == "2"
        assert outcome in ("1", RedisUnavailable)
        return bool(outcome == "1")

    await until(found, "the replica that has taken over")
    assert replica.role() == "master"
    async with asyncio.timeout(PROMISED):
        assert await anext(listener) is None
        await notices.publish("to the new one")
        assert await anext(listener) == "to the new one"
    await listener.aclose()  # type: ignore[attr-defined]
    await notices.close()
    await server.close()


def deployment_at(cluster: Cluster, server: Server) -> str:
    """One whose notices this server has."""
    while cluster.owner(f"braingame:{(found := uuid4().hex)}:notices") is not server:
        pass
    return found


async def test_primary_that_sentinels_replace_is_found_anew() -> None:
    with watched() as deployment:
        primary, replica = deployment.primary(), deployment.replica()
        server, idle = RedisServer.connect(deployment.url), RedisServer.connect(deployment.url)
        notices = Notices.connect(deployment.url, uuid4().hex)
        listener = notices.listen()
        for each in (server, idle):
            assert await answers(each, put("a", "1")) == [True]
        assert await anext(listener) is None
        primary.freeze()
        await until(lambda: _succeeds(server, put("a", "2")), "the replica that has taken over")
        assert replica.role() == "master"
        assert replica.ask("GET", "a") == "2"
        # Who listens learns it from who speaks: a node hears itself every few seconds.
        await until(lambda: _told(notices, "lost"), "a notice that can be told")
        async with asyncio.timeout(PROMISED):
            assert await anext(listener) is None
            await notices.publish("again")
            assert await anext(listener) == "again"
        # Who has not noticed anything still has a connection to the old primary, which refuses to write.
        primary.thaw()
        primary.ask("REPLICAOF", "127.0.0.1", replica.port)
        assert await answers(idle, put("a", "3")) == [RedisUnavailable]
        await until(lambda: _succeeds(idle, put("a", "3")), "the new primary")
        assert replica.ask("GET", "a") == "3"
        await listener.aclose()  # type: ignore[attr-defined]
        await asyncio.gather(server.close(), idle.close(), notices.close())


async def _succeeds(server: RedisServer, request: Request) -> bool:
    return await answers(server, request) == [True]


async def _told(notices: Notices, text: str) -> bool:
    try:
        await notices.publish(text)
    except RedisUnavailable:
        return False
    return True
