"""Every way to the current schema ends at the same one, and a database that is not ours to change stays as it is."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from alembic.script import ScriptDirectory

import storage.schema
from storage.accounts import Accounts
from storage.postgres import Postgres, StoreUnavailable
from storage.schema import OLDEST_USABLE, SchemaError, known_revisions, planned_sql, prepare_schema, upgrade
from tests.server_process import ROOT
from tests.storage.catalog import catalog, contents
from tests.storage.playing import NOON, Sql
from tests.storage.waiting import PROMISED
from tests.stores import Stores

MIGRATIONS = ROOT / "storage" / "migrations"

NewStep = Callable[[str], None]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Sql]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def execute(url: str, *statements: str) -> None:
    async with connected(url) as sql:
        for statement in statements:
            await sql.execute(statement)


async def version(url: str) -> str | None:
    async with connected(url) as sql:
        found: str | None = await sql.fetchval("SELECT version_num FROM alembic_version")
        return found


_TABLES = "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables WHERE schemaname = 'public'"


@pytest.fixture(scope="session")
def dropped_databases() -> list[str]:
    """The one database of these tests, once it is there."""
    return []


@pytest.fixture
async def empty_database_url(stores: Stores, dropped_databases: list[str]) -> str:
    """A database without any table. Its tables are dropped instead of itself, which would take ten times as long."""
    if not dropped_databases:
        await execute(stores.database_url, "CREATE DATABASE schema_tests")
        dropped_databases.append(stores.database("schema_tests"))
    (url,) = dropped_databases
    async with connected(url) as sql:
        if tables := await sql.fetchval(_TABLES):
            await sql.execute(f"DROP TABLE {tables} CASCADE")
    return url


@pytest.fixture
async def current_database_url(empty_database_url: str) -> str:
    """A database that this release has set up; it may be changed in any way."""
    await prepare_schema(empty_database_url, migrate=False)
    return empty_database_url


@asynccontextmanager
async def left_alone(url: str) -> AsyncIterator[None]:
    """Fails when the block changes anything at all in the database."""
    async with connected(url) as sql:
        before = await catalog(sql), await contents(sql)
        yield
        assert (await catalog(sql), await contents(sql)) == before


async def register_somebody(url: str) -> None:
    """Data that has to survive."""
    postgres = await Postgres.connect(url, connections=1)
    async with connected(url) as sql:
        player_id = await sql.fetchval("SELECT gen_random_uuid()")
    await Accounts(postgres).register(player_id, "ann@example.test", "ann", "-", NOON)
    await postgres.close()


# The file and the migrations


async def test_schema_sql_equals_what_the_migrations_build(empty_database_url: str, database_url: str) -> None:
    await execute(empty_database_url, (ROOT / "schema.sql").read_text(encoding="utf-8"))
    async with connected(empty_database_url) as written, connected(database_url) as migrated:
        assert await catalog(written) == await catalog(migrated)
        found = await contents(migrated, identity=False)
        assert found.pop("alembic_version") == [repr({"version_num": known_revisions()[-1]})]
        assert await contents(written, identity=False) == found


async def test_what_a_first_start_sets_up_equals_what_the_migrations_build(
    empty_database_url: str, database_url: str
) -> None:
    await prepare_schema(empty_database_url, migrate=False)
    async with connected(empty_database_url) as set_up, connected(database_url) as migrated:
        assert await catalog(set_up) == await catalog(migrated)
        assert await contents(set_up, identity=False) == await contents(migrated, identity=False)
        columns = "SELECT attname, atttypid::regtype::text, attnotnull, atttypmod FROM pg_attribute WHERE attrelid = "
        constraints = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = "
        for query in (columns, constraints):
            query += "'alembic_version'::regclass ORDER BY 1"
            assert await set_up.fetch(query) == await migrated.fetch(query)


DRIFTS = [
    "CREATE TABLE more (id integer)",
    "DROP TABLE refresh_tokens",
    "CREATE UNLOGGED TABLE more (id integer)",
    "ALTER TABLE players ADD COLUMN more integer",
    "ALTER TABLE players DROP COLUMN registered_at",
    "ALTER TABLE players RENAME COLUMN registered_at TO since",
    "ALTER TABLE players ALTER COLUMN registered_at DROP NOT NULL",
    "ALTER TABLE sessions ALTER COLUMN stage SET NOT NULL",
    "ALTER TABLE sessions ALTER COLUMN stage TYPE bigint",
    "ALTER TABLE sessions ALTER COLUMN version DROP DEFAULT",
    "ALTER TABLE logins ALTER COLUMN created_at SET DEFAULT now()",
    "ALTER TABLE ladder_entries ALTER COLUMN ladder TYPE text",
    "ALTER TABLE session_events ALTER COLUMN key SET STORAGE EXTERNAL",
    "ALTER TABLE session_events ALTER COLUMN key SET STATISTICS 7",
    "ALTER TABLE session_events DROP CONSTRAINT session_events_key_once",
    "ALTER TABLE session_events RENAME CONSTRAINT session_events_key_once TO another_name",
    "ALTER TABLE sessions ADD CONSTRAINT more CHECK (stage >= 0)",
    "ALTER TABLE logins DROP CONSTRAINT logins_number_fkey",
    "ALTER TABLE logins ALTER CONSTRAINT logins_number_fkey DEFERRABLE",
    "DROP INDEX deployment_one_row",
    "CREATE INDEX more ON players (registered_at)",
    "DROP INDEX logins_of_player; CREATE INDEX logins_of_player ON logins (number DESC)",
    "COMMENT ON COLUMN players.email_key IS 'another comment'",
    "COMMENT ON COLUMN players.email_key IS NULL",
    "COMMENT ON TABLE players IS 'a comment'",
    "ALTER TABLE sessions SET (fillfactor = 90)",
    "ALTER TABLE sessions RESET (fillfactor)",
    "ALTER TABLE sessions SET (autovacuum_enabled = off)",
    "ALTER TABLE players ENABLE ROW LEVEL SECURITY",
    "GRANT SELECT ON players TO PUBLIC",
    "CREATE VIEW more AS SELECT 1 AS one",
    "CREATE SEQUENCE more",
    "CREATE TYPE more AS ENUM ('one')",
    "CREATE DOMAIN more AS integer NOT NULL",
    "CREATE FUNCTION more() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE STATISTICS more ON stage, status FROM sessions",
    "CREATE SCHEMA more",
    "CREATE EXTENSION citext",
]


async def test_any_drift_would_be_noticed(sql: Sql) -> None:
    before = await catalog(sql)
    unnoticed = []
    for drift in DRIFTS:
        await sql.execute("BEGIN")
        await sql.execute(drift)
        if await catalog(sql) == before:
            unnoticed.append(drift)
        await sql.execute("ROLLBACK")
    assert unnoticed == []
    assert await catalog(sql) == before


def test_each_migration_is_in_a_file_that_begins_with_its_number() -> None:
    # prepare_schema goes by the files' names, alembic by what stands in them.
    steps = ScriptDirectory(str(MIGRATIONS)).walk_revisions()
    assert [step.revision for step in steps][::-1] == known_revisions()


async def test_migrations_leave_the_newest_version(empty_database_url: str) -> None:
    await upgrade(empty_database_url)
    assert await version(empty_database_url) == known_revisions()[-1]


# What a start does


@pytest.mark.parametrize("migrate", [False, True])
async def test_empty_database_is_set_up_in_any_case(empty_database_url: str, *, migrate: bool) -> None:
    await prepare_schema(empty_database_url, migrate=migrate)
    assert await version(empty_database_url) == known_revisions()[-1]
    await register_somebody(empty_database_url)


@pytest.mark.parametrize("migrate", [False, True])
async def test_current_schema_is_left_as_it_is(current_database_url: str, *, migrate: bool) -> None:
    await register_somebody(current_database_url)
    async with left_alone(current_database_url):
        await prepare_schema(current_database_url, migrate=migrate)


@pytest.mark.parametrize("nodes", [2, 6])
async def test_nodes_that_start_together_on_an_empty_database_all_start(empty_database_url: str, nodes: int) -> None:
    await asyncio.gather(*(prepare_schema(empty_database_url, migrate=False) for _ in range(nodes)))
    assert await version(empty_database_url) == known_revisions()[-1]
    async with connected(empty_database_url) as sql:
        assert await sql.fetchval("SELECT count(*) FROM deployment") == 1


async def test_tables_of_somebody_else_are_no_obstacle(empty_database_url: str) -> None:
    await execute(empty_database_url, "CREATE TABLE somebody_elses (id integer)")
    await prepare_schema(empty_database_url, migrate=False)
    assert await version(empty_database_url) == known_revisions()[-1]
    async with connected(empty_database_url) as sql:
        assert await sql.fetch("SELECT * FROM somebody_elses") == []


@pytest.mark.parametrize("migrate", [False, True])
async def test_newer_schema_is_never_touched(current_database_url: str, *, migrate: bool) -> None:
    await register_somebody(current_database_url)
    await execute(current_database_url, "UPDATE alembic_version SET version_num = '9999'")
    async with left_alone(current_database_url):
        with pytest.raises(SchemaError, match=rf"9999, newer than .* knows \({known_revisions()[-1]}\)"):
            await prepare_schema(current_database_url, migrate=migrate)


@pytest.mark.parametrize("migrate", [False, True])
async def test_tables_without_a_version_are_never_touched(current_database_url: str, *, migrate: bool) -> None:
    await register_somebody(current_database_url)
    await execute(current_database_url, "DROP TABLE alembic_version")
    async with left_alone(current_database_url):
        with pytest.raises(SchemaError, match="without a schema version"):
            await prepare_schema(current_database_url, migrate=migrate)


async def test_tables_with_an_empty_version_table_are_never_touched(current_database_url: str) -> None:
    await execute(current_database_url, "DELETE FROM alembic_version")
    async with left_alone(current_database_url):
        with pytest.raises(SchemaError, match="without a schema version"):
            await prepare_schema(current_database_url, migrate=True)


async def test_empty_version_table_alone_is_no_obstacle(empty_database_url: str) -> None:
    # What `alembic downgrade base` leaves behind.
    await execute(
        empty_database_url,
        "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY)",
    )
    await prepare_schema(empty_database_url, migrate=False)
    assert await version(empty_database_url) == known_revisions()[-1]


# From one release to the next


@pytest.fixture
def new_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NewStep:
    """Adds a migration to this release's; the database is then one of the release before."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(storage.schema, "_MIGRATIONS", folder)

    def add(body: str) -> None:
        newest = known_revisions()[-1]
        number = f"{int(newest) + 1:04d}"
        text = f'"""A step."""\n\nfrom alembic import op\n\nrevision = "{number}"\ndown_revision = "{newest}"\n\n\n'
        text += f"def upgrade() -> None:\n    {body}\n"
        (folder / "versions" / f"{number}_a_step.py").write_text(text, encoding="utf-8")

    return add


