"""The audit of PostgreSQL: every log is replayed, and what the tables hold is compared with what it leads to.

storage/findings.py says what has to be equal.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg

from game.ranking import Entry
from game.replay import Replay
from storage.findings import Account, Difference, Finding, Kept, finding
from storage.postgres import Postgres, StoreUnavailable
from storage.sessions import event_from, state_from

if TYPE_CHECKING:
    AnyConnection: TypeAlias = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Cursor: TypeAlias = asyncpg.cursor.Cursor[asyncpg.Record]

#: Seconds that PostgreSQL may take for the next rows. The first ones may have to be sorted on disk.
PATIENCE_SECONDS: Final = 300.0
#: Rows read at a time, some hundred bytes each.
_CHUNK: Final = 2000
#: Events replayed before others on the loop have their turn: two milliseconds.
_BREATH: Final = 100

_ACCOUNT_COLUMNS: Final = """
    p.number, p.deleted_at IS NOT NULL AS deleted, coalesce(a.act = 'take_off_boards', false) AS taken_off,
    s.number IS NOT NULL AS has_row, s.version, s.session_id, s.status, s.stage, s.stage_count, s.total_score,
    s.difficulty, s.started_at, s.ended_at, s.seed, s.dealt_at, s.off_boards
"""
# Ids grow in the order of a player's acts: each is drawn while the player's row is locked.
_ACCOUNTS: Final = f"""
    SELECT {_ACCOUNT_COLUMNS}
    FROM players p LEFT JOIN sessions s USING (number) LEFT JOIN (
        SELECT DISTINCT ON (number) number, act
        FROM operator_acts
        WHERE act IN ('take_off_boards', 'put_back_on_boards')
        ORDER BY number, id DESC
    ) AS a USING (number)
    ORDER BY p.number
"""  # noqa: S608
_SOME_ACCOUNTS: Final = f"""
    SELECT {_ACCOUNT_COLUMNS}
    FROM players p LEFT JOIN sessions s USING (number) LEFT JOIN LATERAL (
        SELECT act
        FROM operator_acts
        WHERE number = p.number AND act IN ('take_off_boards', 'put_back_on_boards')
        ORDER BY id DESC
        LIMIT 1
    ) AS a ON true
    WHERE p.number >= $1
    ORDER BY p.number
    LIMIT $2
"""  # noqa: S608
# Answers are not judged again, so that there was one is enough to know.
_EVENT_COLUMNS: Final = """
    number, key, action, score, CASE WHEN answer IS NOT NULL THEN '' END AS answer, verdict, at,
    version, session_id, status, stage, stage_count, total_score, difficulty, started_at, ended_at, seed, dealt_at
"""
_EVENTS: Final = f"SELECT {_EVENT_COLUMNS} FROM session_events ORDER BY number, version"  # noqa: S608
_SOME_EVENTS: Final = f"""
    SELECT {_EVENT_COLUMNS} FROM session_events WHERE number BETWEEN $1 AND $2 ORDER BY number, version
"""  # noqa: S608
_ENTRY_COLUMNS: Final = "number, ladder, passed_all_games, total_score, achieved_at, session_id, removed"
_ENTRIES: Final = f"SELECT {_ENTRY_COLUMNS} FROM ladder_entries ORDER BY number, ladder"  # noqa: S608
# By their keys: there is no index by number.
_SOME_ENTRIES: Final = f"""
    SELECT {_ENTRY_COLUMNS}
    FROM unnest($1::text[], $2::bigint[]) AS wanted (ladder, number) JOIN ladder_entries USING (ladder, number)
"""  # noqa: S608
_BOARD: Final = """
    SELECT number, passed_all_games, total_score, achieved_at
    FROM ladder_entries
    WHERE ladder = $1 AND NOT removed
    ORDER BY passed_all_games DESC, total_score DESC, achieved_at, number
