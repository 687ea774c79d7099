"""Group commit: what is acknowledged is in the tables exactly once, whatever happens to the batch it was in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import asyncpg
import pytest

from game.ranking import entry_of, ladders_of
from game.session import NEVER_PLAYED, Action, Cancel, Close, Complete
from storage.commits import MAX_BATCH, Applied, Change, Commits, Conflict, Outcome, Replayed, new_key
from storage.postgres import Postgres, StoreUnavailable
from storage.sessions import SessionStore
from tests.server.gate import Gate
from tests.storage.playing import (
    NOON,
    Sql,
    add_players,
    apply,
    best_entries,
    change,
    event_of,
    game,
    kept_entries,
    random_command,
    random_time,
    start,
)
from tests.storage.waiting import DEADLINE, PROMISED, blocked_backend, kill_backends, locked, pool, running, until

if TYPE_CHECKING:
    from storage.postgres import Connection

T = TypeVar("T")

_LOCK_SESSION = "SELECT FROM sessions WHERE number = $1 FOR UPDATE"
_TWO_BLOCKED = """
    SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
_COUNT_EVENTS = "SELECT count(*) FROM session_events"
_BUSY = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'braingame' AND state <> 'idle'
"""


async def all_at_once(commits: Commits, changes: Collection[Change]) -> list[Outcome | BaseException]:
    return await asyncio.gather(*(commits.commit(each) for each in changes), return_exceptions=True)


_SCANS_AND_ROWS = """
    SELECT sum(seq_scan)::bigint, sum(n_tup_ins) FILTER (WHERE relname = 'session_events')::bigint
    FROM pg_stat_user_tables WHERE relname IN ('sessions', 'session_events', 'ladder_entries')
