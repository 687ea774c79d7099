from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import redis.asyncio

from game.ranking import Entry, better, ranked
from storage.boards import MAX_TOTAL_SCORE, Boards, LadderMissing, entry_from, member_of, score_of
from storage.postgres import StoreUnavailable
from tests.stores import Stores

_NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALL_TIME = "all-time"
DAILY = "daily@2026-11-23"


def entry(number: int, score: int, *, passed: bool = False, ms: int = 0) -> Entry:
    return Entry(number, passed, score, _NOON + timedelta(milliseconds=ms))


async def chunks(*given: Iterable[Entry]) -> AsyncIterator[Iterable[Entry]]:
    for chunk in given:
        yield chunk


async def build(boards: Boards, ladder: str, *entries: Entry, cursor: int = 1) -> None:
    assert await boards.rebuild(ladder, cursor, chunks(entries) if entries else chunks(), has_period="@" in ladder)


def random_entry(choose: random.Random) -> Entry:
    """Few different values, so that ties are common; and the extremes."""
    score = choose.choice([0, 1, 2, 3, MAX_TOTAL_SCORE - 1, MAX_TOTAL_SCORE])
    return entry(choose.randint(1, 60), score, passed=choose.random() < 0.3, ms=choose.randint(0, 3))


@pytest.mark.parametrize("seed", range(5))
async def test_order_of_a_board_is_that_of_the_rules_for_random_histories_with_ties(boards: Boards, seed: int) -> None:
    choose = random.Random(seed)
    history = [random_entry(choose) for _ in range(400)]
    best: dict[int, Entry] = {}
    for attempt in history:
        best[attempt.number] = better(best.get(attempt.number, attempt), attempt)
    await build(boards, ALL_TIME)
    # In any order, in any batches, some of them twice.
    applied = history + choose.sample(history, 100)
    choose.shuffle(applied)
    while applied:
        size = choose.randint(1, 40)
        await boards.apply({ALL_TIME: applied[:size]})
        del applied[:size]
    window = await boards.read(ALL_TIME, 0, 100)
    assert window.entries == ranked(best.values())
    assert window.total == len(best)
    for position, held in enumerate(window.entries):
        assert await boards.position(ALL_TIME, held.number) == position


async def test_version_goes_up_with_what_becomes_better_and_with_nothing_else(boards: Boards) -> None:
    await build(boards, ALL_TIME)
    before = await boards.read(ALL_TIME, 0, 10)
    assert await boards.apply({ALL_TIME: [entry(1, 10), entry(2, 20)]}) == ({ALL_TIME}, set())
    changed = await boards.read(ALL_TIME, 0, 10)
    assert (changed.epoch, changed.version) == (before.epoch, before.version + 2)
    assert await boards.apply({ALL_TIME: [entry(1, 10), entry(2, 19), entry(2, 20, ms=1)]}) == (set(), set())
    assert await boards.read(ALL_TIME, 0, 10) == changed


def test_member_and_score_keep_the_whole_entry() -> None:
    for held in (entry(1, 0), entry(9_999_999_999, MAX_TOTAL_SCORE, passed=True, ms=999)):
        assert entry_from(member_of(held), float(score_of(held))) == held


async def test_window_begins_where_it_is_asked_to(boards: Boards) -> None:
    await build(boards, ALL_TIME, *(entry(number, 100 - number) for number in range(1, 31)))
    window = await boards.read(ALL_TIME, 10, 5)
    assert [held.number for held in window.entries] == [11, 12, 13, 14, 15]
    assert (window.offset, window.total) == (10, 30)
    assert (await boards.read(ALL_TIME, 40, 5)).entries == []


async def test_ladder_that_was_never_built_is_missing_and_nothing_is_put_there(boards: Boards) -> None:
    assert await boards.apply({ALL_TIME: [entry(1, 1)]}) == (set(), {ALL_TIME})
    with pytest.raises(LadderMissing):
        await boards.read(ALL_TIME, 0, 10)
    with pytest.raises(LadderMissing):
        await boards.position(ALL_TIME, 1)
    assert await boards.cursors([ALL_TIME]) == {ALL_TIME: None}


async def test_player_without_an_entry_has_no_position(boards: Boards) -> None:
    await build(boards, ALL_TIME, entry(1, 1))
    assert await boards.position(ALL_TIME, 2) is None


