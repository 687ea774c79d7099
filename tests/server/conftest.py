"""What many tests of the server need: a clock that stands still, a log that can be read, players, a second way in."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import asyncpg
import pytest
import structlog
from structlog.testing import LogCapture

from server.log import Log
from storage.accounts import Accounts, Player
from storage.postgres import Postgres
from tests.server.fakes import MORNING, FakeClock
from tests.server.gate import Gate
from tests.stores import Stores

NewPlayer = Callable[..., Awaitable[Player]]


#: Tables that say what the database is; all others hold what tests put there.
_KEPT_TABLES = ("alembic_version", "deployment")


@pytest.fixture(scope="session")
def emptied_databases() -> list[str]:
    """The one database of these tests, once it is there."""
    return []


@pytest.fixture
async def database_url(stores: Stores, emptied_databases: list[str]) -> str:
    """A database without players, a deployment of its own.

    Emptied instead of cloned: these tests are many, and a clone takes ten times as long.
    """
    if not emptied_databases:
        name = "server_tests"
        connection = await asyncpg.connect(stores.database_url)
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE braingame_template")
        await connection.close()
        emptied_databases.append(stores.database(name))
    (url,) = emptied_databases
    connection = await asyncpg.connect(url)
    tables = await connection.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL ($1::text[])", _KEPT_TABLES
    )
    # Without foreign keys the order does not matter.
    await connection.execute(
        "SET session_replication_role = replica; UPDATE deployment SET id = gen_random_uuid(), last_player_number = 0;"
        + "".join(f"DELETE FROM {table['tablename']};" for table in tables)
    )
    await connection.close()
    return url


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def capture() -> LogCapture:
    """What was logged."""
    return LogCapture()


@pytest.fixture
def log(capture: LogCapture) -> Log:
    found: Log = structlog.wrap_logger(None, processors=[structlog.processors.add_log_level, capture])
    return found


@pytest.fixture
def new_player(postgres: Postgres) -> NewPlayer:
    """Registers a player, with a made-up name and a hash that no password has."""
    accounts, count = Accounts(postgres), itertools.count(1)

    async def register(username: str = "") -> Player:
        name = username or f"player {next(count)}"
        return await accounts.register(uuid4(), f"{uuid4().hex}@example.test", name, "no hash", MORNING)

    return register


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """The fresh database, past all of our own code."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def postgres_gate(database_url: str) -> AsyncIterator[Gate]:
    """The fresh database behind a gate."""
    async with Gate(database_url) as gate:
        yield gate


@pytest.fixture
async def redis_gate(stores: Stores) -> AsyncIterator[Gate]:
    """Valkey behind a gate."""
    async with Gate(stores.redis_url) as gate:
        yield gate
