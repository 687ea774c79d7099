"""What operators see and do: players, their sessions step by step, who is off the boards; each act is on record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import UUID

import asyncpg

from game.session import Status
from storage.accounts import AccountGone, without_case
from storage.postgres import Postgres
from storage.sessions import Event, PlayerUnknown, event_from

if TYPE_CHECKING:
    from storage.postgres import Connection

T = TypeVar("T")

#: Most rows of each list: what a person looks through.
MAX_FOUND: Final = 20
MAX_SESSIONS: Final = 50
MAX_ENTRIES: Final = 200
MAX_ACTS: Final = 50
#: The largest number that PostgreSQL's bigint holds.
_MAX_NUMBER: Final = 2**63 - 1


class Act(StrEnum):
    """What an operator can do to a player; the names are those of the table."""

    GRANT_ADMIN = "grant_admin"
    WITHDRAW_ADMIN = "withdraw_admin"
    TAKE_OFF_BOARDS = "take_off_boards"
    PUT_BACK_ON_BOARDS = "put_back_on_boards"
    REVOKE_LOGINS = "revoke_logins"


@dataclass(frozen=True, slots=True)
class KnownPlayer:
    """A player as operators see one. A deleted account has neither name nor email, and is off the boards for good."""

    number: int
    username: str | None
    email: str | None
    registered_at: datetime
    off_boards: bool
    is_admin: bool


@dataclass(frozen=True, slots=True)
class PlayedSession:
    """What became of a session. `version` is that of its last action; `ended_at` is None while it is in progress."""

    session_id: UUID
    status: Status
    difficulty: int
    total_score: int
    stage: int
    stage_count: int
    started_at: datetime
    ended_at: datetime | None
    version: int


@dataclass(frozen=True, slots=True)
class KeptEntry:
    """The player's best attempt on one ladder; `removed`: it is kept, but not shown."""

    ladder: str
    total_score: int
    passed_all_games: bool
    achieved_at: datetime
    removed: bool


@dataclass(frozen=True, slots=True)
class Named:
    """A number and the name that goes with it; None for a deleted account."""

    number: int
    username: str | None


@dataclass(frozen=True, slots=True)
class RecordedAct:
    """One line of the record. `operator` is None for the command line."""

    id: int
    at: datetime
    operator: Named | None
    act: Act
    player: Named
    reason: str


_PLAYER: Final = """
    SELECT p.number, p.username, p.email, p.registered_at, coalesce(s.off_boards, true) AS off_boards,
           p.is_admin AND p.deleted_at IS NULL AS is_admin
    FROM players p LEFT JOIN sessions s USING (number)
"""
_BY_NUMBER: Final = f"{_PLAYER} WHERE p.number = $1"
# The keys are without case, and so is the pattern.
_BY_TEXT: Final = f"{_PLAYER} WHERE p.username_key LIKE $1 OR p.email_key LIKE $1 ORDER BY p.number DESC LIMIT $2"
_IS_ADMIN: Final = "SELECT is_admin FROM players WHERE number = $1 AND deleted_at IS NULL"

# Every action from one start to the next is of one session, so its last version is known from the next start. A session
# that was in progress then has no action of its own that ended it: the next start canceled it.
_SESSIONS: Final = """
    WITH starts AS (
        SELECT version, lead(version) OVER later AS next_version, lead(at) OVER later AS next_at
        FROM (
            SELECT version, at FROM session_events WHERE number = $1 AND action = 0 ORDER BY version DESC LIMIT $2
        ) AS newest
        WINDOW later AS (ORDER BY version)
    )
    SELECT e.session_id, CASE WHEN e.status = 0 AND s.next_version IS NOT NULL THEN 3 ELSE e.status END AS status,
           e.difficulty, e.total_score, e.stage, e.stage_count, e.started_at,
           coalesce(e.ended_at, s.next_at) AS ended_at, e.version
    FROM starts s JOIN session_events e ON e.number = $1 AND e.version = coalesce(
        s.next_version - 1, (SELECT max(version) FROM session_events WHERE number = $1)
    )
    ORDER BY e.version DESC
"""
_LOG: Final = """
    SELECT number, version, key, action, score, session_id, status, stage, stage_count, total_score, difficulty,
           started_at, ended_at, at, seed, dealt_at, answer, verdict
    FROM session_events
    WHERE number = $1 AND session_id = $2
    ORDER BY version
"""
_ENTRIES: Final = """
    SELECT ladder, total_score, passed_all_games, achieved_at, removed
    FROM ladder_entries
    WHERE number = $1
    ORDER BY strpos(ladder, '@') > 0, achieved_at DESC, ladder
    LIMIT $2
"""
_ACTS: Final = """
    SELECT a.id, a.at, a.operator, o.username AS operator_name, a.act, a.number, p.username, a.reason
    FROM operator_acts a JOIN players p USING (number) LEFT JOIN players o ON o.number = a.operator
    WHERE a.id < $1
    ORDER BY a.id DESC
    LIMIT $2
"""