"""


def commit(commits: Commits, made: Change) -> asyncio.Task[Outcome]:
    return asyncio.create_task(commits.commit(made))


async def transactions(sql: Sql) -> int:
    """In how many transactions the log was written, by what PostgreSQL noted at each row."""
    found: int = await sql.fetchval("SELECT count(DISTINCT xmin::text) FROM session_events")
    return found


async def check_tables(sql: Sql, sessions: SessionStore, numbers: Collection[int]) -> None:
    """The rows are where the log ends, the log has no gap, and the entries are the best of the log."""
    log = []
    for number in numbers:
        history = await sessions.history(number)
        assert [event.state.version for event in history] == list(range(1, len(history) + 1))
        assert await sessions.state(number) == (history[-1].state if history else NEVER_PLAYED)
        log += history
    assert await kept_entries(sql) == best_entries(log)


# One change


async def test_applied_change_is_in_row_log_and_entries_alike(
    commits: Commits, sessions: SessionStore, sql: Sql
) -> None:
    await add_players(sql, 2)
    done = game(1, 10, 20, 30, passed=True)
    for count, each in enumerate(done, 1):
        outcome = await commits.commit(each)
        assert await sessions.state(1) == each.state
        assert await sessions.history(1) == [event_of(earlier) for earlier in done[:count]]
    ended = done[-1].state.session
    assert ended is not None
    assert isinstance(outcome, Applied)
    assert sorted(outcome.improved) == sorted(ladders_of(ended))
    kept = await kept_entries(sql)
    assert kept == {(ladder, 1): (entry_of(1, ended), ended.session_id) for ladder in ladders_of(ended)}
    assert (await sessions.state(2), await sessions.history(2)) == (NEVER_PLAYED, [])


@pytest.mark.parametrize("last", [Cancel(), Complete(5)])
async def test_session_that_does_not_count_has_no_entry(commits: Commits, sql: Sql, last: Cancel | Complete) -> None:
    await add_players(sql, 1)
    begun = change(1, start())
    ended = change(1, last, begun.state)
    assert await commits.commit(begun) == Applied(())
    assert await commits.commit(ended) == Applied(())
    assert await kept_entries(sql) == {}


async def test_worse_session_is_applied_and_improves_nothing(commits: Commits, sql: Sql) -> None:
    await add_players(sql, 1)
    state = await apply(commits, *game(1, 10, passed=True))
    kept = await kept_entries(sql)
    tick = timedelta(milliseconds=1)
    for score, passed, at in ((9, True, NOON), (10, True, NOON + tick), (11, False, NOON), (10, True, NOON)):
        for each in game(1, score, passed=passed, at=at, state=state):
            assert await commits.commit(each) == Applied(())
            state = each.state
    assert await kept_entries(sql) == kept


async def test_only_the_ladders_that_became_better_are_named(commits: Commits, sql: Sql) -> None:
    await add_players(sql, 1)
    state = await apply(commits, *game(1, 10, passed=True))
    next_day = game(1, 5, passed=True, at=NOON + timedelta(days=1), state=state)
    await apply(commits, next_day[0])
    outcome = await commits.commit(next_day[1])
    assert isinstance(outcome, Applied)
    assert sorted(outcome.improved) == ["daily:0@2026-11-24", "daily@2026-11-24"]


async def test_earlier_session_with_the_same_score_is_better(commits: Commits, sql: Sql) -> None:
    # Clocks of nodes differ a little, so what is committed later may have been achieved before.
    await add_players(sql, 1)
    state = await apply(commits, *game(1, 10, passed=True))
    earlier = game(1, 10, passed=True, at=NOON - timedelta(milliseconds=1), state=state)
    await apply(commits, earlier[0])
    outcome = await commits.commit(earlier[1])
    assert isinstance(outcome, Applied)
    assert len(outcome.improved) == 6


@pytest.mark.parametrize("version", [1, 2, 4, 100])
async def test_change_on_another_version_is_a_conflict_and_changes_nothing(
    commits: Commits, sessions: SessionStore, sql: Sql, version: int
) -> None:
    await add_players(sql, 1)
    state = await apply(commits, *game(1, 10, passed=True))
    assert state.version == 2
    good = change(1, start(), state)
    wrong = good._replace(state=good.state._replace(version=version))
    assert isinstance(await commits.commit(wrong), Conflict)
    assert await sessions.state(1) == state
    assert len(await sessions.history(1)) == 2


async def test_change_of_nobody_is_a_conflict(commits: Commits, sql: Sql) -> None:
    await add_players(sql, 1)
    assert isinstance(await commits.commit(change(7, start())), Conflict)
    assert await sql.fetchval(_COUNT_EVENTS) == 0


# The same key again


async def test_key_that_was_applied_gives_the_first_event(commits: Commits, sessions: SessionStore, sql: Sql) -> None:
    await add_players(sql, 1)
    begun = change(1, start(difficulty=3), key="the key")
    state = await apply(commits, begun, change(1, Complete(7), begun.state))
    again = (
        begun,
        change(1, Complete(9), state, key="the key"),  # which could be applied, but for its key
        change(1, Cancel(), state._replace(version=40), key="the key"),
    )
    for each in again:
        assert await commits.commit(each) == Replayed(event_of(begun))
    assert await sessions.state(1) == state
    assert len(await sessions.history(1)) == 2


async def test_replayed_last_event_is_whole(commits: Commits, sql: Sql) -> None:
    await add_players(sql, 1)
    done = game(1, 10, 20, passed=False, at=NOON + timedelta(milliseconds=1))
    await apply(commits, *done)
    for each in done:
        assert await commits.commit(each) == Replayed(event_of(each))


async def test_key_is_its_players_own(commits: Commits, sql: Sql) -> None:
    numbers = await add_players(sql, 5)
    outcomes = await all_at_once(commits, [change(number, start(), key="one key") for number in numbers])
    assert outcomes == [Applied(())] * 5


async def test_refused_change_does_not_use_its_key_up(commits: Commits, sql: Sql) -> None:
    await add_players(sql, 1)
    begun = change(1, start())
    await apply(commits, begun)
    assert isinstance(await commits.commit(change(1, start(), key="the key")), Conflict)
    assert await commits.commit(change(1, Complete(1), begun.state, key="the key")) == Applied(())


def test_drawn_keys_differ_and_cannot_be_a_clients() -> None:
    keys = {new_key() for _ in range(1000)}
    assert len(keys) == 1000
    assert {key[0] for key in keys} == {"\x01"}


# Many at once


async def test_changes_of_many_players_share_few_statements(commits: Commits, sessions: SessionStore, sql: Sql) -> None:
    numbers = await add_players(sql, 2 * MAX_BATCH + 10)
    begun = [change(number, start(stages=1)) for number in numbers]
    assert await all_at_once(commits, begun) == [Applied(())] * len(numbers)
    assert await transactions(sql) == 3
    ended = [change(each.number, Close(each.number % 7), each.state) for each in begun]
    outcomes = await all_at_once(commits, ended)
    assert {len(outcome.improved) for outcome in outcomes if isinstance(outcome, Applied)} == {6}
    assert await transactions(sql) == 6
    assert await sql.fetchval(_COUNT_EVENTS) == 2 * len(numbers)
    assert await kept_entries(sql) == best_entries(event_of(each) for each in ended)


async def test_batch_gives_each_caller_its_own_outcome(commits: Commits, sessions: SessionStore, sql: Sql) -> None:
    numbers = await add_players(sql, 60)
    begun = [change(number, start(stages=1)) for number in numbers]
    await all_at_once(commits, begun)
    mixed: list[Change] = []
    for number, first in zip(numbers, begun, strict=True):
        applied = change(number, Close(number), first.state)
        conflict = change(number, start())
        mixed.append((applied, first, conflict)[number % 3])
    random.Random(1).shuffle(mixed)
    before = await transactions(sql)
    for each, outcome in zip(mixed, await all_at_once(commits, mixed), strict=True):
        match each.number % 3:
            case 0:
                assert isinstance(outcome, Applied)
                assert len(outcome.improved) == 6
            case 1:
                assert outcome == Replayed(event_of(begun[each.number - 1]))
            case _:
                assert isinstance(outcome, Conflict)
    assert await transactions(sql) == before + 1
    await check_tables(sql, sessions, numbers)


async def test_changes_of_one_player_queued_at_once_are_applied_in_their_order(
    commits: Commits, sessions: SessionStore, sql: Sql
) -> None:
    numbers = await add_players(sql, 3)
    done = [game(number, *range(8), passed=True) for number in numbers]
    queued = [each for moves in zip(*done, strict=True) for each in moves]
    outcomes = await all_at_once(commits, queued)
    assert all(isinstance(outcome, Applied) for outcome in outcomes)
    # One change of each player a statement, so as many statements as a player has changes.
    assert await transactions(sql) == 9
    for number, moves in zip(numbers, done, strict=True):
        assert await sessions.history(number) == [event_of(each) for each in moves]


async def test_of_two_changes_on_one_version_queued_at_once_the_first_is_applied(
    commits: Commits, sessions: SessionStore, sql: Sql
) -> None:
    await add_players(sql, 2)
    first, second, other = change(1, start()), change(1, start(difficulty=5)), change(2, start())
    outcomes = await all_at_once(commits, [first, second, other])
    assert outcomes[0] == outcomes[2] == Applied(())
    assert isinstance(outcomes[1], Conflict)
    assert await sessions.history(1) == [event_of(first)]


async def test_change_that_is_queued_twice_is_applied_once(commits: Commits, sessions: SessionStore, sql: Sql) -> None:
    await add_players(sql, 1)
    begun = change(1, start(), key="the key")
    assert await all_at_once(commits, [begun] * 3) == [
        Applied(()),
        Replayed(event_of(begun)),
        Replayed(event_of(begun)),
    ]
    assert await sessions.history(1) == [event_of(begun)]


async def test_of_two_nodes_on_one_version_one_applies(database_url: str, sessions: SessionStore, sql: Sql) -> None:
    numbers = await add_players(sql, 100)
    async with pool(database_url) as one, pool(database_url) as other, running(one) as here, running(other) as there:
        states = dict.fromkeys(numbers, NEVER_PLAYED)
        for turn in range(5):
            ours = [change(number, start(stages=turn + 1), states[number]) for number in numbers]
            theirs = [change(number, start(stages=turn + 1), states[number]) for number in reversed(numbers)]
            for_us, for_them = await asyncio.gather(all_at_once(here, ours), all_at_once(there, theirs))
            for mine, outcome, against, their in zip(ours, for_us, theirs[::-1], for_them[::-1], strict=True):
                assert {type(outcome), type(their)} == {Applied, Conflict}
                states[mine.number] = (mine if isinstance(outcome, Applied) else against).state
    for number in numbers:
        assert await sessions.state(number) == states[number]
    await check_tables(sql, sessions, numbers)


async def test_one_key_sent_to_two_nodes_at_once_is_applied_once(
    database_url: str, sessions: SessionStore, sql: Sql
) -> None:
    numbers = await add_players(sql, 100)
    sent = [change(number, start(), key="the key") for number in numbers]
    async with pool(database_url) as one, pool(database_url) as other, running(one) as here, running(other) as there:
        for_us, for_them = await asyncio.gather(all_at_once(here, sent), all_at_once(there, sent[::-1]))
        for outcomes in zip(for_us, for_them[::-1], strict=True):
            # The slower one may have begun before the faster one had committed: then it finds the version changed.
            assert sum(isinstance(outcome, Applied) for outcome in outcomes) == 1
            assert sum(isinstance(outcome, Replayed | Conflict) for outcome in outcomes) == 1
        assert await all_at_once(here, sent) == [Replayed(event_of(each)) for each in sent]
    assert await sql.fetchval(_COUNT_EVENTS) == len(numbers)


async def test_commits_never_read_a_table_whole_however_it_grows(own_database_url: str) -> None:
    """By PostgreSQL's counters, in a database whose counters nobody else moves."""
    sql = await asyncpg.connect(own_database_url)
    numbers = await add_players(sql, 200)
    states = dict.fromkeys(numbers, NEVER_PLAYED)
    turns = 12

    async with pool(own_database_url) as postgres, running(postgres) as commits:

        async def everybody() -> None:
            for _ in range(turns):
                changes = [change(number, start(), states[number]) for number in numbers]
                assert set(await all_at_once(commits, changes)) == {Applied(())}
                states.update({each.number: each.state for each in changes})

        async def scans_and_rows() -> tuple[int, int]:
            # What a connection has counted is seen by others when it is told to say so.
            await postgres.execute("SELECT pg_stat_force_next_flush()")
            await sql.execute("SELECT pg_stat_clear_snapshot()")
            return tuple(await sql.fetchrow(_SCANS_AND_ROWS) or ())

        await everybody()
        before, rows = await scans_and_rows()
        await everybody()
        after, all_rows = await scans_and_rows()
    await sql.close()
    assert (rows, all_rows) == (turns * len(numbers), 2 * turns * len(numbers))  # the counters are those of the commits
    assert after == before


