"""The best entries in PostgreSQL: read whole, in the order of the rules, and with no change missed."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from uuid import UUID

import pytest

from game.ranking import Entry, Removal, ranked
from storage.commits import Applied, Commits
from storage.ladders import _CHUNK, Ladders
from storage.postgres import Postgres, StoreUnavailable
from tests.server.gate import Gate
from tests.storage.playing import NOON, Sql, add_players, best_of, game, random_entry, write_entries
from tests.storage.waiting import PROMISED, locked, until

ALL_TIME = "all-time"
DAILY = "daily@2026-11-23"

_FILL = """
    INSERT INTO ladder_entries (ladder, number, passed_all_games, total_score, achieved_at, session_id)
    SELECT $1, n, n % 3 = 0, n % 50, $2::timestamptz + n % 7 * interval '1 millisecond', gen_random_uuid()
    FROM generate_series(1, $3::bigint) AS n
"""


async def fill(sql: Sql, ladder: str, count: int) -> list[Entry]:
    """Entries of the players 1 to `count`, all in one transaction."""
    await sql.execute(_FILL, ladder, NOON, count)
    return [Entry(n, n % 3 == 0, n % 50, NOON + n % 7 * timedelta(milliseconds=1)) for n in range(1, count + 1)]


async def changes(ladders: Ladders, since: int, until: int) -> dict[str, list[Entry | Removal]]:
    """What all chunks say together."""
    found: dict[str, list[Entry | Removal]] = {}
    async for chunk in ladders.changes(since, until):
        for ladder, entries in chunk.items():
            assert entries
            found.setdefault(ladder, []).extend(entries)
    return found


async def horizon_after(ladders: Ladders, transaction: int) -> int:
    """The horizon as soon as it has passed that transaction. Others, such as a vacuum's, may hold it back a little."""

    async def passed() -> int | None:
        horizon = await ladders.horizon()
        return horizon if horizon > transaction else None

    found = await until(passed, "a horizon behind the transaction")
    assert found is not None
    return found


async def transaction_of(sql: Sql, number: int, ladder: str = ALL_TIME) -> int:
    query = "SELECT changed_by::text FROM ladder_entries WHERE number = $1 AND ladder = $2"
    return int(await sql.fetchval(query, number, ladder))


def entry(number: int, score: int, *, passed: bool = False) -> Entry:
    return Entry(number, passed, score, NOON)


async def test_deployment_stays_the_same(ladders: Ladders, sql: Sql) -> None:
    found = await ladders.deployment()
    assert isinstance(found, UUID)
    assert found == await ladders.deployment() == await sql.fetchval("SELECT id FROM deployment")


# The whole ladder


@pytest.mark.parametrize("seed", range(3))
async def test_order_is_that_of_the_rules_for_random_histories_with_ties(ladders: Ladders, sql: Sql, seed: int) -> None:
    draw = random.Random(seed)
    entries = best_of(random_entry(draw, draw.choice((draw.randrange(1, 200), 2**63 - 1))) for _ in range(400))
    draw.shuffle(entries)
    await write_entries(sql, ALL_TIME, *entries)
    await write_entries(sql, DAILY, entry(1, 1))
    assert await ladders.ranked(ALL_TIME, 1000) == ranked(entries)
    assert await ladders.ranked(ALL_TIME, 7) == ranked(entries)[:7]
    assert await ladders.ranked(DAILY, 10) == [entry(1, 1)]


async def test_ladder_without_entries_is_empty(ladders: Ladders) -> None:
    assert await ladders.ranked(ALL_TIME, 10) == []
    assert [chunk async for chunk in ladders.entries(ALL_TIME)] == []


@pytest.mark.parametrize("count", [1, _CHUNK - 1, _CHUNK, _CHUNK + 1, 2 * _CHUNK + 1])
async def test_entries_come_whole_over_several_chunks(ladders: Ladders, sql: Sql, count: int) -> None:
    expected = await fill(sql, ALL_TIME, count)
    await fill(sql, DAILY, 3)
    chunks = [chunk async for chunk in ladders.entries(ALL_TIME)]
    assert [each for chunk in chunks for each in chunk] == expected
    assert [len(chunk) for chunk in chunks] == [_CHUNK] * (count // _CHUNK) + (
        [count % _CHUNK] if count % _CHUNK else []
    )


