"""What Redis holds is read as it is, sense or nonsense, and in a time that can be told."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from game.ranking import Entry, Removal
from storage import kept_boards
from storage.boards import Boards, LadderMissing, member_of
from storage.kept_boards import KeptBoards, Lifetimes, Place, Torn
from storage.ladders import Ladders
from storage.postgres import Postgres
from storage.redis_nodes import RedisUnavailable
from tests.server.gate import Gate
from tests.storage.playing import NOON
from tests.stores import Stores

DAILY = "daily@2026-11-23"
ENTRIES = [Entry(number, number % 2 == 0, 100 - number, NOON) for number in (2, 4, 1, 3, 5)]


@pytest.fixture
async def deployment(postgres: Postgres) -> str:
    return str(await Ladders(postgres).deployment())


@pytest.fixture
async def kept(stores: Stores, deployment: str) -> AsyncIterator[KeptBoards]:
    found = KeptBoards.connect(stores.redis_url, deployment)
    yield found
    await found.close()


async def build(boards: Boards, ladder: str, *entries: Entry | Removal) -> None:
    async def chunks() -> AsyncIterator[list[Entry | Removal]]:
        if entries:
            yield list(entries)

    assert await boards.rebuild(ladder, 1, chunks(), has_period="@" in ladder)


async def test_board_is_read_as_it_was_built(boards: Boards, kept: KeptBoards, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_boards, "CHUNK", 2)
    await build(boards, DAILY, Removal(6), *ENTRIES)
    assert await kept.ladders() == [DAILY]
    chunks = [chunk async for chunk in kept.places(DAILY)]
    assert [len(chunk) for chunk in chunks] == [2, 2, 1]
    assert [place for chunk in chunks for place in chunk] == [Place(member_of(each), each, True) for each in ENTRIES]
    assert [place.entry for place in await kept.stretch(DAILY, 1, 3)] == ENTRIES[1:4]
    members = [chunk async for chunk in kept.members(DAILY)]
    assert {number: off for chunk in members for number, off in chunk.items()} == {
        **dict.fromkeys(range(1, 6), False),
        6: True,
    }
    assert await kept.held(DAILY, [1, 6, 7]) == {1: ENTRIES[2], 6: Removal(6), 7: None}
    assert await kept.unknown(DAILY, [member_of(ENTRIES[0])]) == set()
    lifetimes = await kept.lifetimes(DAILY)
    assert all(life > 0 for life in (lifetimes.meta, lifetimes.ranks, lifetimes.members))


async def test_ladder_without_entries_is_there(boards: Boards, kept: KeptBoards) -> None:
    await build(boards, "all-time")
    assert await kept.ladders() == ["all-time"]
    assert [chunk async for chunk in kept.places("all-time")] == []
    assert await kept.lifetimes("all-time") == Lifetimes(-1, -2, -2)


async def test_ladder_that_is_not_there_is_missing(boards: Boards, kept: KeptBoards) -> None:
    assert await kept.ladders() == []
    with pytest.raises(LadderMissing):
        await kept.lifetimes(DAILY)
    with pytest.raises(LadderMissing):
        await kept.stretch(DAILY, 0, 10)
    with pytest.raises(LadderMissing):
        await kept.held(DAILY, [1])


async def test_ladders_of_another_deployment_are_not_ours(stores: Stores, boards: Boards, kept: KeptBoards) -> None:
    other = Boards.connect(stores.redis_url, "another")
    await build(other, "all-time")
    assert await kept.ladders() == []
    client = redis.asyncio.Redis.from_url(stores.redis_url)
    await client.delete("braingame:another:{all-time}:meta")
    await client.aclose()
    await other.close()


@pytest.mark.parametrize(
    ("member", "score"),
    [
        ("nonsense", -5),
        ("1795435200000" + "x" * 10, -5),
        (member_of(ENTRIES[0])[:-1], -5),  # a digit too few
        (member_of(ENTRIES[0]), -5.5),
        (member_of(ENTRIES[0]), "-inf"),
        ("1795435200000" + "9" * 30, -5),
    ],
)
async def test_member_that_is_none_of_ours_is_no_entry(
    boards: Boards, kept: KeptBoards, valkey: redis.asyncio.Redis, member: str, score: float
) -> None:
    await build(boards, DAILY)
    base = f"{boards._prefix}:{{{DAILY}}}"
    await valkey.zadd(f"{base}:ranks", {member: score})
    (place,) = await kept.stretch(DAILY, 0, 10)
    assert place == Place(member, None, False)
    assert await kept.unknown(DAILY, [member]) == {member}
    await valkey.hset(f"{base}:members", mapping={"2": member, "not a number": "?", "9" * 30: "?"})
    (found,) = (await kept.held(DAILY, [2])).values()
    assert isinstance(found, Torn)
    assert [chunk async for chunk in kept.members(DAILY)] == [{2: False}]


async def test_bytes_that_are_no_text_are_read_all_the_same(
    boards: Boards, kept: KeptBoards, valkey: redis.asyncio.Redis
) -> None:
    await build(boards, DAILY)
    await valkey.zadd(f"{boards._prefix}:{{{DAILY}}}:ranks", {b"\xff\xfe": 1})
    (place,) = await kept.stretch(DAILY, 0, 10)
    assert place.entry is None


async def test_redis_that_is_away_is_unavailable(redis_gate: Gate, deployment: str) -> None:
    gated = KeptBoards.connect(redis_gate.url, deployment)
    await redis_gate.shut()
    for call in (gated.ladders(), gated.lifetimes(DAILY), gated.stretch(DAILY, 0, 1), gated.held(DAILY, [1])):
        with pytest.raises(RedisUnavailable):
            await call
    with pytest.raises(RedisUnavailable):
        await anext(gated.members(DAILY))
    with pytest.raises(RedisUnavailable):
        await gated.unknown(DAILY, ["x"])
    await gated.close()
    with pytest.raises(ValueError, match=r".+"):
        KeptBoards.connect("http://localhost", "x")