# Poison


def with_key(key: str) -> Callable[[Change], Change]:
    return lambda good: good._replace(key=key)


def with_session(**values: object) -> Callable[[Change], Change]:
    def poison(good: Change) -> Change:
        assert good.state.session is not None
        return good._replace(state=good.state._replace(session=good.state.session._replace(**values)))  # type: ignore[arg-type]

    return poison


POISONS = {
    "NUL in the key": with_key("a\0b"),
    "key too long for the index": with_key("".join(random.Random(5).choices("abcdefghijklmnopqrstuvwxyz", k=9000))),
    "half a character in the key": with_key("\ud800"),
    "score beyond bigint": with_session(total_score=2**63),
    "stage beyond integer": with_session(stage=2**31),
    "difficulty beyond smallint": with_session(difficulty=2**15),
    "no time of start": with_session(started_at=None),
    "no identifier": with_session(session_id=None),
}


@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS.keys())
async def test_poisoned_change_fails_alone(
    commits: Commits, sessions: SessionStore, sql: Sql, poison: Callable[[Change], Change]
) -> None:
    numbers = await add_players(sql, 40)
    changes = [change(number, start()) for number in numbers]
    for number in (1, 17, 40):
        changes[number - 1] = poison(changes[number - 1])
    outcomes = await all_at_once(commits, changes)
    for number, outcome in zip(numbers, outcomes, strict=True):
        if number in (1, 17, 40):
            assert isinstance(outcome, Exception)
            # Which would say: try again.
            assert not isinstance(outcome, StoreUnavailable)
            assert await sessions.state(number) == NEVER_PLAYED
        else:
            assert outcome == Applied(())
    assert await sql.fetchval(_COUNT_EVENTS) == 37
    # The poisoned ones may go on with something healthy.
    assert await all_at_once(commits, [change(number, start()) for number in (1, 17, 40)]) == [Applied(())] * 3
    await check_tables(sql, sessions, numbers)