# The first lock of every act, as it is the first of a deletion and of a change of the password: none of them waits for
# another crosswise, and a login that is being opened is either seen here or opened afterwards.
_LOCK: Final = "SELECT deleted_at FROM players WHERE number = $1 FOR NO KEY UPDATE"
_LOCK_BY_EMAIL: Final = "SELECT number FROM players WHERE email_key = $1 FOR NO KEY UPDATE"
_RECORD: Final = "INSERT INTO operator_acts (at, operator, act, number, reason) VALUES ($1, $2, $3, $4, $5)"
_SET_ADMIN: Final = "UPDATE players SET is_admin = $2 WHERE number = $1"
# Before the entries are looked at: an action that is being committed holds this row, and its entry is seen after the
# wait; the next one finds what is set here.
_SET_OFF_BOARDS: Final = "UPDATE sessions SET off_boards = $2 WHERE number = $1"
_SET_REMOVED: Final = """
    UPDATE ladder_entries SET removed = $2, changed_by = pg_current_xact_id() WHERE number = $1 AND removed <> $2
    RETURNING ladder
"""
_REVOKE: Final = "UPDATE logins SET revoked_at = $2 WHERE number = $1 AND revoked_at IS NULL RETURNING sid"


class Operators:
    """What the operators' pages and commands go by. Every method raises StoreUnavailable when PostgreSQL does not
    answer in time.

    An act and its line in the record are one transaction, durable when the method returns. Doing one again changes
    nothing more and is recorded again. Acts raise PlayerUnknown, and AccountGone for a deleted account. `operator` is
    None for the command line, `reason` is for people.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    # Looking

    async def is_admin(self, number: int) -> bool:
        """Whether the player may use /admin now."""
        row = await self._postgres.fetchrow(_IS_ADMIN, number)
        return row is not None and bool(row["is_admin"])

    async def player(self, number: int) -> KnownPlayer:
        """The player with this number; raises PlayerUnknown."""
        row = await self._postgres.fetchrow(_BY_NUMBER, number) if 0 < number <= _MAX_NUMBER else None
        if row is None:
            raise PlayerUnknown(number)
        return _known(row)

    async def find(self, text: str) -> list[KnownPlayer]:
        """The player with this number (`12`, `#12`), or those with the text in name or email, in whatever case, the
        newest first."""
        wanted = text.strip()
        digits = wanted.removeprefix("#")
        if digits.isascii() and digits.isdigit():
            try:
                # Cut where it is far too long for a number of ours.
                return [await self.player(int(digits[:20]))]
            except PlayerUnknown:
                return []
        if "\0" in wanted:
            return []  # PostgreSQL takes none in a text, and no name has one.
        escaped = without_case(wanted).replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
        return [_known(row) for row in await self._postgres.fetch(_BY_TEXT, f"%{escaped}%", MAX_FOUND)]

    async def sessions(self, number: int) -> list[PlayedSession]:
        """The player's sessions, the newest first."""
        return [
            PlayedSession(
                row["session_id"],
                Status(row["status"]),
                row["difficulty"],
                row["total_score"],
                row["stage"],
                row["stage_count"],
                row["started_at"],
                row["ended_at"],
                row["version"],
            )
            for row in await self._postgres.fetch(_SESSIONS, number, MAX_SESSIONS)
        ]

    async def session_log(self, number: int, session_id: UUID) -> list[Event]:
        """Every action of one session, in order; none if the player has no such session."""
        return [event_from(row) for row in await self._postgres.fetch(_LOG, number, session_id)]

    async def entries(self, number: int) -> list[KeptEntry]:
        """The player's entries: those of all time, then the newest."""
        return [
            KeptEntry(row["ladder"], row["total_score"], row["passed_all_games"], row["achieved_at"], row["removed"])
            for row in await self._postgres.fetch(_ENTRIES, number, MAX_ENTRIES)
        ]

    async def acts(self, before: int | None = None) -> list[RecordedAct]:
        """What operators have done, the newest first; with `before` what is older than that one."""
        rows = await self._postgres.fetch(_ACTS, _MAX_NUMBER if before is None else before, MAX_ACTS)
        return [
            RecordedAct(
                row["id"],
                row["at"],
                None if row["operator"] is None else Named(row["operator"], row["operator_name"]),
                Act(row["act"]),
                Named(row["number"], row["username"]),
                row["reason"],
            )
            for row in rows
        ]

    # Acting

    async def grant_admin(self, email: str, operator: int | None, reason: str, at: datetime) -> KnownPlayer:
        """Let the player with this email, in whatever case, use /admin."""
        return await self._set_admin(email, Act.GRANT_ADMIN, operator, reason, at)

    async def withdraw_admin(self, email: str, operator: int | None, reason: str, at: datetime) -> KnownPlayer:
        """The opposite; the player's next request is refused."""
        return await self._set_admin(email, Act.WITHDRAW_ADMIN, operator, reason, at)

    async def take_off_boards(self, number: int, operator: int | None, reason: str, at: datetime) -> list[str]:
        """Show nothing of the player on any board, now and from now on; gives the ladders that the player was on."""
        return await self._set_off_boards(number, True, operator, reason, at)

    async def put_back_on_boards(self, number: int, operator: int | None, reason: str, at: datetime) -> list[str]:
        """Show the player again, with all that was played meanwhile; gives the ladders that the player is on again."""
        return await self._set_off_boards(number, False, operator, reason, at)

    async def revoke_logins(self, number: int, operator: int | None, reason: str, at: datetime) -> list[UUID]:
        """End every login of the player; gives those that were ended."""

        async def revoke(connection: Connection) -> list[UUID]:
            return [row["sid"] for row in await connection.fetch(_REVOKE, number, at)]

        return await self._act(Act.REVOKE_LOGINS, number, operator, reason, at, revoke)

    async def _set_off_boards(
        self, number: int, off: bool, operator: int | None, reason: str, at: datetime
    ) -> list[str]:
        async def change(connection: Connection) -> list[str]:
            await connection.execute(_SET_OFF_BOARDS, number, off)
            return [row["ladder"] for row in await connection.fetch(_SET_REMOVED, number, off)]

        act = Act.TAKE_OFF_BOARDS if off else Act.PUT_BACK_ON_BOARDS
        return await self._act(act, number, operator, reason, at, change)

    async def _set_admin(self, email: str, act: Act, operator: int | None, reason: str, at: datetime) -> KnownPlayer:
        async def change(connection: Connection) -> KnownPlayer:
            async with connection.transaction():
                number = await connection.fetchval(_LOCK_BY_EMAIL, without_case(email))
                if number is None:
                    raise PlayerUnknown(email)
                await connection.execute(_SET_ADMIN, number, act is Act.GRANT_ADMIN)
                await connection.execute(_RECORD, at, operator, act, number, reason)
                row = await connection.fetchrow(_BY_NUMBER, number)
            assert row is not None, "the row is locked"  # noqa: S101
            return _known(row)

        return await self._postgres.run(change, repeatable=False)

    async def _act(
        self,
        act: Act,
        number: int,
        operator: int | None,
        reason: str,
        at: datetime,
        work: Callable[[Connection], Awaitable[T]],
    ) -> T:
        async def transaction(connection: Connection) -> T:
            async with connection.transaction():
                player = await connection.fetchrow(_LOCK, number)
                if player is None:
                    raise PlayerUnknown(number)
                if player["deleted_at"] is not None:
                    raise AccountGone
                result = await work(connection)
                await connection.execute(_RECORD, at, operator, act, number, reason)
            return result

        if not 0 < number <= _MAX_NUMBER:
            raise PlayerUnknown(number)
        return await self._postgres.run(transaction, repeatable=False)


def _known(row: asyncpg.Record) -> KnownPlayer:
    return KnownPlayer(
        row["number"], row["username"], row["email"], row["registered_at"], row["off_boards"], row["is_admin"]
    )