ADD_COLUMN = "op.execute(\"ALTER TABLE players ADD COLUMN motto text NOT NULL DEFAULT 'play'\")"


async def test_older_schema_is_not_touched_unless_asked(current_database_url: str, new_step: NewStep) -> None:
    older = known_revisions()[-1]
    new_step(ADD_COLUMN)
    newer = known_revisions()[-1]
    await register_somebody(current_database_url)
    async with left_alone(current_database_url):
        with pytest.raises(SchemaError, match=f"schema {older}, .* needs {newer}; .*--migrate"):
            await prepare_schema(current_database_url, migrate=False)


async def test_older_schema_is_carried_forward_when_asked_with_its_data(
    current_database_url: str, new_step: NewStep
) -> None:
    await register_somebody(current_database_url)
    new_step(ADD_COLUMN)
    new_step("op.execute('ALTER TABLE players RENAME COLUMN motto TO saying')")
    await prepare_schema(current_database_url, migrate=True)
    assert await version(current_database_url) == known_revisions()[-1]
    async with connected(current_database_url) as sql:
        rows = await sql.fetch("SELECT number, email, saying FROM players")
        assert [tuple(row) for row in rows] == [(1, "ann@example.test", "play")]


async def test_nodes_that_migrate_together_all_start(current_database_url: str, new_step: NewStep) -> None:
    new_step(ADD_COLUMN)
    await asyncio.gather(*(prepare_schema(current_database_url, migrate=True) for _ in range(3)))
    assert await version(current_database_url) == known_revisions()[-1]


