"""Operators: what they find, what their acts change, and that each act is on record with what it did."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from game.ranking import Removal
from game.session import Action, Cancel, Close, Complete, Judged, Status, Verdict
from storage.accounts import AccountGone, Accounts, Player
from storage.commits import Applied, Commits, Conflict
from storage.ladders import Ladders
from storage.logins import LoginRevoked, Logins, NewRefreshToken
from storage.operators import MAX_ACTS, MAX_FOUND, MAX_SESSIONS, Act, Named, Operators
from storage.postgres import Postgres
from storage.sessions import PlayerUnknown
from tests.storage.playing import NOON, Sql, add_players, apply, change, event_of, game, start
from tests.storage.waiting import blocked_backend, locked, pool, running

WHY = "scores nobody can reach"


@pytest.fixture
def operators(postgres: Postgres) -> Operators:
    return Operators(postgres)


async def register(accounts: Accounts, name: str) -> Player:
    return await accounts.register(uuid4(), f"{name}@example.test", name, f"hash of {name}", NOON)


async def shown(sql: Sql, number: int) -> set[str]:
    rows = await sql.fetch("SELECT ladder FROM ladder_entries WHERE number = $1 AND NOT removed", number)
    return {row["ladder"] for row in rows}


async def kept(sql: Sql, number: int) -> set[str]:
    return {row["ladder"] for row in await sql.fetch("SELECT ladder FROM ladder_entries WHERE number = $1", number)}


# Admin rights


async def test_player_is_an_operator_from_the_grant_to_the_withdrawal(operators: Operators, accounts: Accounts) -> None:
    ann, bob = await register(accounts, "ann"), await register(accounts, "bob")
    assert not await operators.is_admin(ann.number)
    granted = await operators.grant_admin("ANN@Example.test", None, "", NOON)
    assert (granted.number, granted.is_admin) == (ann.number, True)
    assert await operators.is_admin(ann.number)
    assert not await operators.is_admin(bob.number)
    withdrawn = await operators.withdraw_admin("ann@example.TEST", bob.number, "has left", NOON)
    assert (withdrawn.number, withdrawn.is_admin) == (ann.number, False)
    assert not await operators.is_admin(ann.number)
    assert [(act.act, act.operator, act.reason) for act in await operators.acts()] == [
        (Act.WITHDRAW_ADMIN, Named(bob.number, "bob"), "has left"),
        (Act.GRANT_ADMIN, None, ""),
    ]


async def test_unknown_email_is_granted_nothing(operators: Operators, accounts: Accounts) -> None:
    await register(accounts, "ann")
    with pytest.raises(PlayerUnknown):
        await operators.grant_admin("nn@example.test", None, "", NOON)
    assert await operators.acts() == []


async def test_deleted_account_is_no_operator(operators: Operators, accounts: Accounts) -> None:
    ann = await register(accounts, "ann")
    await operators.grant_admin("ann@example.test", None, "", NOON)
    await accounts.delete(ann.number, NOON)
    assert not await operators.is_admin(ann.number)
    assert not (await operators.player(ann.number)).is_admin
    assert not await operators.is_admin(99)


# Finding


async def found(operators: Operators, text: str) -> list[str | None]:
    return [player.username for player in await operators.find(text)]


async def test_players_are_found_by_number_or_part_of_name_or_email(operators: Operators, accounts: Accounts) -> None:
    for name in ("Ann", "anna.b", "Straße", "12"):
        await register(accounts, name)
    assert await found(operators, "2") == ["anna.b"]
    assert await found(operators, " #3 ") == ["Straße"]
    assert await found(operators, "AN") == ["anna.b", "Ann"]
    assert await found(operators, "STRASSE@EX") == ["Straße"]
    assert await found(operators, "12") == []  # a number, never a name
    assert len(await found(operators, "")) == 4


@pytest.mark.parametrize("text", ["%", "_", "a_n", "\\", "nn%", "\0", "9" * 40, "#", "²"])
async def test_text_that_nobody_has_finds_nobody(operators: Operators, accounts: Accounts, text: str) -> None:
    await register(accounts, "ann")
    assert await found(operators, text) == []


async def test_wildcards_find_those_who_have_them_in_their_name(operators: Operators, accounts: Accounts) -> None:
    for name in ("100%", "a_b", "back\\slash", "plain"):
        await register(accounts, name)
    assert [await found(operators, text) for text in ("%", "_", "\\")] == [["100%"], ["a_b"], ["back\\slash"]]


async def test_no_more_are_found_than_a_person_reads(operators: Operators, sql: Sql) -> None:
    await add_players(sql, MAX_FOUND + 5)
    assert [player.number for player in await operators.find("player")] == list(range(MAX_FOUND + 5, 5, -1))


async def test_deleted_account_is_found_by_its_number_only(operators: Operators, accounts: Accounts) -> None:
    ann = await register(accounts, "ann")
    await accounts.delete(ann.number, NOON)
    assert await operators.find("ann") == []
    (player,) = await operators.find("1")
    assert (player.username, player.email, player.off_boards) == (None, None, True)


async def test_unknown_number_is_told(operators: Operators) -> None:
    for number in (0, 1, -1, 2**63, 10**30):
        with pytest.raises(PlayerUnknown):
            await operators.player(number)


# A player's sessions


async def test_sessions_are_listed_with_what_became_of_them(operators: Operators, sql: Sql, commits: Commits) -> None:
    number, other = await add_players(sql, 2)
    await apply(commits, *game(other, 5, passed=True))
    state = await apply(commits, *game(number, 3, 4, passed=True))
    left = change(number, start(difficulty=2), state, at=NOON + timedelta(minutes=1))
    state = await apply(commits, left)
    given_up = change(number, start(), state, at=NOON + timedelta(minutes=2))
    canceled = change(number, Cancel(), given_up.state, at=NOON + timedelta(minutes=3))
    last = change(number, start(), canceled.state, at=NOON + timedelta(minutes=4))
    await apply(commits, given_up, canceled, last)

    sessions = await operators.sessions(number)
    assert [(one.status, one.total_score, one.version) for one in sessions] == [
        (Status.IN_PROGRESS, 0, 7),
        (Status.CANCELED, 0, 6),
        (Status.CANCELED, 0, 4),  # by the start of the next one
        (Status.FINISHED, 7, 3),
    ]
    assert [one.ended_at for one in sessions] == [None, canceled.at, given_up.at, NOON]
    assert left.state.session is not None
    assert (sessions[2].session_id, sessions[2].difficulty) == (left.state.session.session_id, 2)


async def test_only_the_newest_sessions_are_listed(operators: Operators, sql: Sql, commits: Commits) -> None:
    (number,) = await add_players(sql, 1)
    state = await apply(commits, change(number, start()))
    for _ in range(MAX_SESSIONS + 1):
        state = await apply(commits, change(number, start(), state))
    sessions = await operators.sessions(number)
    assert [one.version for one in sessions] == list(range(MAX_SESSIONS + 2, 2, -1))


async def test_player_who_never_played_has_no_sessions(operators: Operators, sql: Sql) -> None:
    (number,) = await add_players(sql, 1)
    assert await operators.sessions(number) == []
    assert await operators.entries(number) == []


async def test_log_holds_every_step_of_one_session(operators: Operators, sql: Sql, commits: Commits) -> None:
    number, other = await add_players(sql, 2)
    before = game(number, 9, passed=False)
    state = await apply(commits, *before)
    begun = change(number, start(stages=2), state)
    passed = change(number, Complete(4, Judged('{"cards": [1, 2]}', Verdict.PASSED)), begun.state)
    failed = change(number, Close(0, Judged("null", Verdict.LATE)), passed.state)
    await apply(commits, begun, passed, failed)
    assert begun.state.session is not None
    session_id = begun.state.session.session_id
    log = await operators.session_log(number, session_id)
    assert log == [event_of(each) for each in (begun, passed, failed)]
    assert [event.action for event in log] == [Action.START, Action.COMPLETE, Action.CLOSE]
    assert await operators.session_log(other, session_id) == await operators.session_log(number, uuid4()) == []


async def test_entries_of_all_time_come_first(operators: Operators, sql: Sql, commits: Commits) -> None:
    (number,) = await add_players(sql, 1)
    state = await apply(commits, *game(number, 9, passed=False))
    await apply(commits, *game(number, 3, passed=False, at=NOON + timedelta(days=1), state=state))
    entries = await operators.entries(number)
    assert [entry.ladder for entry in entries] == [
        "all-time",
        "all-time:0",
        "daily:0@2026-11-24",
        "daily@2026-11-24",
        "daily:0@2026-11-23",
        "daily@2026-11-23",
        "weekly:0@2026-11-23",
        "weekly@2026-11-23",
    ]
    assert {entry.total_score for entry in entries[:2]} == {9}
    assert not any(entry.removed or entry.passed_all_games for entry in entries)


# Off the boards, and back


async def test_player_who_is_taken_off_is_on_no_ladder_and_comes_back_on_all(
    operators: Operators, sql: Sql, commits: Commits, ladders: Ladders
) -> None:
    cheater, other = await add_players(sql, 2)
    for number in (cheater, other):
        await apply(commits, *game(number, 9, passed=True))
    everywhere = await kept(sql, cheater)
    horizon = await ladders.horizon()

    assert set(await operators.take_off_boards(cheater, None, WHY, NOON)) == everywhere
    assert await shown(sql, cheater) == set()
    assert await shown(sql, other) == everywhere
    assert (await operators.player(cheater)).off_boards
    assert all(entry.removed for entry in await operators.entries(cheater))
    # The projection finds it among the changes.
    changes = [chunk async for chunk in ladders.changes(horizon, await ladders.horizon())]
    assert changes == [{ladder: [Removal(cheater)] for ladder in sorted(everywhere)}]

    assert set(await operators.put_back_on_boards(cheater, other, "a mistake", NOON)) == everywhere
    assert await shown(sql, cheater) == everywhere
    assert not (await operators.player(cheater)).off_boards
    assert [(act.act, act.operator, act.player, act.reason) for act in await operators.acts()] == [
        (Act.PUT_BACK_ON_BOARDS, Named(other, "player 2"), Named(cheater, "player 1"), "a mistake"),
        (Act.TAKE_OFF_BOARDS, None, Named(cheater, "player 1"), WHY),
    ]


async def test_act_that_is_done_again_changes_nothing_and_is_recorded_again(
    operators: Operators, sql: Sql, commits: Commits
) -> None:
    (number,) = await add_players(sql, 1)
    await apply(commits, *game(number, 9, passed=True))
    assert await operators.put_back_on_boards(number, None, WHY, NOON) == []
    assert await operators.take_off_boards(number, None, WHY, NOON) != []
    written = await sql.fetch("SELECT * FROM ladder_entries ORDER BY ladder")
    assert await operators.take_off_boards(number, None, "once more", NOON) == []
    assert await sql.fetch("SELECT * FROM ladder_entries ORDER BY ladder") == written
    assert [act.reason for act in await operators.acts()] == ["once more", WHY, WHY]


async def test_player_off_the_boards_plays_on_unseen_and_comes_back_with_it(
    operators: Operators, sql: Sql, commits: Commits
) -> None:
    (number,) = await add_players(sql, 1)
    await operators.take_off_boards(number, None, WHY, NOON)
    played = game(number, 7, passed=True)
    await apply(commits, *played[:-1])
    assert await commits.commit(played[-1]) == Applied(improved=())
    assert await shown(sql, number) == set()
    better = game(number, 8, passed=True, at=NOON + timedelta(days=1), state=played[-1].state)
    await apply(commits, *better[:-1])
    assert await commits.commit(better[-1]) == Applied(improved=())
    assert await shown(sql, number) == set()
    back = await operators.put_back_on_boards(number, None, "", NOON)
    assert set(back) == await shown(sql, number) == await kept(sql, number)
    assert {entry.total_score for entry in await operators.entries(number) if "@" not in entry.ladder} == {8}


async def test_action_that_is_being_committed_when_the_player_is_taken_off_is_taken_off_too(
    patient: None, operators: Operators, sql: Sql, database_url: str
) -> None:
    (number,) = await add_players(sql, 1)
    async with pool(database_url) as postgres, running(postgres) as commits:
        state = await apply(commits, *game(number, 6, passed=True))
        played = game(number, 7, passed=True, at=NOON + timedelta(days=1), state=state)
        await apply(commits, *played[:-1])
        # Held up after it has changed the player's row and before it can write all entries.
        lock = "SELECT FROM ladder_entries WHERE ladder = 'all-time' FOR UPDATE"
        async with locked(database_url, lock) as holder:
            committing = asyncio.create_task(commits.commit(played[-1]))
            await blocked_backend(sql)
            taking = asyncio.create_task(operators.take_off_boards(number, None, WHY, NOON))
            await _two_wait(sql)
            await holder.execute("COMMIT")
            outcome, ladders = await asyncio.gather(committing, taking)
    assert isinstance(outcome, Applied)
    assert "daily@2026-11-24" in outcome.improved
    assert set(ladders) == await kept(sql, number) > set(outcome.improved)
    assert await shown(sql, number) == set()


async def test_action_that_waits_for_a_player_to_be_taken_off_is_not_shown(
    patient: None, operators: Operators, sql: Sql, database_url: str
) -> None:
    (number,) = await add_players(sql, 1)
    played = game(number, 7, passed=True)
    async with pool(database_url) as postgres, running(postgres) as commits:
        await apply(commits, *played[:-1])
        # Held up after it has marked the player, at its line in the record.
        async with locked(database_url, "LOCK TABLE operator_acts IN EXCLUSIVE MODE") as holder:
            taking = asyncio.create_task(operators.take_off_boards(number, None, WHY, NOON))
            await blocked_backend(sql)
            committing = asyncio.create_task(commits.commit(played[-1]))
            await _two_wait(sql)
            await holder.execute("COMMIT")
            ladders, outcome = await asyncio.gather(taking, committing)
    assert (ladders, outcome) == ([], Applied(improved=()))
    assert await kept(sql, number) != await shown(sql, number) == set()


async def _two_wait(sql: Sql) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'braingame' AND wait_event_type = 'Lock'"
    while await sql.fetchval(query + " AND datname = current_database()") < 2:
        await asyncio.sleep(0.005)


async def test_acts_and_a_game_at_once_leave_entries_as_the_last_act_says(
    operators: Operators, sql: Sql, commits: Commits
) -> None:
    (number,) = await add_players(sql, 1)
    state = await apply(commits, *game(number, 1, passed=True))
    for round_ in range(2, 8):
        played = game(number, round_, passed=True, state=state)
        await apply(commits, *played[:-1])
        acts: list[Awaitable[object]] = [
            operators.take_off_boards(number, None, WHY, NOON),
            operators.put_back_on_boards(number, None, WHY, NOON),
            commits.commit(played[-1]),
        ]
        await asyncio.gather(*acts)
        state = played[-1].state
        off = (await operators.acts())[0].act is Act.TAKE_OFF_BOARDS
        assert (await operators.player(number)).off_boards is off
        assert await shown(sql, number) == (set() if off else await kept(sql, number))


async def test_nothing_is_recorded_of_an_act_that_fails(operators: Operators, sql: Sql, commits: Commits) -> None:
    (number,) = await add_players(sql, 1)
    await apply(commits, *game(number, 7, passed=True))
    everywhere = await shown(sql, number)
    with pytest.raises(Exception, match="operator_acts"):
        await operators.take_off_boards(number, 99, WHY, NOON)  # nobody has this number
    assert await shown(sql, number) == everywhere
    assert not (await operators.player(number)).off_boards
    assert await operators.acts() == []


Doing = Callable[[Operators, int], Awaitable[object]]
ACTS: list[Doing] = [
    lambda operators, number: operators.take_off_boards(number, None, WHY, NOON),
    lambda operators, number: operators.put_back_on_boards(number, None, WHY, NOON),
    lambda operators, number: operators.revoke_logins(number, None, WHY, NOON),
]


@pytest.mark.parametrize("act", ACTS)
async def test_deleted_account_and_unknown_number_are_refused(
    operators: Operators, accounts: Accounts, commits: Commits, sql: Sql, act: Doing
) -> None:
    ann = await register(accounts, "ann")
    await apply(commits, *game(ann.number, 7, passed=True))
    await accounts.delete(ann.number, NOON)
    with pytest.raises(AccountGone):
        await act(operators, ann.number)
    for number in (0, 2, 2**63):
        with pytest.raises(PlayerUnknown):
            await act(operators, number)
    assert await shown(sql, ann.number) == set()
    assert await operators.acts() == []


async def test_deletion_and_an_act_at_once_end_in_order(
    operators: Operators, accounts: Accounts, commits: Commits, sql: Sql
) -> None:
    for name in ("ann", "bob", "cem", "dil", "eve"):
        player = await register(accounts, name)
        played = game(player.number, 7, passed=True)
        await apply(commits, *played)
        outcomes = await asyncio.gather(
            operators.put_back_on_boards(player.number, None, WHY, NOON),
            accounts.delete(player.number, NOON),
            operators.revoke_logins(player.number, None, WHY, NOON),
            return_exceptions=True,
        )
        assert all(isinstance(outcome, list | AccountGone) for outcome in outcomes)
        assert await shown(sql, player.number) == set()
        assert isinstance(await commits.commit(change(player.number, start(), played[-1].state)), Conflict)


# Logins


async def open_login(logins: Logins, number: int, name: str) -> UUID:
    sid = uuid4()
    await logins.open(sid, number, f"hash of {name}", NewRefreshToken(sid.bytes, NOON, NOON + timedelta(days=1)))
    return sid


async def test_revoked_logins_are_all_of_the_player_and_nobody_elses(
    operators: Operators, accounts: Accounts, logins: Logins
) -> None:
    ann, bob = await register(accounts, "ann"), await register(accounts, "bob")
    of_ann = [await open_login(logins, ann.number, "ann") for _ in range(3)]
    of_bob = await open_login(logins, bob.number, "bob")
    await logins.revoke(of_ann[0], NOON)
    assert set(await operators.revoke_logins(ann.number, bob.number, WHY, NOON)) == set(of_ann[1:])
    assert await operators.revoke_logins(ann.number, bob.number, WHY, NOON) == []
    for sid in of_ann:
        with pytest.raises(LoginRevoked):
            await logins.player_of(sid)
    assert await logins.player_of(of_bob) == bob
    # Whoever knows the password may come back.
    assert await logins.player_of(await open_login(logins, ann.number, "ann")) == ann
    assert {act.act for act in await operators.acts()} == {Act.REVOKE_LOGINS}


# The record


async def test_record_is_read_back_in_pages(operators: Operators, sql: Sql) -> None:
    (number,) = await add_players(sql, 1)
    for count in range(MAX_ACTS + 2):
        await operators.revoke_logins(number, None, f"reason {count}", NOON + timedelta(seconds=count))
    newest = await operators.acts()
    assert [act.reason for act in newest] == [f"reason {count}" for count in range(MAX_ACTS + 1, 1, -1)]
    assert newest[0].at == NOON + timedelta(seconds=MAX_ACTS + 1)
    assert [act.reason for act in await operators.acts(newest[-1].id)] == ["reason 1", "reason 0"]
    assert await operators.acts(0) == []


async def test_record_keeps_the_number_of_who_is_deleted(operators: Operators, accounts: Accounts) -> None:
    ann, bob = await register(accounts, "ann"), await register(accounts, "bob")
    await operators.take_off_boards(bob.number, ann.number, WHY, NOON)
    await accounts.delete(ann.number, NOON)
    await accounts.delete(bob.number, NOON)
    (act,) = await operators.acts()
    assert (act.operator, act.player) == (Named(ann.number, None), Named(bob.number, None))