async def test_player_whose_rows_contradict_each_other_fails_alone(
    commits: Commits, sessions: SessionStore, sql: Sql
) -> None:
    numbers = await add_players(sql, 9)
    lost = change(5, start())
    await apply(commits, lost)
    await sql.execute("UPDATE sessions SET version = 0, session_id = NULL WHERE number = 5")
    outcomes = await all_at_once(commits, [change(number, start()) for number in numbers])
    assert isinstance(outcomes.pop(4), asyncpg.UniqueViolationError)
    assert outcomes == [Applied(())] * 8
    assert await sessions.history(5) == [event_of(lost)]


async def test_poison_costs_its_neighbours_few_statements(commits: Commits, sql: Sql) -> None:
    numbers = await add_players(sql, MAX_BATCH)
    changes = [change(number, start()) for number in numbers]
    changes[200] = changes[200]._replace(key="a\0b")
    outcomes = await all_at_once(commits, changes)
    assert outcomes.count(Applied(())) == MAX_BATCH - 1
    assert await transactions(sql) <= 9


# Batches that PostgreSQL gives up


class Watched(Postgres):
    """A real pool that notes what its statements failed with."""

    def __init__(self, inner: Postgres) -> None:
        super().__init__(inner._pool)
        self.failures: list[Exception] = []

    async def run(
        self, work: Callable[[Connection], Awaitable[T]], *, repeatable: bool = True, within: float = 1.5
    ) -> T:
        async def watched(connection: Connection) -> T:
            try:
                return await work(connection)
            except Exception as error:
                self.failures.append(error)
                raise

        return await super().run(watched, repeatable=repeatable, within=within)


