"""Real stores for tests: one PostgreSQL and one Valkey a session, and a database of its own for whoever asks.

A plugin that tests/conftest.py loads. A database is cloned from a template with the schema, which takes milliseconds.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
import structlog

from storage.boards import Boards
from storage.embedded import EmbeddedStores
from storage.ladders import Ladders
from storage.postgres import Postgres
from storage.schema import upgrade

_TEMPLATE = "braingame_template"
_counter = itertools.count(1)


@dataclass(frozen=True)
class Stores:
    """Where the session's stores are."""

    database_url: str
    redis_url: str

    def database(self, name: str) -> str:
        """The URL of another database of the same PostgreSQL."""
        before, _, after = self.database_url.partition("?")
        return f"{before.rpartition('/')[0]}/{name}?{after}"


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def stores() -> Iterator[Stores]:
    """A PostgreSQL and a Valkey, on disk in a temporary folder, for all tests of this session."""
    with tempfile.TemporaryDirectory(prefix="bg-tests-") as folder, asyncio.Runner() as runner:
        # So that root's stores, which run as somebody else, stay inside and go with it.
        Path(folder).chmod(0o755)
        embedded = EmbeddedStores(Path(folder), log=structlog.get_logger())
        runner.run(embedded.start())
        try:
            assert embedded.database_url is not None
            assert embedded.redis_url is not None
            found = Stores(embedded.database_url, embedded.redis_url)
            runner.run(_execute(found.database_url, f"CREATE DATABASE {_TEMPLATE}"))
            runner.run(upgrade(found.database(_TEMPLATE)))
            yield found
        finally:
            runner.run(embedded.stop())


@pytest.fixture
async def database_url(stores: Stores) -> AsyncIterator[str]:
    """A fresh database with the current schema, a deployment of its own."""
    name = f"test_{next(_counter)}"
    await _execute(stores.database_url, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    url = stores.database(name)
    # The id is part of every Redis key: clones of one template would share their boards.
    await _execute(url, "UPDATE deployment SET id = gen_random_uuid()")
    yield url
    await _execute(stores.database_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def empty_database_url(stores: Stores) -> AsyncIterator[str]:
    """A database without any table."""
    name = f"empty_{next(_counter)}"
    await _execute(stores.database_url, f"CREATE DATABASE {name}")
    yield stores.database(name)
    await _execute(stores.database_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def postgres(database_url: str) -> AsyncIterator[Postgres]:
    """The pool on a fresh database."""
    pool = await Postgres.connect(database_url, connections=4)
    yield pool
    await pool.close()


@pytest.fixture
async def boards(stores: Stores, postgres: Postgres) -> AsyncIterator[Boards]:
    """The boards of the fresh database's deployment."""
    found = Boards.connect(stores.redis_url, str(await Ladders(postgres).deployment()))
    yield found
    await found.close()