async def test_entries_are_those_that_were_committed(ladders: Ladders, commits: Commits, sql: Sql) -> None:
    await add_players(sql, 3)
    for number, score in ((1, 10), (2, 30), (3, 20)):
        for each in game(number, score, passed=number != 2):
            assert isinstance(await commits.commit(each), Applied)
    expected = [entry(3, 20, passed=True), entry(1, 10, passed=True), entry(2, 30)]
    names = [ALL_TIME, "all-time:0", DAILY, "daily:0@2026-11-23", "weekly@2026-11-23", "weekly:0@2026-11-23"]
    for ladder in names:
        assert await ladders.ranked(ladder, 10) == expected
    # Each player was last to change in a transaction of its own.
    in_order = [expected[1], expected[2], expected[0]]
    assert await changes(ladders, 0, 2**63) == dict.fromkeys(names, in_order)


# What changed


async def test_change_is_between_the_horizon_before_it_and_the_one_after_it(ladders: Ladders, sql: Sql) -> None:
    before = await ladders.horizon()
    await write_entries(sql, ALL_TIME, entry(1, 10))
    between = await horizon_after(ladders, await transaction_of(sql, 1))
    await write_entries(sql, DAILY, entry(2, 20))
    after = await horizon_after(ladders, await transaction_of(sql, 2, DAILY))
    assert await changes(ladders, before, between) == {ALL_TIME: [entry(1, 10)]}
    assert await changes(ladders, between, after) == {DAILY: [entry(2, 20)]}
    assert await changes(ladders, before, after) == {ALL_TIME: [entry(1, 10)], DAILY: [entry(2, 20)]}
    assert await changes(ladders, after, after) == {}
    assert await changes(ladders, after, 2**63) == {}


async def test_limits_are_exact_to_the_transaction(ladders: Ladders, sql: Sql) -> None:
    await write_entries(sql, ALL_TIME, entry(1, 10))
    at = await transaction_of(sql, 1)
    assert await changes(ladders, at, at + 1) == {ALL_TIME: [entry(1, 10)]}
    assert await changes(ladders, at - 1, at) == {}
    assert await changes(ladders, at + 1, at + 2) == {}


async def test_entry_that_changes_again_is_given_once_as_it_is_now(ladders: Ladders, sql: Sql) -> None:
    before = await ladders.horizon()
    await write_entries(sql, ALL_TIME, entry(1, 10), entry(2, 10))
    between = await horizon_after(ladders, await transaction_of(sql, 1))
    await write_entries(sql, ALL_TIME, entry(1, 20))
    after = await horizon_after(ladders, await transaction_of(sql, 1))
    assert await changes(ladders, before, between) == {ALL_TIME: [entry(2, 10)]}
    assert await changes(ladders, between, after) == {ALL_TIME: [entry(1, 20)]}


async def test_commit_of_something_worse_is_no_change(ladders: Ladders, commits: Commits, sql: Sql) -> None:
    await add_players(sql, 1)
    best = game(1, 10, passed=True)
    for each in best:
        await commits.commit(each)
    before = await horizon_after(ladders, await transaction_of(sql, 1))
    for each in game(1, 9, passed=True, state=best[-1].state):
        assert isinstance(await commits.commit(each), Applied)
    assert await changes(ladders, before, 2**63) == {}


async def test_change_of_an_open_transaction_is_never_passed_by_the_horizon(
    ladders: Ladders, sql: Sql, database_url: str
) -> None:
    before = await ladders.horizon()
    query = """
        INSERT INTO ladder_entries (ladder, number, passed_all_games, total_score, achieved_at, session_id)
        VALUES ('all-time', 1, false, 10, $1, gen_random_uuid()) RETURNING number
    """
    async with locked(database_url, query, NOON) as slow:
        opened = int(await slow.fetchval("SELECT pg_current_xact_id()::text"))
        # Faster ones come after it and are committed before it.
        for number in range(2, 12):
            await write_entries(sql, ALL_TIME, entry(number, number))
        between = await ladders.horizon()
        assert before <= between <= opened
        # Not given yet, so that nobody takes what is behind the open one for all there is.
        assert await changes(ladders, before, between) == {}
        await slow.execute("COMMIT")
    after = await horizon_after(ladders, await transaction_of(sql, 11))
    assert await changes(ladders, between, after) == {
        ALL_TIME: [entry(1, 10), *(entry(number, number) for number in range(2, 12))]
    }


