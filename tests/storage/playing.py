"""Players and what they do, as the server hands it to the stores."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID, uuid4

import asyncpg

from game.ranking import Entry, better, entry_of, ladders_of
from game.session import (
    NEVER_PLAYED,
    TRANSITIONS,
    Action,
    Cancel,
    Close,
    Command,
    Complete,
    Deal,
    Judged,
    PlayerState,
    Start,
    Verdict,
    phase_of,
    step,
)
from storage.commits import Applied, Change, Commits, new_key
from storage.sessions import Event

#: A way into the database past all of our code. In quotes, since it is generic for the type checker only.
Sql: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

#: A Monday.
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

_ADD_PLAYERS = """
    INSERT INTO players (number, id, email, email_key, username, username_key, password_hash, registered_at)
    SELECT n, gen_random_uuid(), n || '@example.test', n || '@example.test', 'player ' || n, 'player ' || n, '-', now()
    FROM generate_series(1, $1::bigint) AS n
"""
_ADD_SESSIONS = "INSERT INTO sessions (number) SELECT number FROM players"
_WRITE_ENTRY = """
    INSERT INTO ladder_entries (ladder, number, passed_all_games, total_score, achieved_at, session_id)
    VALUES ($1, $2, $3, $4, $5, gen_random_uuid())
    ON CONFLICT (ladder, number) DO UPDATE
    SET passed_all_games = excluded.passed_all_games, total_score = excluded.total_score,
        achieved_at = excluded.achieved_at, changed_by = pg_current_xact_id()
"""
_ALL_ENTRIES = "SELECT ladder, number, passed_all_games, total_score, achieved_at, session_id FROM ladder_entries"


async def add_players(sql: Sql, count: int) -> list[int]:
    """Registered players, with the rows that a registration leaves, only faster. Gives their numbers."""
    await sql.execute(_ADD_PLAYERS, count)
    await sql.execute(_ADD_SESSIONS)
    await sql.execute("UPDATE deployment SET last_player_number = $1", count)
    return list(range(1, count + 1))


def start(*, difficulty: int = 0, stages: int = 3, session_id: UUID | None = None) -> Start:
    identity = session_id or uuid4()
    return Start(identity, stages, difficulty, seed=identity.int % 2**63)


def change(
    number: int, command: Command, state: PlayerState = NEVER_PLAYED, *, at: datetime = NOON, key: str | None = None
) -> Change:
    """The player's next change by the rules of the game, on top of `state`."""
    after = step(state, command, at)
    assert isinstance(after, PlayerState)
    score, judged = (command.score, command.judged) if isinstance(command, Complete | Close) else (None, None)
    return Change(number, command.action, score, after, at, key or new_key(), judged)


def game(
    number: int, *scores: int, passed: bool, at: datetime = NOON, state: PlayerState = NEVER_PLAYED
) -> list[Change]:
    """A whole session: a start, then each stage's score; the last one finishes or fails it."""
    commands: list[Command] = [start(stages=len(scores)), *(Complete(score) for score in scores)]
    if not passed:
        commands[-1] = Close(scores[-1])
    changes = []
    for command in commands:
        changes.append(change(number, command, state, at=at))
        state = changes[-1].state
    return changes


async def apply(commits: Commits, *changes: Change) -> PlayerState:
    """One after the other."""
    for each in changes:
        assert isinstance(await commits.commit(each), Applied)
    return changes[-1].state


def event_of(done: Change) -> Event:
    """The event that the log should hold for this change."""
    return Event(done.number, done.key, done.action, done.score, done.state, done.at, done.judged)


def random_command(draw: random.Random, state: PlayerState) -> Command:
    """Something that the rules allow now. Scores and difficulties from small ranges, so that ties are many."""
    actions = set(TRANSITIONS[phase_of(state.session)])
    if state.session is not None and state.session.dealt_at is not None:
        actions.remove(Action.DEAL)
    action = draw.choice(sorted(actions))
    if action is Action.START:
        # Drawn too, so that a history can be had again from its seed.
        session_id = UUID(int=draw.getrandbits(128))
        return start(difficulty=draw.randrange(2), stages=draw.randint(1, 2), session_id=session_id)
    if action is Action.CANCEL:
        return Cancel()
    if action is Action.DEAL:
        return Deal()
    judged = draw.choice((None, Judged('{"results": [1]}', Verdict.PASSED)))
    return draw.choice((Complete, Close))(draw.choice((0, 0, 1, 2)), judged)


def random_time(draw: random.Random) -> datetime:
    """Two weeks, a few days of them, a few milliseconds of those; not in any order."""
    return NOON + timedelta(days=draw.choice((0, 1, 6, 7)), milliseconds=draw.randrange(3))


def best_entries(events: Iterable[Event]) -> dict[tuple[str, int], tuple[Entry, UUID]]:
    """By ladder and number, what game.ranking makes of the log; and the session that achieved it first."""
    best: dict[tuple[str, int], tuple[Entry, UUID]] = {}
    for event in events:
        session = event.state.session
        assert session is not None
        for ladder in ladders_of(session):
            entry = entry_of(event.number, session)
            held = best.get((ladder, event.number))
            if held is None or (entry != held[0] and better(entry, held[0]) == entry):
                best[ladder, event.number] = (entry, session.session_id)
    return best


async def kept_entries(sql: Sql) -> dict[tuple[str, int], tuple[Entry, UUID]]:
    """The same from the table."""
    return {
        (row["ladder"], row["number"]): (
            Entry(row["number"], row["passed_all_games"], row["total_score"], row["achieved_at"]),
            row["session_id"],
        )
        for row in await sql.fetch(_ALL_ENTRIES)
    }


async def write_entries(sql: Sql, ladder: str, *entries: Entry) -> None:
    """Put entries into the table as they are, past the commit statement."""
    await sql.executemany(
        _WRITE_ENTRY, [(ladder, e.number, e.passed_all_games, e.total_score, e.achieved_at) for e in entries]
    )


def random_entry(draw: random.Random, number: int) -> Entry:
    """Ties of every kind are common, and so are the ends of what a board can hold."""
    score = draw.choice((0, 1, 2, 2**40 - 2, 2**40 - 1))
    return Entry(number, draw.random() < 0.5, score, NOON + draw.randrange(3) * MILLISECOND)


def best_of(entries: Iterable[Entry]) -> list[Entry]:
    """Each player's best one."""
    best: dict[int, Entry] = {}
    for entry in entries:
        held = best.get(entry.number)
        best[entry.number] = entry if held is None else better(held, entry)
    return list(best.values())


def later(entry: Entry, ticks: int = 1) -> Entry:
    """The same attempt, some milliseconds later."""
    return entry._replace(achieved_at=entry.achieved_at + ticks * MILLISECOND)