"""
_REMOVED: Final = "SELECT number FROM ladder_entries WHERE ladder = $1 AND removed"
_LADDERS: Final = "SELECT DISTINCT ladder FROM ladder_entries ORDER BY ladder"
_LAST_NUMBER: Final = "SELECT last_player_number FROM deployment"


@asynccontextmanager
async def one_moment(database_url: str) -> AsyncIterator[Moment]:
    """The database as it is now, to be read for as long as it takes, through a connection of its own.

    Raises StoreUnavailable when PostgreSQL does not answer in PATIENCE_SECONDS, also inside the block, and ValueError
    for a bad URL.
    """
    with _translated():
        connection = await asyncpg.connect(
            database_url,
            timeout=PATIENCE_SECONDS,
            command_timeout=PATIENCE_SECONDS,
            server_settings={
                "application_name": "braingame audit",
                "jit": "off",
                "timezone": "UTC",
                # For the three tables that are sorted at once.
                "work_mem": "32MB",
                "idle_in_transaction_session_timeout": "0",
            },
        )
    try:
        with _translated():
            transaction = connection.transaction(isolation="repeatable_read", readonly=True)
            await transaction.start()
            yield Moment(connection)
    finally:
        # Nothing was written, so there is nothing to end in order.
        connection.terminate()


class Moment:
    """One moment of the database. Every method raises StoreUnavailable when PostgreSQL goes away."""

    def __init__(self, connection: AnyConnection) -> None:
        self._connection = connection

    async def players(self) -> AsyncIterator[Finding]:
        """Everybody whom any table names, in the order of the numbers. Holds one player's log and entries at a time."""
        accounts = await _Rows.of(self._connection, _ACCOUNTS)
        events = await _Rows.of(self._connection, _EVENTS)
        entries = await _Rows.of(self._connection, _ENTRIES)
        while True:
            heads = [await rows.head() for rows in (accounts, events, entries)]
            number = min((head for head in heads if head is not None), default=None)
            if number is None:
                return
            account = None
            async for row in accounts.of_number(number):
                account = _account(row)
            log = _Log(number)
            async for row in events.of_number(number):
                log.add(row)
            kept = {row["ladder"]: _kept(row) async for row in entries.of_number(number)}
            yield log.finding(account, kept)

    async def board(self, ladder: str) -> AsyncIterator[list[Entry]]:
        """Who is shown on the ladder, in the order of the board, as PostgreSQL sorts them, in chunks."""
        async for chunk in (await _Rows.of(self._connection, _BOARD, ladder)).chunks():
            yield [_entry(row) for row in chunk]

    async def removed(self, ladder: str) -> set[int]:
        """Who is kept on the ladder, but not shown."""
        with _translated():
            return {row["number"] for row in await self._connection.fetch(_REMOVED, ladder)}

    async def ladders(self) -> list[str]:
        """Every ladder that has an entry."""
        with _translated():
            return [row["ladder"] for row in await self._connection.fetch(_LADDERS)]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some players that were looked at. `last` is the largest number of them, None behind the last player of all."""

    last: int | None
    players: int
    events: int
    differences: list[Difference]


async def last_number(postgres: Postgres) -> int:
    """The registration number that was given out last. Raises StoreUnavailable."""
    row = await postgres.fetchrow(_LAST_NUMBER)
    assert row is not None, "schema.sql puts the row there"  # noqa: S101
    number: int = row[0]
    return number


async def check_some(postgres: Postgres, first: int, count: int, *, max_events: int, within: float) -> Batch:
    """Look at up to `count` players from number `first` on, at one moment, with pauses for others on the loop. It stops
    short of the player with whom there are more than `max_events`, unless that is the first.

    An entry on a ladder where the log puts the player nowhere is not found: there is no index to find it by. The whole
    audit does. Raises StoreUnavailable after `within` seconds.
    """

    async def work(connection: AnyConnection) -> Batch:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            accounts: dict[int, Account] = {}
            expected = 0
            for row in await connection.fetch(_SOME_ACCOUNTS, first, count):
                expected += row["version"] or 0
                if accounts and expected > max_events:
                    break
                accounts[row["number"]] = _account(row)
            if not accounts:
                return Batch(None, 0, 0, [])
            last = max(accounts)
            logs = {number: _Log(number) for number in accounts}
            events = 0
            async for chunk in (await _Rows.of(connection, _SOME_EVENTS, first, last, chunk=_BREATH)).chunks():
                events += len(chunk)
                for row in chunk:
                    # Numbers without an account are the whole audit's.
                    if row["number"] in logs:
                        logs[row["number"]].add(row)
                await asyncio.sleep(0)
            keys = [(ladder, number) for number, log in logs.items() for ladder in log.played.best]
            rows = await connection.fetch(_SOME_ENTRIES, [ladder for ladder, _ in keys], [number for _, number in keys])
        kept: dict[int, dict[str, Kept]] = {}
        for row in rows:
            kept.setdefault(row["number"], {})[row["ladder"]] = _kept(row)
        found = [logs[number].finding(account, kept.get(number, {})) for number, account in accounts.items()]
        return Batch(last, len(found), events, [difference for each in found for difference in each.differences])

    return await postgres.run(work, within=within)


async def check_one(connection: AnyConnection, number: int, ladders: Collection[str]) -> Finding:
    """One player by what can be read now, with the entries on these ladders and on those that the log leads to."""
    row = next(iter(await connection.fetch(_SOME_ACCOUNTS, number, 1)), None)
    account = None if row is None or row["number"] != number else _account(row)
    log = _Log(number)
    events = await _Rows.of(connection, _SOME_EVENTS, number, number)
    async for event in events.of_number(number):
        log.add(event)
    wanted = sorted({*ladders, *log.played.best})
    rows = await connection.fetch(_SOME_ENTRIES, wanted, [number] * len(wanted))
    return log.finding(account, {row["ladder"]: _kept(row) for row in rows})


class _Log:
    """One player's log, row by row."""

    def __init__(self, number: int) -> None:
        self.played = Replay(number)
        self._events = 0
        self._problems: list[str] = []

    def add(self, row: asyncpg.Record) -> None:
        self._events += 1
        try:
            event = event_from(row)
        except ValueError as error:
            self._problems.append(f"version {row['version']}: it cannot be read ({error})")
            return
        self._problems += [
            f"version {problem.version}: {problem.fault.value} ({problem.what})" for problem in self.played.add(event)
        ]

    def finding(self, account: Account | None, kept: Mapping[str, Kept]) -> Finding:
        """What all of it comes to."""
        return finding(self.played, self._events, self._problems, account, kept)


