"""Reading sessions and their events. Everything that writes them is in storage/commits.py."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from game.session import Action, Judged, PlayerState, Session, Status, Verdict
from storage.gathered import Gathered
from storage.postgres import Postgres


@dataclass(frozen=True, slots=True)
class Event:
    """One applied action, as the log keeps it: the state right after it, and what the player had asked for. `judged`
    is None where no answer was judged."""

    number: int
    key: str
    action: Action
    score: int | None
    state: PlayerState
    at: datetime
    judged: Judged | None = None


class PlayerUnknown(Exception):
    """No player has this number."""


_STATE_COLUMNS: Final = """
    version, session_id, status, stage, stage_count, total_score, difficulty, started_at, ended_at, seed, dealt_at
"""
_STATES: Final = f"SELECT number, {_STATE_COLUMNS} FROM sessions WHERE number = ANY($1::bigint[])"  # noqa: S608
_EVENT_COLUMNS: Final = f"number, key, action, score, answer, verdict, at, {_STATE_COLUMNS}"
_BY_KEY: Final = f"""
    SELECT {_EVENT_COLUMNS} FROM session_events WHERE number = $1 AND key = $2
"""  # noqa: S608
_HISTORY: Final = f"""
    SELECT {_EVENT_COLUMNS} FROM session_events WHERE number = $1 ORDER BY version
"""  # noqa: S608


def state_from(row: asyncpg.Record) -> PlayerState:
    """The state in a row of `sessions` or `session_events`."""
    session_id: UUID | None = row["session_id"]
    if session_id is None:
        return PlayerState(row["version"], None)
    session = Session(
        session_id=session_id,
        status=Status(row["status"]),
        stage=row["stage"],
        stage_count=row["stage_count"],
        total_score=row["total_score"],
        difficulty=row["difficulty"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        # Rows from before stages were dealt have none.
        seed=row["seed"] or 0,
        dealt_at=row["dealt_at"],
    )
    return PlayerState(row["version"], session)


def event_from(row: asyncpg.Record) -> Event:
    """The event in a row of `session_events`."""
    judged = None if row["answer"] is None else Judged(row["answer"], Verdict(row["verdict"]))
    return Event(row["number"], row["key"], Action(row["action"]), row["score"], state_from(row), row["at"], judged)


class SessionStore:
    """Committed states. Every method raises StoreUnavailable when PostgreSQL does not answer in time."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._states = Gathered(self.states)

    async def state(self, number: int) -> PlayerState:
        """The player's committed state; raises PlayerUnknown."""
        state = await self._states.get(number)
        if state is None:
            raise PlayerUnknown(number)
        return state

    async def states(self, numbers: Collection[int]) -> dict[int, PlayerState]:
        """The committed states of players; who does not exist is left out."""
        return {row["number"]: state_from(row) for row in await self._postgres.fetch(_STATES, list(numbers))}

    async def event_by_key(self, number: int, key: str) -> Event | None:
        """What was applied under this idempotency key."""
        row = await self._postgres.fetchrow(_BY_KEY, number, key)
        return None if row is None else event_from(row)

    async def history(self, number: int) -> list[Event]:
        """Everything a player ever did, in order."""
        return [event_from(row) for row in await self._postgres.fetch(_HISTORY, number)]