async def test_rebuild_replaces_everything_under_a_new_epoch(boards: Boards) -> None:
    await build(boards, ALL_TIME, entry(1, 1), entry(2, 2))
    first = await boards.read(ALL_TIME, 0, 10)
    await build(boards, ALL_TIME, entry(3, 3), cursor=7)
    second = await boards.read(ALL_TIME, 0, 10)
    assert second.epoch != first.epoch
    assert second.entries == [entry(3, 3)]
    assert await boards.cursors([ALL_TIME]) == {ALL_TIME: 7}
    await build(boards, ALL_TIME)
    assert (await boards.read(ALL_TIME, 0, 10)).entries == []


async def test_readers_see_the_old_ladder_until_the_new_one_is_whole(boards: Boards) -> None:
    await build(boards, ALL_TIME, entry(1, 1))
    reading = asyncio.Event()

    async def slowly() -> AsyncIterator[list[Entry]]:
        yield [entry(2, 2)]
        await reading.wait()
        yield [entry(3, 3)]

    rebuilding = asyncio.create_task(boards.rebuild(ALL_TIME, 2, slowly(), has_period=False))
    await asyncio.sleep(0.05)
    assert (await boards.read(ALL_TIME, 0, 10)).entries == [entry(1, 1)]
    reading.set()
    assert await rebuilding
    assert (await boards.read(ALL_TIME, 0, 10)).entries == [entry(3, 3), entry(2, 2)]


async def test_of_two_rebuilds_at_once_one_wins_and_the_other_leaves_nothing(boards: Boards, stores: Stores) -> None:
    await build(boards, ALL_TIME, entry(1, 1))
    both_read = asyncio.Event()

    async def waiting() -> AsyncIterator[list[Entry]]:
        yield [entry(2, 2)]
        await both_read.wait()

    rebuilds = [asyncio.create_task(boards.rebuild(ALL_TIME, 2, waiting(), has_period=False)) for _ in range(2)]
    await asyncio.sleep(0.1)
    both_read.set()
    assert sorted(await asyncio.gather(*rebuilds)) == [False, True]
    async with redis.asyncio.Redis.from_url(stores.redis_url, decode_responses=True) as client:
        names = [name async for name in client.scan_iter(f"{boards._prefix}*")]
    assert len(names) == 3


@pytest.mark.parametrize("filled", [True, False])
async def test_ladder_of_a_period_goes_away_some_day_and_that_of_all_time_never(
    boards: Boards, stores: Stores, filled: bool
) -> None:
    for ladder in (DAILY, ALL_TIME):
        await build(boards, ladder, *([entry(1, 1)] if filled else []))
        await boards.apply({ladder: [entry(2, 2)]})
    async with redis.asyncio.Redis.from_url(stores.redis_url, decode_responses=True) as client:
        lives = {name: await client.ttl(name) async for name in client.scan_iter(f"{boards._prefix}*")}
    assert len(lives) == 6
    for name, seconds in lives.items():
        assert (seconds > 8 * 86400) if DAILY in name else (seconds == -1), name


async def test_cursor_never_goes_back_and_is_put_on_no_missing_ladder(boards: Boards) -> None:
    await build(boards, ALL_TIME, cursor=5)
    await boards.advance([ALL_TIME, DAILY], 9)
    await boards.advance([ALL_TIME, DAILY], 8)
    assert await boards.cursors([ALL_TIME, DAILY]) == {ALL_TIME: 9, DAILY: None}


async def test_redis_that_has_forgotten_the_scripts_is_told_them_again(boards: Boards, stores: Stores) -> None:
    await build(boards, ALL_TIME)
    async with redis.asyncio.Redis.from_url(stores.redis_url) as client:
        await client.script_flush()
    assert await boards.apply({ALL_TIME: [entry(1, 1)]}) == ({ALL_TIME}, set())


async def test_two_deployments_share_a_redis_without_seeing_each_other(boards: Boards, stores: Stores) -> None:
    await build(boards, ALL_TIME, entry(1, 1))
    other = Boards.connect(stores.redis_url, str(uuid4()))
    with pytest.raises(LadderMissing):
        await other.read(ALL_TIME, 0, 10)
    await other.close()


async def test_redis_that_is_away_is_unavailable() -> None:
    nowhere = Boards.connect("unix:///nowhere/valkey.sock", "x")
    with pytest.raises(StoreUnavailable):
        await nowhere.ping()
    with pytest.raises(StoreUnavailable):
        await nowhere.apply({ALL_TIME: [entry(1, 1)]})
    with pytest.raises(StoreUnavailable):
        await nowhere.read(ALL_TIME, 0, 10)