async def test_readers_who_go_from_horizon_to_horizon_miss_nothing(
    ladders: Ladders, commits: Commits, sql: Sql, database_url: str
) -> None:
    numbers = await add_players(sql, 12)
    draw = random.Random(7)
    finished = asyncio.Event()

    async def play(number: int) -> None:
        state = None
        for score in range(1, 9):
            moves = game(number, score, passed=True) if state is None else game(number, score, passed=True, state=state)
            for each in moves:
                assert isinstance(await commits.commit(each), Applied)
            state = moves[-1].state

    async def hold_back() -> None:
        # Transactions that stay open for a while, whatever they do.
        while not finished.is_set():
            async with locked(database_url, "SELECT pg_current_xact_id()"):
                for _ in range(draw.randrange(4)):
                    await ladders.horizon()

    async def follow() -> dict[tuple[str, int], Entry | Removal]:
        held: dict[tuple[str, int], Entry | Removal] = {}
        cursor = start
        while not (finished.is_set() and cursor > await last_transaction()):
            horizon = await ladders.horizon()
            assert horizon >= cursor
            for ladder, entries in (await changes(ladders, cursor, horizon)).items():
                held.update({(ladder, each.number): each for each in entries})
            cursor = horizon
        return held

    async def last_transaction() -> int:
        return int(await sql.fetchval("SELECT max(changed_by::text::bigint) FROM ladder_entries"))

    start = await ladders.horizon()
    following, holding = asyncio.create_task(follow()), asyncio.create_task(hold_back())
    await asyncio.gather(*(play(number) for number in numbers))
    finished.set()
    await holding
    async with asyncio.timeout(10):
        held = await following
    # Every better score replaced the one before, so whoever missed one holds a lower one.
    assert held == {(ladder, number): entry(number, 8, passed=True) for ladder, number in held}
    assert len(held) == 6 * len(numbers)


async def test_changes_come_whole_where_numbers_of_transactions_grow_by_a_digit(
    ladders: Ladders, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """999 comes before 1000, as numbers do and texts do not."""
    monkeypatch.setattr("storage.ladders._CHUNK", 2)
    expected = await fill(sql, ALL_TIME, 9)
    change = "UPDATE ladder_entries SET changed_by = $1::text::xid8 WHERE number = $2"
    for each in expected:
        await sql.execute(change, str(994 + each.number), each.number)
    assert await changes(ladders, 990, 1010) == {ALL_TIME: expected}


async def test_changes_of_one_large_transaction_come_whole_over_several_chunks(ladders: Ladders, sql: Sql) -> None:
    before = await ladders.horizon()
    async with sql.transaction():
        expected = {
            ladder: await fill(sql, ladder, count)
            for ladder, count in ((ALL_TIME, _CHUNK + 1), (DAILY, _CHUNK - 1), ("weekly@2026-11-23", 10))
        }
    await write_entries(sql, "daily@2026-11-24", entry(1, 1))
    after = await horizon_after(ladders, await transaction_of(sql, 1, "daily@2026-11-24"))
    chunks = [chunk async for chunk in ladders.changes(before, after)]
    assert [sum(map(len, chunk.values())) for chunk in chunks] == [_CHUNK, _CHUNK, 11]
    assert await changes(ladders, before, after) == {**expected, "daily@2026-11-24": [entry(1, 1)]}


async def test_changes_that_fill_a_chunk_exactly_come_once(ladders: Ladders, sql: Sql) -> None:
    expected = await fill(sql, ALL_TIME, _CHUNK)
    assert await changes(ladders, 0, 2**63) == {ALL_TIME: expected}


async def test_every_question_ends_in_time_when_postgresql_is_away(
    gated_postgres: Postgres, postgres_gate: Gate
) -> None:
    ladders = Ladders(gated_postgres)
    await postgres_gate.shut()
    async with asyncio.timeout(PROMISED):
        outcomes = await asyncio.gather(
            ladders.deployment(),
            ladders.horizon(),
            ladders.ranked(ALL_TIME, 10),
            changes(ladders, 0, 1),
            anext(ladders.entries(ALL_TIME)),
            return_exceptions=True,
        )
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}


# Who was taken off


async def test_who_was_taken_off_is_told_apart_and_is_news(ladders: Ladders, sql: Sql) -> None:
    await write_entries(sql, ALL_TIME, entry(1, 10), entry(2, 20))
    before = await horizon_after(ladders, await transaction_of(sql, 1))
    await sql.execute("UPDATE ladder_entries SET removed = true, changed_by = pg_current_xact_id() WHERE number = 2")
    after = await horizon_after(ladders, await transaction_of(sql, 2))
    assert [chunk async for chunk in ladders.entries(ALL_TIME)] == [[entry(1, 10), Removal(2)]]
    assert await changes(ladders, before, after) == {ALL_TIME: [Removal(2)]}
    assert await ladders.ranked(ALL_TIME, 10) == [entry(1, 10)]
