"""Folders for embedded stores: with nothing in them, or with a cluster that was made once."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import redis.asyncio

from storage.accounts import Accounts
from storage.boards import Boards
from storage.commits import Commits
from storage.embedded import EmbeddedStores
from storage.ladders import Ladders
from storage.logins import Logins
from storage.postgres import Postgres
from storage.sessions import SessionStore
from tests.server.gate import Gate
from tests.storage.own_stores import Events, copy_folder, write
from tests.storage.playing import Sql
from tests.storage.redis_servers import Cluster, Watched, cluster, watched
from tests.storage.waiting import pool, running
from tests.stores import Stores


def open_folder() -> "tempfile.TemporaryDirectory[str]":
    """Everybody may pass through, unlike pytest's own, so that root's stores stay inside."""
    made = tempfile.TemporaryDirectory(prefix="bg-")
    Path(made.name).chmod(0o755)
    return made


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that is still to be made; beside it there is room."""
    with open_folder() as name:
        yield Path(name) / "var"


@pytest.fixture(scope="session")
def used() -> Iterator[Path]:
    """A data folder whose stores hold "made" and what else was written. Tests share it, since making or copying a
    cluster takes longer than they do, and leave it in order, with nothing running."""
    with open_folder() as name:

        async def make() -> None:
            async with EmbeddedStores(Path(name) / "var", log=Events(), shared_home=Path(name) / "shared") as stores:
                await write(stores, "made")

        with asyncio.Runner() as runner:
            runner.run(make())
        yield Path(name) / "var"


@pytest.fixture
def copied(folder: Path, used: Path) -> Path:
    """A copy of one's own, which may be moved or damaged."""
    return copy_folder(used, folder)


# The stores, players, and ways into PostgreSQL and Valkey past all of our code.

# Tables that say what the database is; all others hold what tests put there.
_KEPT_TABLES = ["alembic_version", "deployment"]
_OUR_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL ($1::text[])"
_END_OTHERS = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def clone(stores: Stores, name: str) -> str:
    """A new database with the current schema; gives its URL."""
    connection = await asyncpg.connect(stores.database_url)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE braingame_template")
    await connection.close()
    return stores.database(name)


@pytest.fixture(scope="session")
def emptied_databases() -> list[str]:
    """The one database of these tests, once it is there."""
    return []


@pytest.fixture
async def database_url(stores: Stores, emptied_databases: list[str]) -> str:
    """A database without players, a deployment of its own.

    Emptied instead of cloned: a clone and its removal have to reach the disk, which takes half a second on a busy one.
    Whoever changes the schema or the settings of a database asks for `own_database_url`.
    """
    if not emptied_databases:
        emptied_databases.append(await clone(stores, "storage_tests"))
    (url,) = emptied_databases
    connection = await asyncpg.connect(url)
    # A test may leave a statement behind that still waits for something.
    await connection.execute(_END_OTHERS)
    tables = await connection.fetch(_OUR_TABLES, _KEPT_TABLES)
    # Without foreign keys the order does not matter.
    await connection.execute(
        "SET session_replication_role = replica; UPDATE deployment SET id = gen_random_uuid(), last_player_number = 0;"
        + "".join(f"DELETE FROM {table['tablename']};" for table in tables)
    )
    await connection.close()
    return url


@pytest.fixture
async def own_database_url(stores: Stores) -> AsyncIterator[str]:
    """A database that nobody else will use, with the current schema."""
    name = f"own_{uuid4().hex}"
    yield await clone(stores, name)
    connection = await asyncpg.connect(stores.database_url)
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[Sql]:
    """The emptied database, on a connection of its own."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[Cluster]:
    """A Redis Cluster of three nodes, for tests that harm none of them."""
    with cluster() as found:
        yield found


@pytest.fixture(scope="session")
def redis_watched() -> Iterator[Watched]:
    """A Redis that a sentinel watches, for tests that harm none of them."""
    with watched() as found:
        yield found


@pytest.fixture
def redis_url(request: pytest.FixtureRequest, stores: Stores) -> str:
    """One server's, unless the test is run on every kind of Redis (`ON_EVERY_KIND`)."""
    kind = getattr(request, "param", "one")
    if kind == "one":
        return stores.redis_url
    deployment: Cluster | Watched = request.getfixturevalue(f"redis_{kind}")
    return deployment.url


@pytest.fixture
async def boards(redis_url: str, postgres: Postgres) -> AsyncIterator[Boards]:
    """The boards of the emptied database's deployment."""
    found = Boards.connect(redis_url, str(await Ladders(postgres).deployment()))
    yield found
    await found.close()


@pytest.fixture
async def valkey(stores: Stores) -> AsyncIterator[redis.asyncio.Redis]:
    client = redis.asyncio.Redis.from_url(stores.redis_url, decode_responses=True)
    yield client
    await client.aclose()


@pytest.fixture
async def postgres_gate(database_url: str) -> AsyncIterator[Gate]:
    """The emptied database behind a gate."""
    async with Gate(database_url) as gate:
        yield gate


@pytest.fixture
async def gated_postgres(postgres_gate: Gate) -> AsyncIterator[Postgres]:
    """A pool whose connections all go through the gate."""
    async with pool(postgres_gate.url, connections=2) as postgres:
        yield postgres


@pytest.fixture
async def redis_gate(stores: Stores) -> AsyncIterator[Gate]:
    """Valkey behind a gate."""
    async with Gate(stores.redis_url) as gate:
        yield gate


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores give up sooner, for tests of what comes after. That the real time is kept is tested, too."""
    for module in ("commits", "postgres", "schema"):
        monkeypatch.setattr(f"storage.{module}.PATIENCE_SECONDS", 0.3)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores wait for what a test does meanwhile, however busy the machine is."""
    for module in ("commits", "postgres"):
        monkeypatch.setattr(f"storage.{module}.PATIENCE_SECONDS", 30.0)


@pytest.fixture
def accounts(postgres: Postgres) -> Accounts:
    return Accounts(postgres)


@pytest.fixture
def logins(postgres: Postgres) -> Logins:
    return Logins(postgres)


@pytest.fixture
def sessions(postgres: Postgres) -> SessionStore:
    return SessionStore(postgres)


@pytest.fixture
def ladders(postgres: Postgres) -> Ladders:
    return Ladders(postgres)


@pytest.fixture
async def commits(postgres: Postgres) -> AsyncIterator[Commits]:
    """Group commit, with its task running."""
    async with running(postgres) as found:
        yield found
