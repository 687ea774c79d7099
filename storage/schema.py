"""Is the database's schema the one that this code was written for, and how to get there."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg

from storage.postgres import PATIENCE_SECONDS, StoreUnavailable

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_WHOLE_SCHEMA: Final = Path(__file__).parent.parent / "schema.sql"
# As alembic makes it, and leaves it behind empty when everything is taken back.
_VERSION_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS alembic_version (
        version_num varchar(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY
    )
"""
#: The oldest schema whose code works on the newest: that of the release before, or an older one. The database is told,
#: so that nodes of that release start on a schema that is new to them (docs/decisions/0019-upgrades.md).
OLDEST_USABLE: Final = "0003"
_USABLE: Final = re.compile(r"schema (\w+) may be used by code for schema (\w+) or later")
#: Seconds that a migration waits for a lock. All that is played waits behind it meanwhile.
LOCK_SECONDS: Final = 5
#: Held while migrating, so that nodes that start together migrate one after the other.
_LOCK: Final = 0x6272_6169_6E67
_OUR_TABLE: Final = "deployment"
_HAS_TABLE: Final = "SELECT to_regclass($1) IS NOT NULL"


class SchemaError(Exception):
    """The database cannot be used by this version; the text is for the operator."""


def known_revisions() -> list[str]:
    """Every released schema that this code knows, oldest first: the numbers of the files of the migrations."""
    return sorted(file.name.split("_")[0] for file in (_MIGRATIONS / "versions").glob("[0-9]*_*.py"))


async def prepare_schema(database_url: str, *, migrate: bool) -> str:
    """Bring the database to the newest schema, or say why not; gives the schema that it has then.

    A database without any table of ours is set up in any case. An older schema is carried forward only with
    `migrate`; a newer one is never touched, and used only if whoever made it has said that this version may.
    Raises SchemaError, StoreUnavailable, or ValueError for a bad URL.
    """
    known = known_revisions()
    current = await found_schema(database_url)
    if current is not None and (current == known[-1] or current not in known):
        return current
    if current is not None and not migrate:
        raise SchemaError(
            f"the database has schema {current}, this version of Brain Game needs {known[-1]}; "
            "start it with --migrate to carry the data forward"
        )
    try:
        if current is None:
            await _set_up(database_url, known[-1])
        else:
            await upgrade(database_url)
    except asyncpg.PostgresError as error:
        raise SchemaError(f"the schema cannot be set up: {error}") from error
    return known[-1]


async def found_schema(database_url: str) -> str | None:
    """The schema of the database, None of an empty one. Raises SchemaError for one that this version may not use, and
    what `prepare_schema` raises."""
    known = known_revisions()
    try:
        current, ours, note = await _current(database_url)
    except ValueError:
        raise
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StoreUnavailable(str(error) or type(error).__name__) from error
    if current is None and ours:
        raise SchemaError("the database holds tables of Brain Game without a schema version; it cannot be used")
    if current is not None and current not in known and not _usable(current, known[-1], note):
        raise SchemaError(
            f"the database has schema {current}, newer than this version of Brain Game knows ({known[-1]}); "
            "use a newer version"
        )
    return current


async def planned_sql(database_url: str) -> str:
    """What `prepare_schema` with `migrate` would do, as SQL; empty if that is nothing. Raises what that raises."""
    known, current = known_revisions(), await found_schema(database_url)
    if current is None:
        return _WHOLE_SCHEMA.read_text()
    if current not in known[:-1]:
        return ""
    from alembic import command

    text = io.StringIO()
    command.upgrade(_configuration(text), f"{current}:head", sql=True)
    return f"{text.getvalue()}\n{_note(known[-1])};\n"


def _note(newest: str) -> str:
    return (
        f"COMMENT ON TABLE alembic_version IS 'schema {newest} may be used by code for schema {OLDEST_USABLE} or later'"
    )


def _usable(current: str, newest_known: str, note: str | None) -> bool:
    """Whether the database says of this very schema that code which knows up to another one may use it."""
    said = _USABLE.fullmatch(note or "")
    return said is not None and said[1] == current and said[2] <= newest_known


async def _set_up(database_url: str, newest: str) -> None:
    """Make the whole schema at once. A test holds schema.sql equal to what the migrations build, and reading it takes a
    tenth of the time that the import of alembic alone does."""
    connection = await _connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            if await connection.fetchval(_HAS_TABLE, _OUR_TABLE):
                return  # Another node was faster.
            await connection.execute(_WHOLE_SCHEMA.read_text())
            await connection.execute(_VERSION_TABLE)
            await connection.execute("INSERT INTO alembic_version VALUES ($1)", newest)
            await connection.execute(_note(newest))
    finally:
        await connection.close()


async def upgrade(database_url: str, revision: str = "head") -> None:
    """Run the migrations up to `revision`, all in one transaction. Raises SchemaError when nothing came of it."""
    # Imported here because it takes longer than all the rest of a start, which needs no migration.
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(database_url), poolclass=NullPool
    )
    try:
        async with engine.begin() as connection:
            # The other nodes' migrations may take as long as they like; a lock that somebody holds on a table may not.
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
            await connection.run_sync(_upgrade, revision)
            if revision == "head":
                await connection.execute(text(_note(known_revisions()[-1])))
    except DBAPIError as error:
        said = str(error.orig).partition("\n")[0].rpartition(">: ")[2]
        hint = "; somebody uses the tables, such as an audit or a backup: nothing was changed, try again"
        timeout = "lock timeout" in said
        raise SchemaError(f"the schema cannot be carried forward: {said}{hint if timeout else ''}") from error
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, revision: str) -> None:
    from alembic import command

    configuration = _configuration()
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, revision)


def _configuration(output: io.StringIO | None = None) -> Config:
    from alembic.config import Config

    configuration = Config(output_buffer=output)
    configuration.set_main_option("script_location", str(_MIGRATIONS))
    return configuration


async def _current(database_url: str) -> tuple[str | None, bool, str | None]:
    """The schema's version (None without one), whether there are tables of ours, and who may use them."""
    connection = await _connect(database_url)
    try:
        async with connection.transaction():
            ours = await connection.fetchval(_HAS_TABLE, _OUR_TABLE)
            versioned = await connection.fetchval(_HAS_TABLE, "alembic_version")
            if not versioned:
                return None, ours, None
            version = await connection.fetchval("SELECT version_num FROM alembic_version")
            note = await connection.fetchval("SELECT obj_description('alembic_version'::regclass, 'pg_class')")
            return version, ours, note
    finally:
        await connection.close()


async def _connect(database_url: str) -> asyncpg.Connection[asyncpg.Record]:
    """For one transaction, which a pooler in front of PostgreSQL does not tear apart."""
    return await asyncpg.connect(database_url, timeout=PATIENCE_SECONDS, statement_cache_size=0)
