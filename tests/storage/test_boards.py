"""Boards in Redis: in the order of the rules, however entries arrive, and rebuilt without losing any."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
import redis.asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from game.ranking import Entry, Removal, better, ranked
from storage.boards import (
    MAX_TOTAL_SCORE,
    Applied,
    Boards,
    Cursor,
    LadderMissing,
    Places,
    Window,
    entry_from,
    member_of,
    score_of,
)
from storage.ladders import Ladders
from storage.postgres import StoreUnavailable
from storage.redis_nodes import RedisUnavailable
from tests.server.gate import Gate
from tests.storage.playing import MILLISECOND, NOON, Sql, best_of, later, random_entry, write_entries
from tests.storage.redis_servers import ON_EVERY_KIND
from tests.storage.waiting import PROMISED, until
from tests.stores import Stores

ALL_TIME = "all-time"
DAILY = "daily@2026-11-23"
WEEKLY = "weekly:3@2026-11-23"

SIXTEEN_DAYS = 16 * 86_400
TEN_MINUTES = 600

LAST_MOMENT = datetime(2286, 11, 20, 17, 46, 39, 999_000, tzinfo=UTC)
"""The last one that 13 digits of milliseconds can hold."""
LARGEST_NUMBER = 10**10 - 1


def entry(number: int, score: int, *, passed: bool = False, at: datetime = NOON) -> Entry:
    return Entry(number, passed, score, at)


async def chunks(*given: Iterable[Entry | Removal]) -> AsyncIterator[Iterable[Entry | Removal]]:
    for chunk in given:
        yield chunk


async def build(boards: Boards, ladder: str, *entries: Entry, cursor: int = 1) -> None:
    assert await boards.rebuild(ladder, cursor, chunks(*([entries] if entries else [])), has_period="@" in ladder)


async def whole(boards: Boards, ladder: str = ALL_TIME) -> Window:
    return await boards.read(ladder, 0, 100_000)


async def cursors_of(boards: Boards, ladders: Collection[str]) -> dict[str, int | None]:
    """Without the epochs."""
    held = await boards.cursors(ladders)
    return {ladder: None if cursor is None else cursor.at for ladder, cursor in held.items()}


async def advance(boards: Boards, ladders: Collection[str], to: int) -> None:
    """Whatever their epochs are; those that are missing with one that was."""
    held = await boards.cursors(ladders)
    await boards.advance({ladder: cursor or Cursor("gone", 1) for ladder, cursor in held.items()}, to)


async def keys_of(boards: Boards, valkey: redis.asyncio.Redis) -> set[str]:
    """What the deployment has in Redis, its name left out."""
    prefix = f"{boards._prefix}:"
    return {name.removeprefix(prefix) async for name in valkey.scan_iter(f"{prefix}*", count=1000)}


async def lives_of(boards: Boards, valkey: redis.asyncio.Redis) -> dict[str, int]:
    """The seconds that each key will still be kept; -1 for ever."""
    return {name: await valkey.ttl(f"{boards._prefix}:{name}") for name in await keys_of(boards, valkey)}


# Values


moments = st.integers(0, (LAST_MOMENT - datetime(1970, 1, 1, tzinfo=UTC)) // MILLISECOND).map(
    lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + ms * MILLISECOND
)
scores = st.one_of(st.sampled_from([0, 1, MAX_TOTAL_SCORE - 1, MAX_TOTAL_SCORE]), st.integers(0, MAX_TOTAL_SCORE))
entries_of_all_kinds = st.builds(Entry, st.integers(1, LARGEST_NUMBER), st.booleans(), scores, moments)


@given(entries_of_all_kinds)
def test_member_and_score_keep_the_whole_entry(held: Entry) -> None:
    assert entry_from(member_of(held), float(score_of(held))) == held


@given(st.lists(entries_of_all_kinds, max_size=8))
def test_score_and_then_member_sort_like_the_rules(held: list[Entry]) -> None:
    assert sorted(held, key=lambda each: (float(score_of(each)), member_of(each).encode())) == ranked(held)


# Order


@pytest.mark.parametrize("seed", range(3))
async def test_order_is_that_of_postgresql_and_of_the_rules(
    boards: Boards, ladders: Ladders, sql: Sql, seed: int
) -> None:
    draw = random.Random(seed)
    numbers = [*range(1, 80), 99_999, 2**31, LARGEST_NUMBER - 1, LARGEST_NUMBER]
    history = [random_entry(draw, draw.choice(numbers)) for _ in range(500)]
    history += [each._replace(achieved_at=LAST_MOMENT) for each in draw.sample(history, 20)]
    best = best_of(history)
    await write_entries(sql, ALL_TIME, *best)
    expected = ranked(best)
    assert await ladders.ranked(ALL_TIME, 1000) == expected

    await boards.rebuild(ALL_TIME, 1, ladders.entries(ALL_TIME), has_period=False)
    rebuilt = await whole(boards)
    assert (rebuilt.total, rebuilt.entries) == (len(best), expected)

    # The same from nothing, in any order, in any portions, some of it twice.
    await build(boards, DAILY)
    again = history + draw.sample(history, 100)
    draw.shuffle(again)
    while again:
        portion, again = again[: draw.randint(1, 60)], again[60:] if len(again) > 60 else []
        await boards.apply({DAILY: portion})
    await boards.apply({DAILY: history})
    assert (await whole(boards, DAILY)).entries == expected


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 30))
async def test_applying_in_any_order_and_repeatedly_leads_to_the_same_board(
    boards: Boards, seed: int, count: int
) -> None:
    draw = random.Random(seed)
    history = [random_entry(draw, draw.randint(1, 4)) for _ in range(count)]
    one, other = f"all-time:{uuid4().hex}", f"all-time:{uuid4().hex}"
    for ladder in (one, other):
        await build(boards, ladder)
        await boards.apply({ladder: history})
        draw.shuffle(history)
        for each in history:
            await boards.apply({ladder: [each]})
    assert (await whole(boards, one)).entries == (await whole(boards, other)).entries == ranked(best_of(history))


@ON_EVERY_KIND
async def test_two_nodes_that_apply_at_once_lead_to_one_board(boards: Boards, redis_url: str) -> None:
    draw = random.Random(3)
    history = [random_entry(draw, draw.randint(1, 30)) for _ in range(300)]
    other = Boards.connect(redis_url, boards._prefix.removeprefix("braingame:"))
    await build(boards, ALL_TIME)
    mine, theirs = history[:], history[::-1]
    await asyncio.gather(
        *(boards.apply({ALL_TIME: mine[n : n + 10]}) for n in range(0, 300, 10)),
        *(other.apply({ALL_TIME: theirs[n : n + 7]}) for n in range(0, 300, 7)),
    )
    await other.close()
    assert (await whole(boards)).entries == ranked(best_of(history))


# Reading


@ON_EVERY_KIND
async def test_window_is_a_stretch_of_the_whole(boards: Boards) -> None:
    held = [entry(number, 1000 - number) for number in range(1, 31)]
    await build(boards, ALL_TIME, *held)
    version = (await whole(boards)).version
    for offset, limit in ((0, 1), (0, 10), (10, 5), (28, 10), (29, 1), (30, 10), (1000, 10), (0, 100)):
        window = await boards.read(ALL_TIME, offset, limit)
        assert window.entries == held[offset : offset + limit]
        assert (window.offset, window.total, window.version) == (offset, 30, version)


async def position_of(boards: Boards, ladder: str, number: int) -> int | None:
    return (await boards.places(ladder, [number])).positions.get(number)


async def test_position_is_the_place_in_the_whole(boards: Boards) -> None:
    draw = random.Random(4)
    held = best_of(random_entry(draw, number) for number in range(1, 60))
    await build(boards, ALL_TIME, *held)
    for position, each in enumerate(ranked(held)):
        assert await position_of(boards, ALL_TIME, each.number) == position
    await boards.apply({ALL_TIME: [entry(59, MAX_TOTAL_SCORE, passed=True, at=NOON - MILLISECOND)]})
    assert await position_of(boards, ALL_TIME, 59) == 0


async def test_player_without_an_entry_has_no_position(boards: Boards) -> None:
    await build(boards, ALL_TIME)
    assert await position_of(boards, ALL_TIME, 1) is None
    await boards.apply({ALL_TIME: [entry(1, 1)]})
    assert await position_of(boards, ALL_TIME, 2) is None


@ON_EVERY_KIND
async def test_places_are_those_of_one_moment(boards: Boards) -> None:
    await build(boards, ALL_TIME, entry(1, 30), entry(2, 20), entry(3, 10))
    places = await boards.places(ALL_TIME, [3, 4, 1])
    window = await whole(boards)
    assert places == Places(window.epoch, window.version, 3, {3: 2, 1: 0})
    assert (await boards.places(ALL_TIME, [])).total == 3


@ON_EVERY_KIND
async def test_player_who_is_taken_off_is_gone_for_good(boards: Boards) -> None:
    await build(boards, ALL_TIME, entry(1, 30), entry(2, 20))
    before = await whole(boards)
    assert await boards.apply({ALL_TIME: [Removal(1)]}) == Applied({ALL_TIME}, set())
    after = await whole(boards)
    assert (after.entries, after.total) == ([entry(2, 20)], 1)
    assert after.epoch == before.epoch
    assert after.version > before.version
    assert await position_of(boards, ALL_TIME, 1) is None
    # Once more, and an entry that another node applies late.
    assert await boards.apply({ALL_TIME: [Removal(1), entry(1, 99)]}) == Applied(set(), set(), {ALL_TIME})
    assert await whole(boards) == after


@ON_EVERY_KIND
async def test_truth_that_meets_a_player_who_was_taken_off_is_reported_and_shows_nobody(boards: Boards) -> None:
    await build(boards, ALL_TIME, entry(1, 10), entry(2, 20))
    await build(boards, DAILY, entry(1, 10))
    await boards.apply({ALL_TIME: [Removal(1)]})
    before = await whole(boards)
    # The entry that was held, a better one, and beside it one that is welcome.
    for held in (entry(1, 10), entry(1, 99)):
        found = await boards.reconcile({ALL_TIME: [held], DAILY: [held], WEEKLY: [held]})
        assert found == Applied({DAILY} if held.total_score == 99 else set(), {WEEKLY}, {ALL_TIME})
    assert await whole(boards) == before
    assert await boards.reconcile({ALL_TIME: [entry(1, 10), entry(2, 30)]}) == Applied({ALL_TIME}, set(), {ALL_TIME})
    assert (await whole(boards)).entries == [entry(2, 30)]


async def test_removal_that_meets_a_player_who_was_taken_off_is_no_contradiction(boards: Boards) -> None:
    await build(boards, ALL_TIME, entry(1, 10), entry(2, 20))
    assert await boards.reconcile({ALL_TIME: [Removal(1)]}) == Applied({ALL_TIME}, set(), set())
    assert await boards.reconcile({ALL_TIME: [Removal(1), entry(2, 20), entry(3, 1)]}) == Applied(
        {ALL_TIME}, set(), set()
    )


@ON_EVERY_KIND
async def test_rebuilt_ladder_shows_who_was_put_back(boards: Boards) -> None:
    await build(boards, ALL_TIME, entry(1, 10), entry(2, 20))
    await boards.apply({ALL_TIME: [Removal(1)]})
    await build(boards, ALL_TIME, entry(1, 10), entry(2, 20))
    assert (await whole(boards)).entries == [entry(2, 20), entry(1, 10)]
    assert await boards.reconcile({ALL_TIME: [entry(1, 30)]}) == Applied({ALL_TIME}, set(), set())


async def test_removal_may_come_before_the_entry(boards: Boards) -> None:
    await build(boards, ALL_TIME)
    await boards.apply({ALL_TIME: [Removal(1), entry(1, 30), entry(2, 20)]})
    assert (await whole(boards)).entries == [entry(2, 20)]


async def test_rebuilt_ladder_keeps_out_who_was_taken_off(boards: Boards) -> None:
    assert await boards.rebuild(ALL_TIME, 1, chunks([Removal(1), entry(2, 20)], [Removal(3)]), has_period=False)
    await boards.apply({ALL_TIME: [entry(1, 30), entry(3, 30)]})
    assert (await whole(boards)).entries == [entry(2, 20)]


async def test_ladder_that_was_never_built_is_missing_and_stays_so(boards: Boards, valkey: redis.asyncio.Redis) -> None:
    await build(boards, DAILY)
    assert await boards.apply({ALL_TIME: [entry(1, 1)], DAILY: [entry(1, 1)]}) == Applied({DAILY}, {ALL_TIME})
    await advance(boards, [ALL_TIME], 9)
    with pytest.raises(LadderMissing):
        await boards.read(ALL_TIME, 0, 10)
    with pytest.raises(LadderMissing):
        await position_of(boards, ALL_TIME, 1)
    assert await cursors_of(boards, [ALL_TIME]) == {ALL_TIME: None}
    assert not [name for name in await keys_of(boards, valkey) if ALL_TIME in name]


async def test_emptied_redis_misses_every_ladder(boards: Boards, valkey: redis.asyncio.Redis) -> None:
    await build(boards, ALL_TIME, entry(1, 1))
    await valkey.delete(*[f"{boards._prefix}:{name}" for name in await keys_of(boards, valkey)])
    assert await boards.apply({ALL_TIME: [entry(1, 1)]}) == Applied(set(), {ALL_TIME})
    with pytest.raises(LadderMissing):
        await boards.read(ALL_TIME, 0, 10)


async def test_reader_sees_every_version_whole(boards: Boards) -> None:
    # Each change moves a player to the top with a score that tells the version.
    await build(boards, ALL_TIME)
    first = (await whole(boards)).version

    async def write() -> None:
        for score in range(1, 100):
            await boards.apply({ALL_TIME: [entry(score % 5 + 1, score)]})

    writing = asyncio.create_task(write())
    seen = set()
    while not writing.done():
        window = await whole(boards)
        score = window.version - first
        assert [each.total_score for each in window.entries] == list(range(score, max(score - 5, 0), -1))
        seen.add(score)
    await writing
    assert len(seen) > 5


async def test_many_readers_at_once_are_all_served(boards: Boards) -> None:
    await build(boards, ALL_TIME, entry(1, 1))
    # Six for each connection; a busy machine is given no more to do within the second that one may wait for it.
    windows = await asyncio.gather(*(boards.read(ALL_TIME, 0, 10) for _ in range(100)), return_exceptions=True)
    assert [window for window in windows if not isinstance(window, Window)] == []


async def test_deployments_that_share_a_redis_do_not_see_each_other(boards: Boards, stores: Stores) -> None:
    other = Boards.connect(stores.redis_url, str(uuid4()))
    await build(boards, ALL_TIME, entry(1, 1))
    with pytest.raises(LadderMissing):
        await other.read(ALL_TIME, 0, 10)
    await build(other, ALL_TIME, entry(2, 2))
    assert (await whole(boards)).entries == [entry(1, 1)]
    assert (await whole(other)).entries == [entry(2, 2)]
    await other.close()


# Versions


async def test_version_goes_up_by_one_with_each_entry_that_becomes_better(boards: Boards) -> None:
    draw = random.Random(5)
    await build(boards, ALL_TIME)
    held: dict[int, Entry] = {}
    before = await whole(boards)
    for _ in range(120):
        portion = [random_entry(draw, draw.randint(1, 12)) for _ in range(draw.randint(0, 5))]
        improved = 0
        for each in portion:
            was = held.get(each.number)
            held[each.number] = each if was is None else better(was, each)
            improved += held[each.number] != was
        assert await boards.apply({ALL_TIME: portion}) == Applied({ALL_TIME} if improved else set(), set())
        after = await whole(boards)
        assert (after.epoch, after.version) == (before.epoch, before.version + improved)
        before = after


@ON_EVERY_KIND
async def test_each_ladder_has_a_version_of_its_own(boards: Boards) -> None:
    for ladder in (ALL_TIME, DAILY, WEEKLY):
        await build(boards, ladder, entry(1, 5))
    before = {ladder: (await whole(boards, ladder)).version for ladder in (ALL_TIME, DAILY, WEEKLY)}
    assert await boards.apply(
        {ALL_TIME: [entry(1, 4)], DAILY: [entry(1, 6), entry(2, 1)], WEEKLY: [], "daily@2026-11-24": [entry(1, 1)]}
    ) == Applied({DAILY}, {"daily@2026-11-24"})
    after = {ladder: (await whole(boards, ladder)).version for ladder in (ALL_TIME, DAILY, WEEKLY)}
    assert after == {**before, DAILY: before[DAILY] + 2}


@ON_EVERY_KIND
async def test_applying_nothing_does_nothing(boards: Boards) -> None:
    assert await boards.apply({}) == Applied(set(), set())


@pytest.mark.parametrize(
    "worse",
    [entry(7, 10, passed=True), later(entry(7, 10, passed=True)), entry(7, 9, passed=True), entry(7, MAX_TOTAL_SCORE)],
    ids=["the same", "later", "a lower score", "not passed"],
)
async def test_entry_that_is_not_better_changes_nothing(boards: Boards, worse: Entry) -> None:
    await build(boards, ALL_TIME, entry(7, 10, passed=True), entry(8, 10))
    before = await whole(boards)
    assert await boards.apply({ALL_TIME: [worse]}) == Applied(set(), set())
    assert await whole(boards) == before


# Rebuilding


async def test_rebuild_replaces_everything_under_a_new_epoch(boards: Boards, valkey: redis.asyncio.Redis) -> None:
    epochs = set()
    for cursor, held in enumerate(([entry(1, 1), entry(2, 2)], [entry(3, 3)], [], [entry(1, 1)]), 5):
        # Entries leave a ladder, and become worse, by this way only.
        await build(boards, ALL_TIME, *held, cursor=cursor)
        window = await whole(boards)
        assert window.entries == ranked(held)
        assert await cursors_of(boards, [ALL_TIME]) == {ALL_TIME: cursor}
        for each in (1, 2, 3):
            assert (await position_of(boards, ALL_TIME, each) is None) == (each not in {one.number for one in held})
        epochs.add(window.epoch)
    assert len(epochs) == 4
    assert await keys_of(boards, valkey) == {"{all-time}:meta", "{all-time}:ranks", "{all-time}:members"}


async def test_rebuilt_ladder_takes_entries_like_any_other(boards: Boards) -> None:
    await build(boards, ALL_TIME, entry(1, 10), entry(2, 20))
    assert await boards.apply({ALL_TIME: [entry(1, 9), entry(2, 30), entry(3, 15)]}) == Applied({ALL_TIME}, set())
    assert (await whole(boards)).entries == [entry(2, 30), entry(3, 15), entry(1, 10)]


class Chunks:
    """Chunks of a rebuild that come when the test says so."""

    def __init__(self, *given: list[Entry]) -> None:
        self._given = given
        self.reading = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[list[Entry]]:
        first, *rest = self._given
        yield first
        self.reading.set()
        await self.go_on.wait()
        for chunk in rest:
            yield chunk


def rebuild(boards: Boards, ladder: str, cursor: int, slow: Chunks) -> asyncio.Task[bool]:
    return asyncio.create_task(boards.rebuild(ladder, cursor, aiter(slow), has_period="@" in ladder))


async def test_readers_see_the_old_ladder_until_the_new_one_is_whole(boards: Boards) -> None:
    await build(boards, ALL_TIME, entry(1, 1))
    before = await whole(boards)
    slow = Chunks([entry(2, 2)], [entry(3, 3)])
    rebuilding = rebuild(boards, ALL_TIME, 2, slow)
    await slow.reading.wait()
    assert await whole(boards) == before
    slow.go_on.set()
    assert await rebuilding
    assert (await whole(boards)).entries == [entry(3, 3), entry(2, 2)]


async def test_what_is_committed_during_a_rebuild_is_there_after_the_changes_since_its_cursor(
    boards: Boards, ladders: Ladders, sql: Sql
) -> None:
    await write_entries(sql, ALL_TIME, *(entry(number, 10) for number in range(1, 5)))
    await build(boards, ALL_TIME, *(entry(number, 10) for number in range(1, 5)))

    async def commit(*committed: Entry) -> None:
        """As a node does: first PostgreSQL, then the board, as it is at that moment."""
        await write_entries(sql, ALL_TIME, *committed)
        await boards.apply({ALL_TIME: committed})

    async def read_and_be_overtaken() -> AsyncIterator[list[Entry]]:
        chunk = [held async for part in ladders.entries(ALL_TIME) for held in part if isinstance(held, Entry)]
        yield chunk[:2]
        # Of one that was read, one that is still to come, and one that is new.
        await commit(entry(1, 20), entry(4, 30), entry(5, 5))
        yield chunk[2:]
        await commit(entry(2, 40), entry(3, 10, passed=True))

    cursor = await ladders.horizon()
    assert await boards.rebuild(ALL_TIME, cursor, read_and_be_overtaken(), has_period=False)
    expected = [entry(3, 10, passed=True), entry(2, 40), entry(4, 30), entry(1, 20), entry(5, 5)]
    assert (await whole(boards)).entries != expected
    assert await cursors_of(boards, [ALL_TIME]) == {ALL_TIME: cursor}

    last = int(await sql.fetchval("SELECT max(changed_by::text::bigint) FROM ladder_entries"))

    async def behind_it() -> int | None:
        horizon = await ladders.horizon()
        return horizon if horizon > last else None

    until_then = await until(behind_it, "a horizon behind the last commit")
    assert until_then is not None
    async for chunk in ladders.changes(cursor, until_then):
        await boards.apply(chunk)
    assert (await whole(boards)).entries == expected == await ladders.ranked(ALL_TIME, 100)


@pytest.mark.parametrize("built", [True, False])
async def test_of_two_rebuilds_at_once_one_wins_and_the_other_leaves_nothing(
    boards: Boards, valkey: redis.asyncio.Redis, *, built: bool
) -> None:
    if built:
        await build(boards, DAILY, entry(1, 1))
    one, other = Chunks([entry(2, 2)], [entry(3, 3)]), Chunks([entry(2, 2)], [entry(4, 4)])
    rebuilds = [rebuild(boards, DAILY, 2, one), rebuild(boards, DAILY, 3, other)]
    await one.reading.wait()
    await other.reading.wait()
    one.go_on.set()
    other.go_on.set()
    first, second = await asyncio.gather(*rebuilds)
    assert first != second
    window = await whole(boards, DAILY)
    assert window.entries == ([entry(3, 3), entry(2, 2)] if first else [entry(4, 4), entry(2, 2)])
    assert await cursors_of(boards, [DAILY]) == {DAILY: 2 if first else 3}
    assert len(await keys_of(boards, valkey)) == 3


@ON_EVERY_KIND
async def test_rebuild_that_was_overtaken_does_not_undo_what_came_since(boards: Boards) -> None:
    await build(boards, ALL_TIME, entry(1, 1))
    slow = Chunks([entry(1, 1)])
    overtaken = rebuild(boards, ALL_TIME, 2, slow)
    await slow.reading.wait()
    await build(boards, ALL_TIME, entry(1, 1), entry(2, 2), cursor=3)
    await boards.apply({ALL_TIME: [entry(3, 3)]})
    before = await whole(boards)
    slow.go_on.set()
    assert not await overtaken
    assert await whole(boards) == before
    assert await cursors_of(boards, [ALL_TIME]) == {ALL_TIME: 3}


async def test_rebuild_that_fails_leaves_the_ladder_and_nothing_that_stays(
    boards: Boards, valkey: redis.asyncio.Redis
) -> None:
    await build(boards, ALL_TIME, entry(1, 1))
    before = await whole(boards)

    async def break_off() -> AsyncIterator[list[Entry]]:
        yield [entry(2, 2)]
        raise StoreUnavailable("PostgreSQL went away")

    with pytest.raises(StoreUnavailable):
        await boards.rebuild(ALL_TIME, 2, break_off(), has_period=False)
    assert await whole(boards) == before
    lives = await lives_of(boards, valkey)
    for name in ("{all-time}:meta", "{all-time}:ranks", "{all-time}:members"):
        assert lives.pop(name) == -1
    assert lives
    assert all(0 < seconds <= TEN_MINUTES for seconds in lives.values())


@ON_EVERY_KIND
async def test_large_ladder_is_rebuilt_in_chunks(boards: Boards) -> None:
    held = [entry(number, number % 1000, at=NOON + number % 13 * MILLISECOND) for number in range(1, 11_001)]
    assert await boards.rebuild(
        ALL_TIME, 1, chunks(*(held[n : n + 5000] for n in range(0, 11_000, 5000))), has_period=False
    )
    window = await boards.read(ALL_TIME, 0, 30_000)
    assert (window.total, window.entries) == (11_000, ranked(held))


# How long a ladder is kept


@pytest.mark.parametrize("built_with", [[], [entry(1, 1)]], ids=["built empty", "built with entries"])
async def test_ladder_of_a_period_is_kept_for_a_time_and_that_of_all_time_for_ever(
    boards: Boards, valkey: redis.asyncio.Redis, built_with: list[Entry]
) -> None:
    for ladder in (DAILY, WEEKLY, ALL_TIME):
        await build(boards, ladder, *built_with)
        # The keys for entries may only come to be now.
        await boards.apply({ladder: [entry(2, 2)]})
        await boards.apply({ladder: [entry(3, 3)]})
    lives = await lives_of(boards, valkey)
    assert len(lives) == 9
    for name, seconds in lives.items():
        if ALL_TIME in name:
            assert seconds == -1, name
        else:
            # More than the longest period, so that a ladder never goes away while it is shown.
            assert 8 * 86_400 < SIXTEEN_DAYS - 60 <= seconds <= SIXTEEN_DAYS, name


async def test_first_entry_does_not_outlive_a_ladder_that_was_built_empty(
    boards: Boards, valkey: redis.asyncio.Redis
) -> None:
    await build(boards, DAILY)
    await valkey.expire(f"{boards._prefix}:{{{DAILY}}}:meta", 1000)
    await boards.apply({DAILY: [entry(1, 1)]})
    assert all(990 <= seconds <= 1000 for seconds in (await lives_of(boards, valkey)).values())


async def test_player_who_is_taken_off_does_not_outlive_a_ladder_that_was_built_empty(
    boards: Boards, valkey: redis.asyncio.Redis
) -> None:
    await build(boards, DAILY)
    await valkey.expire(f"{boards._prefix}:{{{DAILY}}}:meta", 1000)
    await boards.apply({DAILY: [Removal(1)]})
    assert sorted(await keys_of(boards, valkey)) == [f"{{{DAILY}}}:members", f"{{{DAILY}}}:meta"]
    assert all(990 <= seconds <= 1000 for seconds in (await lives_of(boards, valkey)).values())


async def test_entry_that_comes_when_the_last_one_goes_does_not_outlive_the_ladder(
    boards: Boards, valkey: redis.asyncio.Redis
) -> None:
    await build(boards, DAILY, entry(1, 1))
    await boards.apply({DAILY: [Removal(1), entry(2, 2)]})
    assert (await whole(boards, DAILY)).entries == [entry(2, 2)]
    assert -1 not in (await lives_of(boards, valkey)).values()


@pytest.mark.parametrize("others", [0, 1])
async def test_entry_that_becomes_better_does_not_prolong_a_ladder(
    boards: Boards, valkey: redis.asyncio.Redis, others: int
) -> None:
    # Without others the old entry is the last one, and Redis removes a sorted set together with its last member.
    await build(boards, DAILY, *(entry(number, 1) for number in range(1, others + 2)))
    for name in await keys_of(boards, valkey):
        await valkey.expire(f"{boards._prefix}:{name}", 1000)
    await boards.apply({DAILY: [later(entry(1, 2))]})
    for name, seconds in (await lives_of(boards, valkey)).items():
        assert 990 <= seconds <= 1000, name


# Cursors


@ON_EVERY_KIND
async def test_cursor_goes_forward_only(boards: Boards) -> None:
    await build(boards, ALL_TIME, cursor=5)
    await build(boards, DAILY, cursor=7)
    await advance(boards, [ALL_TIME, DAILY], 6)
    assert await cursors_of(boards, [ALL_TIME, DAILY]) == {ALL_TIME: 6, DAILY: 7}
    for cursor in (9, 8, 0, 9):
        await advance(boards, [ALL_TIME, DAILY, WEEKLY], cursor)
        assert await cursors_of(boards, [DAILY, WEEKLY, ALL_TIME]) == {ALL_TIME: 9, DAILY: 9, WEEKLY: None}
    # 99 is less than 100 only as a number.
    await advance(boards, [ALL_TIME], 99)
    await advance(boards, [ALL_TIME], 100)
    assert await cursors_of(boards, [ALL_TIME]) == {ALL_TIME: 100}


async def test_cursors_of_two_nodes_end_at_the_later_one(boards: Boards) -> None:
    await build(boards, ALL_TIME)
    await asyncio.gather(
        *(advance(boards, [ALL_TIME], cursor) for cursor in random.Random(6).sample(range(2, 200), 100))
    )
    assert await cursors_of(boards, [ALL_TIME]) == {ALL_TIME: max(random.Random(6).sample(range(2, 200), 100))}


@ON_EVERY_KIND
async def test_cursor_of_a_ladder_that_was_rebuilt_meanwhile_stays(boards: Boards) -> None:
    """What a sweep has applied went into the ladder that is gone; the new one says itself up to where it is."""
    await build(boards, ALL_TIME, cursor=1)
    held = (await boards.cursors([ALL_TIME]))[ALL_TIME]
    assert held is not None
    await boards.apply({ALL_TIME: [entry(1, 1)]})
    await build(boards, ALL_TIME, cursor=2)  # read before that entry was committed
    await boards.advance({ALL_TIME: held}, 9)
    assert await cursors_of(boards, [ALL_TIME]) == {ALL_TIME: 2}


async def test_old_removal_takes_nobody_off_a_ladder_that_was_rebuilt_meanwhile(boards: Boards) -> None:
    """A sweep has read it, then an operator elsewhere has put the player back, and the sweep goes on."""
    await build(boards, ALL_TIME, entry(1, 1))
    held = await boards.cursors([ALL_TIME])
    await build(boards, ALL_TIME, entry(1, 1))
    assert await boards.reconcile({ALL_TIME: [Removal(1)]}, held) == Applied(set(), {ALL_TIME}, set())
    assert (await whole(boards)).entries == [entry(1, 1)]
    now = await boards.cursors([ALL_TIME])
    assert await boards.reconcile({ALL_TIME: [Removal(1)]}, now) == Applied({ALL_TIME}, set(), set())


async def test_cursor_is_no_change_of_the_board(boards: Boards) -> None:
    await build(boards, ALL_TIME, entry(1, 1))
    before = await whole(boards)
    await advance(boards, [ALL_TIME], 9)
    assert await whole(boards) == before


@ON_EVERY_KIND
async def test_no_ladders_have_no_cursors(boards: Boards) -> None:
    assert await cursors_of(boards, []) == {}
    await advance(boards, [], 9)


# A Redis that forgets, goes away or hangs


async def test_redis_that_has_forgotten_the_scripts_is_told_them_again(
    boards: Boards, valkey: redis.asyncio.Redis
) -> None:
    for score in (1, 2):
        await valkey.script_flush()
        await build(boards, ALL_TIME, entry(1, score))
        await valkey.script_flush()
        assert await boards.apply({ALL_TIME: [entry(1, score + 10)], DAILY: []}) == Applied({ALL_TIME}, {DAILY})
        await valkey.script_flush()
        await advance(boards, [ALL_TIME, DAILY], 9)
        assert await cursors_of(boards, [ALL_TIME]) == {ALL_TIME: 9}
        assert (await whole(boards)).entries == [entry(1, score + 10)]


CALLS: dict[str, Callable[[Boards], Awaitable[Any]]] = {
    "ping": lambda boards: boards.ping(),
    "apply": lambda boards: boards.apply({ALL_TIME: [entry(1, 1)]}),
    "read": lambda boards: boards.read(ALL_TIME, 0, 10),
    "places": lambda boards: boards.places(ALL_TIME, [1]),
    "rebuild": lambda boards: boards.rebuild(ALL_TIME, 1, chunks([entry(1, 1)]), has_period=False),
    "cursors": lambda boards: boards.cursors([ALL_TIME]),
    "advance": lambda boards: boards.advance({ALL_TIME: Cursor("e", 0)}, 1),
}


async def all_unavailable(boards: Boards) -> bool:
    """Whether every call says so, in the time that is promised."""
    async with asyncio.timeout(PROMISED):
        outcomes = await asyncio.gather(*(call(boards) for call in CALLS.values()), return_exceptions=True)
    return {type(outcome) for outcome in outcomes} == {RedisUnavailable}


async def test_redis_that_is_away_is_unavailable_in_time_and_then_back(boards: Boards, redis_gate: Gate) -> None:
    gated = Boards.connect(redis_gate.url, boards._prefix.removeprefix("braingame:"))
    await build(gated, ALL_TIME, entry(1, 1))
    await redis_gate.shut()
    assert await all_unavailable(gated)
    await redis_gate.open()
    await gated.ping()
    assert (await whole(gated)).entries == [entry(1, 1)] == (await whole(boards)).entries
    await gated.close()


async def test_redis_that_never_was_there_is_unavailable_in_time() -> None:
    nowhere = Boards.connect("unix:///nowhere/valkey.sock", "x")
    assert await all_unavailable(nowhere)
    await nowhere.close()


async def test_redis_that_hangs_is_unavailable_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        hanging = Boards.connect(f"redis://127.0.0.1:{frozen.getsockname()[1]}", "x")
        assert await all_unavailable(hanging)
        # Also for those who first have to wait for a connection.
        async with asyncio.timeout(PROMISED):
            readers = [hanging.read(ALL_TIME, 0, 10) for _ in range(200)]
            outcomes = await asyncio.gather(*readers, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {RedisUnavailable}
        async with asyncio.timeout(PROMISED):
            await hanging.close()


async def test_change_whose_answer_was_lost_may_be_applied_again(boards: Boards, redis_gate: Gate) -> None:
    gated = Boards.connect(redis_gate.url, boards._prefix.removeprefix("braingame:"))
    await build(gated, ALL_TIME)
    # From now on Redis knows the script.
    await gated.apply({ALL_TIME: [entry(2, 2)]})
    redis_gate.swallow_answers()
    with pytest.raises(StoreUnavailable):
        await gated.apply({ALL_TIME: [entry(1, 1)]})

    async def arrived() -> bool:
        return (await whole(boards)).total == 2

    await until(arrived, "the change")
    before = await whole(boards)
    await redis_gate.shut()
    await redis_gate.open()
    assert await gated.apply({ALL_TIME: [entry(1, 1)]}) == Applied(set(), set())
    assert await whole(gated) == before
    await gated.close()


@pytest.mark.parametrize("url", ["http://localhost", "redis://localhost:port", ""])
def test_bad_url_is_told_from_a_redis_that_is_away(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Boards.connect(url, "x")