async def test_migration_that_fails_leaves_the_database_as_it_was(current_database_url: str, new_step: NewStep) -> None:
    await register_somebody(current_database_url)
    new_step(ADD_COLUMN)
    new_step("op.execute('ALTER TABLE players ADD COLUMN number integer')")
    async with left_alone(current_database_url):
        with pytest.raises(Exception, match="already exists"):
            await prepare_schema(current_database_url, migrate=True)


async def test_migration_that_waits_for_a_lock_gives_up_before_all_others_wait_behind_it(
    current_database_url: str, new_step: NewStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.schema, "LOCK_SECONDS", 0.05)
    new_step(ADD_COLUMN)
    async with connected(current_database_url) as audit, audit.transaction():
        await audit.fetch("SELECT * FROM players")
        async with left_alone(current_database_url):
            with pytest.raises(SchemaError, match="lock timeout; somebody uses the tables"):
                await prepare_schema(current_database_url, migrate=True)
    await prepare_schema(current_database_url, migrate=True)
    assert await version(current_database_url) == known_revisions()[-1]


async def test_planned_sql_is_what_a_migration_does(current_database_url: str, new_step: NewStep) -> None:
    assert await planned_sql(current_database_url) == ""
    new_step(ADD_COLUMN)
    async with left_alone(current_database_url):
        plan = await planned_sql(current_database_url)
    await execute(current_database_url, plan)
    assert await prepare_schema(current_database_url, migrate=False) == known_revisions()[-1]
    async with connected(current_database_url) as sql:
        planned = await catalog(sql), await note(sql)
        await sql.execute(f"DROP TABLE {await sql.fetchval(_TABLES)} CASCADE")
        await upgrade(current_database_url)
        assert (await catalog(sql), await note(sql)) == planned


