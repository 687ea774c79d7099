"""Many players and entries at once, past the server: what would take hours to play."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from storage.postgres import Postgres

if TYPE_CHECKING:
    from storage.postgres import Connection

_LONG_SECONDS: Final = 600.0
_AT_ONCE: Final = 1000
_ADD_PLAYERS = """
    WITH last AS (
        UPDATE deployment SET last_player_number = last_player_number + $1::bigint
        RETURNING last_player_number - $1::bigint AS number
    ), added AS (
        INSERT INTO players (number, id, email, email_key, username, username_key, password_hash, registered_at)
        SELECT last.number + n, gen_random_uuid(), e, e, e, e, '-', now()
        FROM last, generate_series(1, $1::bigint) AS n, LATERAL (SELECT 'bulk-' || last.number + n AS e) AS named
        RETURNING number
    )
    INSERT INTO sessions (number) SELECT number FROM added RETURNING number
"""
# Scores far below those of the players who play, and all different: a board that is as full as it looks.
_ADD_ENTRIES = """
    INSERT INTO ladder_entries (ladder, number, passed_all_games, total_score, achieved_at, session_id)
    SELECT 'all-time', number, false, number % 1000, now() - number * interval '1 millisecond', gen_random_uuid()
    FROM unnest($1::bigint[]) AS number
"""


async def add_players(postgres: Postgres, count: int) -> list[int]:
    """Registered players who never played and cannot log in; gives their numbers. Repeated, it adds more."""
    return sorted(row["number"] for row in await _long(postgres, _ADD_PLAYERS, count))


async def add_entries(postgres: Postgres, numbers: list[int]) -> None:
    """An entry on the all-time board for each, a thousand in a transaction: about what a commit of ours holds."""
    for start in range(0, len(numbers), _AT_ONCE):
        await _long(postgres, _ADD_ENTRIES, numbers[start : start + _AT_ONCE])


async def settle(postgres: Postgres) -> None:
    """Let PostgreSQL write out what was added, so that it does not do so while something is measured."""

    async def work(connection: Connection) -> None:
        await connection.execute("SET statement_timeout = 0", timeout=_LONG_SECONDS)
        await connection.execute("CHECKPOINT", timeout=_LONG_SECONDS)
        await connection.execute("ANALYZE", timeout=_LONG_SECONDS)

    await postgres.run(work, within=_LONG_SECONDS)


async def _long(postgres: Postgres, statement: str, *arguments: Any) -> list[Any]:
    async def work(connection: Connection) -> list[Any]:
        async with connection.transaction():
            await connection.execute("SET LOCAL statement_timeout = 0")
            return await connection.fetch(statement, *arguments, timeout=_LONG_SECONDS)

    return await postgres.run(work, within=_LONG_SECONDS, repeatable=False)