async def set_for_database(url: str, setting: str) -> None:
    connection = await asyncpg.connect(url)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET {setting}")
    await connection.close()


@pytest.fixture
async def own_sql(own_database_url: str) -> AsyncIterator[Sql]:
    connection = await asyncpg.connect(own_database_url)
    yield connection
    await connection.close()


@pytest.mark.parametrize("alone", [True, False])
async def test_batch_that_is_the_victim_of_a_deadlock_is_repeated(
    own_database_url: str, own_sql: Sql, patient: None, *, alone: bool
) -> None:
    numbers = await add_players(own_sql, 3)
    # Whoever closes the circle looks for one after this time: ours, which goes through the ladders in their order.
    await set_for_database(own_database_url, "deadlock_timeout = '10ms'")
    async with pool(own_database_url) as postgres:
        watched = Watched(postgres)
        async with running(watched) as commits:
            begun = [change(number, start(stages=1)) for number in numbers]
            await all_at_once(commits, begun)
            first = change(2, Close(1), begun[1].state)
            again = change(2, start(stages=1), first.state)
            await apply(commits, first, again)
            entry = "SELECT FROM ladder_entries WHERE number = 2 AND ladder {} FOR UPDATE"
            async with (
                locked(own_database_url, entry.format("= 'all-time'")) as gate,
                locked(own_database_url, entry.format("LIKE 'weekly%'")) as other,
            ):
                ended = [
                    change(1, Close(5), begun[0].state),
                    change(2, Close(5), again.state),
                    change(3, Close(5), begun[2].state),
                ]
                waiting = [commit(commits, each) for each in (ended[1:2] if alone else ended)]
                await blocked_backend(own_sql)  # it has changed the rows in sessions and waits at the gate
                await other.execute("SET deadlock_timeout = '1min'")
                crosswise = asyncio.create_task(other.fetch(_LOCK_SESSION, 2))
                await until(lambda: own_sql.fetchval(_TWO_BLOCKED), "two statements that wait for a lock")
                await gate.execute("COMMIT")
                await crosswise
                await other.execute("COMMIT")
            outcomes = await asyncio.gather(*waiting)
    assert all(isinstance(outcome, Applied) for outcome in outcomes)
    assert {type(error) for error in watched.failures} == {asyncpg.DeadlockDetectedError}
    async with pool(own_database_url) as postgres:
        await check_tables(own_sql, SessionStore(postgres), numbers)


