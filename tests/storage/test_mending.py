"""What differs from the log is made again from it, beside servers at work; what the log has lost is left alone."""

from __future__ import annotations

import asyncio

import pytest

from game.ranking import Entry, Removal
from game.session import Complete
from storage.commits import Applied, Commits
from storage.ladders import Ladders
from storage.mending import mend
from storage.postgres import Postgres
from storage.sessions import SessionStore
from tests.storage.damage import ADA, DAMAGES, DEALT, MENDABLE, Damage, populate
from tests.storage.playing import Sql, change, kept_entries, start
from tests.storage.test_audit import check_found, differences
from tests.storage.waiting import blocked_backend, locked


async def contents(sql: Sql) -> list[object]:
    """Everything that a rebuild may touch, but for which transaction wrote it."""
    entries = "SELECT ladder, number, total_score, achieved_at, session_id, removed FROM ladder_entries ORDER BY 1, 2"
    return [await sql.fetch("SELECT * FROM sessions ORDER BY number"), await sql.fetch(entries)]


@pytest.mark.parametrize("damage", MENDABLE, ids=str)
async def test_every_damage_but_that_of_the_log_is_found_and_mended(
    damage: Damage, database_url: str, postgres: Postgres, commits: Commits, sql: Sql
) -> None:
    await populate(postgres, commits)
    whole = await contents(sql)
    await sql.execute(damage.sql)
    found = await check_found(damage, database_url, postgres)
    assert await mend(postgres, damage.number, {each.ladder for each in found if each.ladder}) == found
    assert await differences(database_url) == []
    assert await contents(sql) == whole


@pytest.mark.parametrize("damage", [each for each in DAMAGES if each.name in ("hole", "tail", "nobody's log")], ids=str)
async def test_player_with_a_damaged_log_is_left_alone(
    damage: Damage, postgres: Postgres, commits: Commits, sql: Sql
) -> None:
    await populate(postgres, commits)
    await sql.execute(damage.sql)
    await sql.execute("UPDATE ladder_entries SET total_score = 1000")
    before = await contents(sql)
    found = await mend(postgres, damage.number, ["all-time"])
    assert found
    assert not any(each.mendable for each in found)
    assert await contents(sql) == before


async def test_boards_in_redis_hear_of_what_was_mended(postgres: Postgres, commits: Commits, sql: Sql) -> None:
    await populate(postgres, commits)
    ladders = Ladders(postgres)
    horizon = await ladders.horizon()
    await sql.execute("UPDATE ladder_entries SET removed = false WHERE number = 4 AND ladder = 'all-time'")
    await mend(postgres, 4, [])
    changes = [chunk async for chunk in ladders.changes(horizon, await ladders.horizon())]
    assert changes == [{"all-time": [Removal(4)]}]


async def test_player_without_a_difference_is_not_touched(postgres: Postgres, commits: Commits, sql: Sql) -> None:
    await populate(postgres, commits)
    rows = "SELECT xmin, ctid FROM sessions UNION ALL SELECT xmin, ctid FROM ladder_entries"
    before = await sql.fetch(rows)
    for number in range(1, 7):
        assert await mend(postgres, number, ["all-time"]) == []
    assert await sql.fetch(rows) == before


async def test_seed_that_the_log_does_not_know_is_kept(postgres: Postgres, commits: Commits, sql: Sql) -> None:
    await populate(postgres, commits)
    seed = await sql.fetchval("SELECT seed FROM sessions WHERE number = $1", DEALT)
    await sql.execute("UPDATE session_events SET seed = NULL; UPDATE sessions SET stage = 0 WHERE number = 2")
    assert len(await mend(postgres, DEALT, [])) == 1
    row = await sql.fetchrow("SELECT stage, seed FROM sessions WHERE number = $1", DEALT)
    assert row is not None
    assert tuple(row) == (1, seed)


async def test_action_that_is_committed_meanwhile_is_not_lowered(
    database_url: str, postgres: Postgres, commits: Commits, sql: Sql, patient: None
) -> None:
    """The difference was found before: what is mended is what there is when the player's rows are held."""
    await populate(postgres, commits)
    await sql.execute(
        "DELETE FROM ladder_entries WHERE number = 2; UPDATE sessions SET total_score = 9 WHERE number = 2"
    )
    async with locked(database_url, "SELECT FROM sessions WHERE number = 2 FOR UPDATE") as other:
        mending = asyncio.create_task(mend(postgres, DEALT, []))
        await blocked_backend(sql)
        await other.execute(
            "INSERT INTO session_events SELECT number, 5, 'meanwhile', 2, 50, session_id, 2, stage, stage_count, 54, "
            "difficulty, started_at, now(), now(), seed FROM session_events WHERE number = 2 AND version = 4"
        )
        await other.execute(
            "UPDATE session_events SET at = ended_at WHERE number = 2 AND version = 5;"
            "UPDATE sessions s SET version = 5, status = 2, total_score = 54, ended_at = e.at, dealt_at = NULL "
            "FROM session_events e WHERE s.number = 2 AND e.number = 2 AND e.version = 5"
        )
        await other.execute("COMMIT")
        found = await mending
    # Its entries were never written, which is why they are mended; the row was right by then.
    assert {(str(each.part), each.what) for each in found} == {("entry", "it is missing")}
    assert await differences(database_url) == []
    entry, _ = (await kept_entries(sql))["all-time", DEALT]
    assert isinstance(entry, Entry)
    assert (entry.total_score, entry.passed_all_games) == (54, False)


async def test_action_that_comes_while_a_player_is_mended_builds_on_what_was_mended(
    database_url: str, postgres: Postgres, commits: Commits, sql: Sql, patient: None
) -> None:
    await populate(postgres, commits)
    state = await SessionStore(postgres).state(ADA)
    await sql.execute("UPDATE sessions SET total_score = 77 WHERE number = 1")
    async with locked(database_url, "SELECT FROM players WHERE number = 1 FOR UPDATE") as other:
        mending = asyncio.create_task(mend(postgres, ADA, []))
        await blocked_backend(sql)
        begun = change(ADA, start(), state)
        assert isinstance(await commits.commit(begun), Applied)
        await other.execute("COMMIT")
        # The commit has put the row right before it could be mended.
        assert await mending == []
    assert isinstance(await commits.commit(change(ADA, Complete(1), begun.state)), Applied)
    assert await differences(database_url) == []
