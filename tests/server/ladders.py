"""Players with entries on a ladder, as the commit statement writes them, and what Redis should show of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import asyncpg

from game.ranking import Entry, better, ranked

_WRITE = """
    INSERT INTO ladder_entries (ladder, number, passed_all_games, total_score, achieved_at, session_id)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (ladder, number) DO UPDATE
    SET passed_all_games = excluded.passed_all_games, total_score = excluded.total_score,
        achieved_at = excluded.achieved_at, changed_by = pg_current_xact_id()
"""


@dataclass
class Ladder:
    """The entries of one ladder in PostgreSQL, written past the server's code, and held here to compare with."""

    sql: asyncpg.Connection[asyncpg.Record]
    name: str

    def __post_init__(self) -> None:
        self.entries: dict[int, Entry] = {}

    async def write(self, *entries: Entry) -> None:
        for entry in entries:
            held = self.entries.get(entry.number)
            self.entries[entry.number] = entry if held is None else better(held, entry)
        rows = [self.entries[number] for number in {entry.number for entry in entries}]
        await self.sql.executemany(
            _WRITE, [(self.name, e.number, e.passed_all_games, e.total_score, e.achieved_at, uuid4()) for e in rows]
        )

    def ranked(self) -> list[Entry]:
        return ranked(self.entries.values())


def random_entry(draw: random.Random, numbers: Sequence[int], at: datetime) -> Entry:
    """Scores from a small range, so that ties are many."""
    return Entry(draw.choice(numbers), draw.random() < 0.3, draw.randrange(40), at)