@pytest.mark.parametrize("numbers", [[2], [1, 2, 3]])
async def test_batch_that_cannot_be_serialized_is_repeated(
    own_database_url: str, own_sql: Sql, patient: None, numbers: list[int]
) -> None:
    await add_players(own_sql, 3)
    await set_for_database(own_database_url, "default_transaction_isolation = 'repeatable read'")
    async with pool(own_database_url) as postgres:
        watched = Watched(postgres)
        touch = "UPDATE sessions SET version = version WHERE number = 2"
        async with running(watched) as commits, locked(own_database_url, touch) as other:
            waiting = [commit(commits, change(number, start())) for number in numbers]
            await blocked_backend(own_sql)
            await other.execute("COMMIT")
            assert await asyncio.gather(*waiting) == [Applied(())] * len(numbers)
    assert {type(error) for error in watched.failures} == {asyncpg.SerializationError}
    assert await own_sql.fetchval(_COUNT_EVENTS) == len(numbers)


# Connections that break


async def test_change_whose_connection_is_killed_in_the_middle_is_applied_once(
    commits: Commits, sessions: SessionStore, sql: Sql, database_url: str, patient: None
) -> None:
    numbers = await add_players(sql, 3)
    begun = [change(number, start()) for number in numbers]
    async with locked(database_url, _LOCK_SESSION, 2):
        waiting = [commit(commits, each) for each in begun]
        for _ in range(2):
            pid = await blocked_backend(sql)
            assert await sql.fetchval("SELECT pg_terminate_backend($1, 10000)", pid)
    assert await asyncio.gather(*waiting) == [Applied(())] * 3
    for each in begun:
        assert await sessions.history(each.number) == [event_of(each)]


async def test_change_that_was_committed_when_the_answer_was_lost_is_applied_once(
    gated_postgres: Postgres, postgres_gate: Gate, sessions: SessionStore, sql: Sql
) -> None:
    numbers = await add_players(sql, 3)
    first, *begun = [change(number, start()) for number in numbers]
    async with running(gated_postgres) as commits:
        # From now on the statement is prepared, and goes out whole before the first answer.
        await apply(commits, first)
        postgres_gate.swallow_answers()
        waiting = [commit(commits, each) for each in begun]

        async def committed() -> bool:
            return bool(await sql.fetchval(_COUNT_EVENTS) == 3)

        await until(committed, "the commit")
        await postgres_gate.shut()
        await postgres_gate.open()
        assert await asyncio.gather(*waiting) == [Replayed(event_of(each)) for each in begun]
        await apply(commits, *(change(each.number, Complete(5), each.state) for each in begun))
    for each in begun:
        assert [event.action for event in await sessions.history(each.number)] == [Action.START, Action.COMPLETE]


