"""The best entries as PostgreSQL keeps them: the truth that the boards in Redis are a projection of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Final
from uuid import UUID

import asyncpg

from game.ranking import Entry, Removal
from storage.postgres import Postgres

#: Entries read at a time: some hundred kilobytes, and short statements.
_CHUNK: Final = 5000

_DEPLOYMENT: Final = "SELECT id FROM deployment"
# Every transaction below has ended: what it wrote is seen by the next statement, and nothing will be added there.
_HORIZON: Final = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"
_ENTRIES: Final = """
    SELECT number, passed_all_games, total_score, achieved_at, removed
    FROM ladder_entries
    WHERE ladder = $1 AND number > $2
    ORDER BY number
    LIMIT $3
"""
# A name of its own for the text: ORDER BY would take the column of the result for that of the table, and sort 1000
# before 999.
_CHANGES: Final = """
    SELECT changed_by::text AS change, ladder, number, passed_all_games, total_score, achieved_at, removed
    FROM ladder_entries
    WHERE (changed_by, ladder, number) > ($1::text::xid8, $2, $3) AND changed_by < $4::text::xid8
    ORDER BY changed_by, ladder, number
    LIMIT $5
"""
_RANKED: Final = """
    SELECT number, passed_all_games, total_score, achieved_at
    FROM ladder_entries
    WHERE ladder = $1 AND NOT removed
    ORDER BY passed_all_games DESC, total_score DESC, achieved_at, number
    LIMIT $2
"""

_STANDING: Final = """
    SELECT number, passed_all_games, total_score, achieved_at, removed
    FROM ladder_entries
    WHERE ladder = $1 AND number = ANY($2::bigint[])
"""


def _entry(row: asyncpg.Record) -> Entry:
    return Entry(row["number"], row["passed_all_games"], row["total_score"], row["achieved_at"])


def _standing(row: asyncpg.Record) -> Entry | Removal:
    return Removal(row["number"]) if row["removed"] else _entry(row)


class Ladders:
    """The table of best entries. Every method raises StoreUnavailable when PostgreSQL does not answer in time."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def deployment(self) -> UUID:
        """Which deployment this database is."""
        row = await self._postgres.fetchrow(_DEPLOYMENT)
        assert row is not None, "schema.sql puts the row there"  # noqa: S101
        deployment: UUID = row["id"]
        return deployment

    async def horizon(self) -> int:
        """A cursor into the changes: what was written before it can be read now, all of it."""
        row = await self._postgres.fetchrow(_HORIZON)
        assert row is not None  # noqa: S101
        return int(row[0])

    async def entries(self, ladder: str) -> AsyncIterator[list[Entry | Removal]]:
        """All entries of a ladder, and who was taken off it, in chunks. One that changes meanwhile is given as it was
        or as it is: read the horizon first, and the changes since then afterwards."""
        last = 0
        while rows := await self._postgres.fetch(_ENTRIES, ladder, last, _CHUNK):
            yield [_standing(row) for row in rows]
            last = rows[-1]["number"]

    async def some(self, ladder: str, first: int, count: int) -> list[Entry | Removal]:
        """Up to `count` entries of players from number `first` on, and who was taken off, in the order of numbers."""
        return [_standing(row) for row in await self._postgres.fetch(_ENTRIES, ladder, first - 1, count)]

    async def standing(self, ladder: str, numbers: Collection[int]) -> dict[int, Entry | Removal]:
        """What these players have on the ladder; who has nothing is left out."""
        return {row["number"]: _standing(row) for row in await self._postgres.fetch(_STANDING, ladder, list(numbers))}

    async def changes(self, since: int, until: int) -> AsyncIterator[dict[str, list[Entry | Removal]]]:
        """Entries that were written from one horizon on and before another, by ladder, in chunks."""
        changed_by, ladder, number = str(since), "", 0
        while rows := await self._postgres.fetch(_CHANGES, changed_by, ladder, number, str(until), _CHUNK):
            chunk: dict[str, list[Entry | Removal]] = {}
            for row in rows:
                chunk.setdefault(row["ladder"], []).append(_standing(row))
            yield chunk
            changed_by, ladder, number = rows[-1]["change"], rows[-1]["ladder"], rows[-1]["number"]

    async def ranked(self, ladder: str, limit: int) -> list[Entry]:
        """The top of a ladder by PostgreSQL's own sorting, to hold the projection against."""
        return [_entry(row) for row in await self._postgres.fetch(_RANKED, ladder, limit)]