def _account(row: asyncpg.Record) -> Account:
    if not row["has_row"]:
        return Account(row["deleted"], row["taken_off"], None)
    try:
        return Account(row["deleted"], row["taken_off"], state_from(row), row["off_boards"])
    except ValueError as error:
        return Account(row["deleted"], row["taken_off"], None, row["off_boards"], f"it cannot be read ({error})")


def _entry(row: asyncpg.Record) -> Entry:
    return Entry(row["number"], row["passed_all_games"], row["total_score"], row["achieved_at"])


def _kept(row: asyncpg.Record) -> Kept:
    return Kept(_entry(row), row["session_id"], row["removed"])


class _Rows:
    """The rows of a query in the order of their numbers, read as they are wanted."""

    def __init__(self, cursor: Cursor, chunk: int) -> None:
        self._cursor = cursor
        self._size = chunk
        self._rows: list[asyncpg.Record] = []
        self._at = 0

    @classmethod
    async def of(cls, connection: AnyConnection, query: str, *arguments: Any, chunk: int = _CHUNK) -> _Rows:
        with _translated():
            return cls(await connection.cursor(query, *arguments), chunk)

    async def head(self) -> int | None:
        """The number of the next row; None at the end."""
        if self._at == len(self._rows):
            with _translated():
                self._rows, self._at = await self._cursor.fetch(self._size, timeout=PATIENCE_SECONDS), 0
        number: int | None = self._rows[self._at]["number"] if self._rows else None
        return number

    async def of_number(self, number: int) -> AsyncIterator[asyncpg.Record]:
        """The next rows, as long as they are of this number."""
        while await self.head() == number:
            row = self._rows[self._at]
            self._at += 1
            yield row

    async def chunks(self) -> AsyncIterator[list[asyncpg.Record]]:
        """All rows, many at a time."""
        while await self.head() is not None:
            rows, self._at = self._rows[self._at :], len(self._rows)
            yield rows


@contextmanager
def _translated() -> Iterator[None]:
    """What goes wrong while looking means one thing: it could not be looked."""
    try:
        yield
    except ValueError:
        raise
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise StoreUnavailable(str(error) or type(error).__name__) from error