async def test_caller_who_was_told_nothing_certain_finds_its_change_by_its_key(
    commits: Commits, sessions: SessionStore, sql: Sql, database_url: str, impatient: None
) -> None:
    await add_players(sql, 1)
    begun = change(1, start(), key="the key")
    async with locked(database_url, _LOCK_SESSION, 1):
        async with asyncio.timeout(PROMISED):
            with pytest.raises(StoreUnavailable):
                await commits.commit(begun)

    async def settled() -> Outcome | None:
        with suppress(StoreUnavailable):
            outcome = await commits.commit(begun)
            return None if isinstance(outcome, Conflict) else outcome
        return None

    # PostgreSQL may still have gone on with it, or not.
    assert isinstance(await until(settled, "an outcome"), Applied | Replayed)
    assert await sessions.history(1) == [event_of(begun)]


async def test_everybody_who_waits_has_an_answer_in_time_while_postgresql_refuses(
    gated_postgres: Postgres, postgres_gate: Gate, sessions: SessionStore, sql: Sql
) -> None:
    numbers = await add_players(sql, 2 * MAX_BATCH + 10)
    begun = [change(number, start()) for number in numbers]
    async with running(gated_postgres) as commits:
        await apply(commits, begun[0])
        await postgres_gate.shut()
        async with asyncio.timeout(PROMISED):
            outcomes = await all_at_once(commits, begun[1:])
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
        await postgres_gate.open()
        assert await all_at_once(commits, begun) == [Replayed(event_of(begun[0]))] + [Applied(())] * (len(numbers) - 1)


async def test_those_who_come_while_a_batch_hangs_have_an_answer_in_time_too(
    commits: Commits, sql: Sql, database_url: str, impatient: None
) -> None:
    numbers = await add_players(sql, 20)
    async with locked(database_url, "LOCK TABLE sessions"):
        first = commit(commits, change(1, start()))
        await blocked_backend(sql)
        others = [commit(commits, change(number, start())) for number in numbers[1:]]
        async with asyncio.timeout(PROMISED):
            outcomes = await asyncio.gather(first, *others, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}


# Callers who go away, and the end


