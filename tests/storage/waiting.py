"""Waiting for a fact instead of for a time, and holding a store up at a point that a test chooses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import asyncpg

from storage.commits import Commits
from storage.postgres import Postgres
from tests.storage.playing import Sql

T = TypeVar("T")

#: Seconds after which something that should have happened long ago counts as missing.
DEADLINE = 10.0
#: Seconds within which callers have an answer when a store is down: the 2 that are promised, and 1 for a busy machine.
PROMISED = 3.0

_BLOCKED = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'braingame' AND wait_event_type = 'Lock'
"""
_KILL_ALL = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'braingame'
"""


async def until(look: Callable[[], Awaitable[T]], what: str, *, within: float = DEADLINE) -> T:
    """What `look` gives as soon as it gives something true; fails with `what` after the deadline."""
    deadline = time.monotonic() + within
    while not (found := await look()):
        assert time.monotonic() < deadline, f"not within {within:.0f} s: {what}"
        await asyncio.sleep(0.005)
    return found


@asynccontextmanager
async def pool(database_url: str, *, connections: int = 1) -> AsyncIterator[Postgres]:
    """A pool that is closed at the end of the block, whatever happens in it."""
    postgres = await Postgres.connect(database_url, connections=connections)
    try:
        yield postgres
    finally:
        await postgres.close()


@asynccontextmanager
async def running(postgres: Postgres) -> AsyncIterator[Commits]:
    """Group commit on this pool, until the end of the block."""
    commits = Commits(postgres)
    task = asyncio.create_task(commits.run())
    try:
        yield commits
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def locked(database_url: str, query: str, *arguments: object) -> AsyncIterator[Sql]:
    """Hold what the query locks until the end of the block, or until the yielded connection's transaction is ended."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("BEGIN")
        await connection.fetch(query, *arguments)
        yield connection
    finally:
        await connection.close()


async def blocked_backend(sql: Sql) -> int:
    """Wait until a statement of our pool waits for a lock; gives its process id."""
    pid: int = await until(lambda: sql.fetchval(_BLOCKED), "a statement that waits for a lock")
    return pid


async def kill_backends(sql: Sql) -> int:
    """Terminate every backend of our pools, as a restart of PostgreSQL would; gives how many there were."""
    return len(await sql.fetch(_KILL_ALL))