async def test_planned_sql_of_an_empty_database_is_the_whole_schema(empty_database_url: str) -> None:
    assert await planned_sql(empty_database_url) == (ROOT / "schema.sql").read_text(encoding="utf-8")


# Nodes of the release before, on a schema that they do not know


async def note(sql: Sql) -> str | None:
    found: str | None = await sql.fetchval("SELECT obj_description('alembic_version'::regclass, 'pg_class')")
    return found


def test_oldest_usable_schema_was_released() -> None:
    assert OLDEST_USABLE in known_revisions()


async def test_every_way_to_the_newest_schema_says_who_may_use_it(empty_database_url: str, database_url: str) -> None:
    await prepare_schema(empty_database_url, migrate=False)
    async with connected(empty_database_url) as set_up, connected(database_url) as migrated:
        said = f"schema {known_revisions()[-1]} may be used by code for schema {OLDEST_USABLE} or later"
        assert await note(set_up) == await note(migrated) == said


@pytest.mark.parametrize("migrate", [False, True])
async def test_newer_schema_that_lets_this_version_use_it_is_used_and_not_touched(
    current_database_url: str, *, migrate: bool
) -> None:
    newest = known_revisions()[-1]
    said = f"COMMENT ON TABLE alembic_version IS 'schema 9999 may be used by code for schema {newest} or later'"
    await execute(current_database_url, "UPDATE alembic_version SET version_num = '9999'", said)
    async with left_alone(current_database_url):
        assert await prepare_schema(current_database_url, migrate=migrate) == "9999"
        assert await planned_sql(current_database_url) == ""


@pytest.mark.parametrize(
    "said",
    [
        "schema 9999 may be used by code for schema 9998 or later",  # by others
        "schema 9998 may be used by code for schema 0001 or later",  # said of another schema
        "may be used by everybody",
    ],
)
async def test_newer_schema_that_does_not_let_this_version_use_it_is_refused(
    current_database_url: str, said: str
) -> None:
    statements = ("UPDATE alembic_version SET version_num = '9999'", f"COMMENT ON TABLE alembic_version IS '{said}'")
    await execute(current_database_url, *statements)
    with pytest.raises(SchemaError, match="9999, newer than"):
        await prepare_schema(current_database_url, migrate=True)


# Databases that cannot be used


async def test_database_that_does_not_exist_is_unavailable(stores: Stores) -> None:
    with pytest.raises(StoreUnavailable, match="nowhere"):
        await prepare_schema(stores.database("nowhere"), migrate=False)


async def test_server_that_refuses_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        await prepare_schema(f"postgresql://braingame@/braingame?host={tmp_path}", migrate=False)


async def test_server_that_never_answers_is_unavailable_in_time(impatient: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"postgresql://braingame@127.0.0.1:{listening.getsockname()[1]}/braingame"
        async with asyncio.timeout(PROMISED):
            with pytest.raises(StoreUnavailable):
                await prepare_schema(url, migrate=False)


@pytest.mark.parametrize("url", ["mysql://localhost/braingame", "postgresql://localhost:port/braingame"])
async def test_bad_url_is_told_from_a_server_that_is_away(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        await prepare_schema(url, migrate=False)


async def test_user_who_may_create_no_table_is_told_so(empty_database_url: str) -> None:
    # The default for every user but the owner, since PostgreSQL 15.
    await execute(
        empty_database_url,
        "DROP ROLE IF EXISTS guest",
        "CREATE ROLE guest LOGIN",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    )
    url = empty_database_url.replace("braingame@", "guest@")
    assert "guest@" in url
    async with left_alone(empty_database_url):
        with pytest.raises((SchemaError, StoreUnavailable), match="permission denied"):
            await prepare_schema(url, migrate=False)
