"""The audit of PostgreSQL: nothing to say of what our own code has written, and every damage by player."""

from __future__ import annotations

import asyncio
import random

import pytest

from game.ranking import Entry, Removal
from game.session import NEVER_PLAYED
from storage.audit import check_one, check_some, last_number, one_moment
from storage.commits import Commits
from storage.findings import Difference, Finding, Part
from storage.ladders import Ladders
from storage.postgres import Postgres, StoreUnavailable
from tests.server.gate import Gate
from tests.storage.damage import ADA, BACK, DAMAGES, DEALT, DELETED, NEW, OFF, Damage, populate
from tests.storage.playing import NOON, Sql, add_players, apply, game, kept_entries
from tests.storage.waiting import locked, running


async def looked_at(database_url: str) -> list[Finding]:
    async with one_moment(database_url) as moment:
        return [found async for found in moment.players()]


async def differences(database_url: str) -> list[Difference]:
    return [each for found in await looked_at(database_url) for each in found.differences]


async def test_nothing_is_said_of_what_our_own_code_has_written(
    database_url: str, postgres: Postgres, commits: Commits, sql: Sql
) -> None:
    await populate(postgres, commits)
    found = await looked_at(database_url)
    assert [each for one in found for each in one.differences] == []
    assert [one.number for one in found] == [ADA, DEALT, DELETED, OFF, BACK, NEW]
    assert sum(one.events for one in found) == await sql.fetchval("SELECT count(*) FROM session_events")
    assert sum(len(one.kept) for one in found) == len(await kept_entries(sql))
    batch = await check_some(postgres, 1, 100, max_events=1000, within=10)
    assert (batch.last, batch.players, batch.differences) == (NEW, 6, [])
    assert await last_number(postgres) == NEW


# What can be mended is found, and mended, in test_mending.py.
@pytest.mark.parametrize("damage", [each for each in DAMAGES if not each.mendable], ids=str)
async def test_damaged_log_is_found_at_its_player(
    damage: Damage, database_url: str, postgres: Postgres, commits: Commits, sql: Sql
) -> None:
    await populate(postgres, commits)
    await sql.execute(damage.sql)
    await check_found(damage, database_url, postgres)


async def check_found(damage: Damage, database_url: str, postgres: Postgres) -> list[Difference]:
    """The damage is found where it is, and nothing else; gives what is said of it."""
    found = await differences(database_url)
    assert {each.number for each in found} == {damage.number}
    assert any(damage.said in each.what for each in found), found
    assert {each.mendable for each in found} == {damage.mendable}
    # What goes on in a server finds the same, but for numbers without an account and for entries from nowhere.
    batch = await check_some(postgres, 1, 100, max_events=1000, within=10)
    from_nowhere = "no session in the log stands behind it"
    assert batch.differences == [each for each in found if each.number != 99 and each.what != from_nowhere]
    return found


async def test_all_damages_at_once_are_all_found(
    database_url: str, postgres: Postgres, commits: Commits, sql: Sql
) -> None:
    await populate(postgres, commits)
    await sql.execute("DELETE FROM ladder_entries; UPDATE sessions SET version = version + 1")
    found = await differences(database_url)
    assert {(each.part, each.number) for each in found} == {
        *((Part.LOG, number) for number in (ADA, DEALT, OFF, BACK, NEW)),
        *((Part.ENTRY, number) for number in (ADA, DELETED, OFF, BACK)),
    }


async def test_it_sees_one_moment_however_long_it_takes(
    database_url: str, postgres: Postgres, commits: Commits, sql: Sql
) -> None:
    await populate(postgres, commits)
    async with one_moment(database_url) as moment:
        before = len(await moment.ladders())
        await apply(commits, *game(NEW, 1, 2, passed=True))
        await sql.execute("DELETE FROM ladder_entries")
        assert [each async for one in moment.players() for each in one.differences] == []
        assert len(await moment.ladders()) == before
    assert await differences(database_url) != []


async def test_boards_are_read_in_their_order_without_who_is_off_them(
    database_url: str, postgres: Postgres, commits: Commits
) -> None:
    await populate(postgres, commits)
    async with one_moment(database_url) as moment:
        shown: list[Entry] = [entry async for chunk in moment.board("all-time") for entry in chunk]
        assert await moment.removed("all-time") == {DELETED, OFF}
    assert [entry.number for entry in shown] == [ADA, BACK]
    assert shown == await Ladders(postgres).ranked("all-time", 10)
    assert await Ladders(postgres).standing("all-time", [ADA, OFF, NEW]) == {ADA: shown[0], OFF: Removal(OFF)}
    assert await Ladders(postgres).some("all-time", 2, 2) == [Removal(DELETED), Removal(OFF)]


