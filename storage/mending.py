"""Making sessions and entries again from the log, beside servers that are at work.

A player is mended in one transaction. It locks the rows in the order of operators' acts (players, sessions), so that no
act, deletion or action of the player is committed meanwhile, and looks again: what counts is the log as it is then. So
nothing that a server has committed is lowered; an action that builds on a row that was mended finds it at its version,
or not, as it would another node's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from game.session import PlayerState
from storage.audit import check_one
from storage.findings import Account, Difference, Finding, Kept, Part
from storage.postgres import Postgres

if TYPE_CHECKING:
    from storage.postgres import Connection

#: Seconds for one player. A log of 100,000 events takes some three.
PATIENCE_SECONDS: Final = 30.0

_LOCK_PLAYER: Final = "SELECT FROM players WHERE number = $1 FOR NO KEY UPDATE"
_LOCK_SESSION: Final = "SELECT FROM sessions WHERE number = $1 FOR UPDATE"
# A seed that the log does not know is kept, or the stages of a session in progress would change.
_WRITE_SESSION: Final = """
    INSERT INTO sessions AS held (
        number, version, session_id, status, stage, stage_count, total_score, difficulty, started_at, ended_at, seed,
        dealt_at, off_boards
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, nullif($11::bigint, 0), $12, $13)
    ON CONFLICT (number) DO UPDATE
    SET version = excluded.version, session_id = excluded.session_id, status = excluded.status, stage = excluded.stage,
        stage_count = excluded.stage_count, total_score = excluded.total_score, difficulty = excluded.difficulty,
        started_at = excluded.started_at, ended_at = excluded.ended_at, seed = coalesce(excluded.seed, held.seed),
        dealt_at = excluded.dealt_at, off_boards = excluded.off_boards
    WHERE held.version <= excluded.version
"""
_DROP_SESSION: Final = "DELETE FROM sessions WHERE number = $1"
_WRITE_ENTRY: Final = """
    INSERT INTO ladder_entries AS held (
        ladder, number, passed_all_games, total_score, achieved_at, session_id, removed
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (ladder, number) DO UPDATE
    SET passed_all_games = excluded.passed_all_games, total_score = excluded.total_score,
        achieved_at = excluded.achieved_at, session_id = excluded.session_id, removed = excluded.removed,
        changed_by = pg_current_xact_id()
"""
_DROP_ENTRY: Final = "DELETE FROM ladder_entries WHERE ladder = $1 AND number = $2"


async def mend(postgres: Postgres, number: int, ladders: Collection[str]) -> list[Difference]:
    """Make the player's row and entries what the log makes them. Gives what was different: what is `mendable` there is
    mended, durably; what is not is as it was.

    Entries are looked at on `ladders`, and where the log puts the player. Where a worse entry, or none, takes the place
    of one, the boards in Redis hear nothing of it: they have to be rebuilt. Raises StoreUnavailable.
    """

    async def work(connection: Connection) -> list[Difference]:
        async with connection.transaction():
            await connection.execute(_LOCK_PLAYER, number)
            await connection.execute(_LOCK_SESSION, number)
            found = await check_one(connection, number, ladders)
            if all(difference.mendable for difference in found.differences):
                await _write(connection, found)
        return found.differences

    return await postgres.run(work, within=PATIENCE_SECONDS)


async def _write(connection: Connection, found: Finding) -> None:
    if found.account is not None and any(difference.part is Part.SESSION for difference in found.differences):
        await _write_session(connection, found.number, found.account, found.state)
    for ladder, kept in found.expected.items():
        if found.kept.get(ladder) != kept:
            await connection.execute(_WRITE_ENTRY, *_entry_row(ladder, kept))
    for ladder in _superfluous(found.expected, found.kept):
        await connection.execute(_DROP_ENTRY, ladder, found.number)


async def _write_session(connection: Connection, number: int, account: Account, state: PlayerState) -> None:
    if account.deleted:
        await connection.execute(_DROP_SESSION, number)
        return
    session = state.session
    if session is None:
        row: tuple[object, ...] = (None,) * 10
    else:
        row = (
            session.session_id,
            session.status,
            session.stage,
            session.stage_count,
            session.total_score,
            session.difficulty,
            session.started_at,
            session.ended_at,
            session.seed,
            session.dealt_at,
        )
    await connection.execute(_WRITE_SESSION, number, state.version, *row, account.taken_off)


def _superfluous(expected: Mapping[str, Kept], kept: Mapping[str, Kept]) -> list[str]:
    return sorted(kept.keys() - expected.keys())


def _entry_row(ladder: str, kept: Kept) -> tuple[object, ...]:
    entry = kept.entry
    return (
        ladder,
        entry.number,
        entry.passed_all_games,
        entry.total_score,
        entry.achieved_at,
        kept.session_id,
        kept.removed,
    )