async def test_caller_who_is_cancelled_does_not_disturb_its_neighbours(
    commits: Commits, sessions: SessionStore, sql: Sql, database_url: str, patient: None
) -> None:
    numbers = await add_players(sql, 6)
    begun = [change(number, start()) for number in numbers]
    async with locked(database_url, _LOCK_SESSION, 1):
        under_way = [commit(commits, each) for each in begun[:3]]
        await blocked_backend(sql)
        queued = [commit(commits, each) for each in begun[3:]]
        await asyncio.sleep(0)
        for task in (under_way[1], queued[1]):
            task.cancel()
    outcomes = await asyncio.gather(*under_way, *queued, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [
        Applied,
        asyncio.CancelledError,
        Applied,
        Applied,
        asyncio.CancelledError,
        Applied,
    ]
    # What was under way is applied; what still waited is not even sent.
    assert [len(await sessions.history(number)) for number in numbers] == [1, 1, 1, 1, 0, 1]


async def test_stop_answers_everybody(postgres: Postgres, sql: Sql, database_url: str) -> None:
    await add_players(sql, 4)
    async with locked(database_url, _LOCK_SESSION, 1):
        async with running(postgres) as commits:
            under_way = [commit(commits, change(number, start())) for number in (1, 2)]
            await blocked_backend(sql)
            queued = [commit(commits, change(number, start())) for number in (3, 4)]
            await asyncio.sleep(0)
        async with asyncio.timeout(PROMISED):
            outcomes = await asyncio.gather(*under_way, *queued, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}


async def test_stop_answers_everybody_also_while_a_batch_with_poison_is_halved(
    postgres: Postgres, sql: Sql, database_url: str, patient: None
) -> None:
    await add_players(sql, 4)
    async with locked(database_url, _LOCK_SESSION, 1):
        async with running(postgres) as commits:
            # The whole fails because of the last one; the half with the first one then waits for its row.
            changes = [change(number, start()) for number in (1, 2, 3)] + [change(4, start(), key="a\0b")]
            waiting = [commit(commits, each) for each in changes]
            await blocked_backend(sql)
        _, forgotten = await asyncio.wait(waiting, timeout=PROMISED)
        for task in forgotten:
            task.cancel()
        assert not forgotten
    for task in waiting:
        assert isinstance(task.exception(), StoreUnavailable)


# Whole histories


@pytest.mark.parametrize("seed", range(3))
async def test_entries_are_what_the_rules_make_of_the_log(
    commits: Commits, sessions: SessionStore, sql: Sql, seed: int
) -> None:
    draw = random.Random(seed)
    numbers = await add_players(sql, 30)
    states = dict.fromkeys(numbers, NEVER_PLAYED)
    improved: set[tuple[str, int]] = set()
    for _ in range(40):
        players = draw.sample(numbers, draw.randint(1, len(numbers)))
        changes = [change(n, random_command(draw, states[n]), states[n], at=random_time(draw)) for n in players]
        for done, outcome in zip(changes, await all_at_once(commits, changes), strict=True):
            assert isinstance(outcome, Applied)
            states[done.number] = done.state
            improved.update((ladder, done.number) for ladder in outcome.improved)
    assert len(improved) > 100
    assert set(await kept_entries(sql)) == improved
    await check_tables(sql, sessions, numbers)


@pytest.mark.parametrize("seed", range(2))
async def test_everything_that_can_go_wrong_at_once_applies_nothing_twice_and_loses_nothing(
    database_url: str, sessions: SessionStore, sql: Sql, seed: int
) -> None:
    """Two nodes, stale versions, repeated keys, poison, callers who go away, and backends that are killed."""
    draw = random.Random(seed)
    numbers = await add_players(sql, 25)
    applied: dict[tuple[int, str], Change] = {}
    sent: list[Change] = []

    def next_change() -> Change:
        if sent and draw.random() < 0.15:
            return draw.choice(sent)
        number = draw.choice(numbers)
        state = states[number]
        if draw.random() < 0.1:
            state = state._replace(version=max(0, state.version + draw.choice((-1, 1, 2))))
        key = "a\0b" if draw.random() < 0.02 else f"key {draw.randrange(10**9)}"
        return change(number, random_command(draw, state), state, at=random_time(draw), key=key)

    async def send(commits: Commits, made: Change) -> None:
        task = commit(commits, made)
        if leaves := draw.random() < 0.05:
            await asyncio.sleep(0)
            task.cancel()
        try:
            outcome = await task
        except (StoreUnavailable, asyncio.CancelledError):
            pass  # It may have been applied or not.
        except asyncpg.CharacterNotInRepertoireError:
            assert "\0" in made.key
        else:
            assert not leaves
            match outcome:
                case Applied():
                    assert (made.number, made.key) not in applied
                    applied[made.number, made.key] = made
                case Replayed(event):
                    assert (event.number, event.key) == (made.number, made.key)

    async with pool(database_url) as one, pool(database_url) as other, running(one) as here, running(other) as there:
        for _ in range(18):
            states = {number: await sessions.state(number) for number in numbers}
            changes = [next_change() for _ in range(draw.randint(1, 60))]
            sent += changes
            work = [send(draw.choice((here, there)), made) for made in changes]
            async with asyncio.timeout(DEADLINE):
                await asyncio.gather(*work, *([kill_backends(sql)] if draw.random() < 0.3 else []))

    async def nothing_goes_on() -> bool:
        return bool(await sql.fetchval(_BUSY) == 0)

    await until(nothing_goes_on, "the end of the last statement")
    for (number, key), made in applied.items():
        assert await sessions.event_by_key(number, key) == event_of(made)
    assert len(applied) > 150
    logged = {(row["number"], row["key"]) for row in await sql.fetch("SELECT number, key FROM session_events")}
    assert applied.keys() <= logged <= {(made.number, made.key) for made in sent}
    await check_tables(sql, sessions, numbers)