async def test_players_are_looked_at_batch_by_batch_until_the_end(
    postgres: Postgres, commits: Commits, sql: Sql
) -> None:
    await add_players(sql, 7)
    for number in (1, 2, 3):
        await apply(commits, *game(number, *[1] * 9, passed=True))
    # Ten events each: two players are as many as there may be.
    looked = []
    first: int | None = 1
    while first is not None:
        batch = await check_some(postgres, first, 4, max_events=20, within=10)
        looked.append((batch.last, batch.players, batch.events))
        first = None if batch.last is None else batch.last + 1
    assert looked == [(2, 2, 20), (6, 4, 10), (7, 1, 0), (None, 0, 0)]
    # One with more than that is looked at all the same.
    assert (await check_some(postgres, 1, 4, max_events=1, within=10)).events == 10


async def test_one_player_is_looked_at_by_what_can_be_read_now(
    database_url: str, postgres: Postgres, commits: Commits, sql: Sql
) -> None:
    await populate(postgres, commits)
    async with sql.transaction():
        found = await check_one(sql, ADA, [])
        nobody = await check_one(sql, 99, ["all-time"])
    assert (found.number, found.differences) == (ADA, [])
    assert found.kept == found.expected
    assert (nobody.account, nobody.events, nobody.differences) == (None, 0, [])


async def test_audit_beside_many_who_play_finds_nothing(database_url: str, postgres: Postgres, sql: Sql) -> None:
    await add_players(sql, 20)
    draw = random.Random(20261124)
    async with running(postgres) as commits:

        async def play(number: int) -> None:
            state = NEVER_PLAYED
            for _ in range(15):
                scores = [draw.randrange(3) for _ in range(draw.randint(1, 3))]
                state = await apply(commits, *game(number, *scores, passed=draw.random() < 0.5, state=state))

        crowd = asyncio.gather(*(play(number) for number in range(1, 21)))
        looks = 0
        while not crowd.done():
            assert await differences(database_url) == []
            assert (await check_some(postgres, 1, 20, max_events=10_000, within=10)).differences == []
            looks += 1
        await crowd
    assert looks > 1
    assert await differences(database_url) == []


async def test_postgresql_that_goes_away_ends_the_audit(
    postgres_gate: Gate, postgres: Postgres, commits: Commits
) -> None:
    await populate(postgres, commits)
    async with one_moment(postgres_gate.url) as moment:
        postgres_gate.swallow_answers()
        with pytest.raises(StoreUnavailable):
            await anext(moment.players())
    await postgres_gate.shut()
    with pytest.raises(StoreUnavailable):
        await looked_at(postgres_gate.url)
    with pytest.raises(ValueError, match="scheme"):
        await looked_at("mysql://nobody@nowhere/nothing")


async def test_postgresql_that_does_not_answer_is_not_waited_for_for_ever(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.audit.PATIENCE_SECONDS", 0.3)
    async with locked(database_url, "LOCK session_events"):
        with pytest.raises(StoreUnavailable):
            await looked_at(database_url)


async def test_change_of_a_node_of_an_older_version_is_legal_but_for_what_it_leaves_behind(
    database_url: str, postgres: Postgres, commits: Commits, sql: Sql
) -> None:
    """It knows neither seeds nor deals, in its events and in the row that it updates."""
    await populate(postgres, commits)
    await sql.execute("UPDATE session_events SET seed = NULL")
    assert await differences(database_url) == []
    await sql.execute(
        "INSERT INTO session_events (number, version, key, action, score, session_id, status, stage, stage_count, "
        "total_score, difficulty, started_at, at) SELECT 2, 5, 'an old node', 1, 10, session_id, 0, 2, stage_count, "
        "14, difficulty, started_at, now() FROM session_events WHERE number = 2 AND version = 4; "
        "UPDATE sessions SET version = 5, stage = 2, total_score = 14 WHERE number = 2"
    )
    (found,) = await differences(database_url)
    assert str(found) == (
        f"session #2: dealt_at is {NOON.isoformat(timespec='milliseconds')}, not None "
        "(a node of a version before 0.3.0 leaves it behind)"
    )
