"""Is the database's schema the one that this code was written for, and how to get there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg

from storage.postgres import PATIENCE_SECONDS, StoreUnavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_WHOLE_SCHEMA: Final = Path(__file__).parent.parent / "schema.sql"
# As alembic makes it, and leaves it behind empty when everything is taken back.
_VERSION_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS alembic_version (
        version_num varchar(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY
    )
"""
#: Held while migrating, so that nodes that start together migrate one after the other.
_LOCK: Final = 0x6272_6169_6E67
_OUR_TABLE: Final = "deployment"
_HAS_TABLE: Final = "SELECT to_regclass($1) IS NOT NULL"


class SchemaError(Exception):
    """The database cannot be used by this version; the text is for the operator."""


def known_revisions() -> list[str]:
    """Every released schema that this code knows, oldest first: the numbers of the files of the migrations."""
    return sorted(file.name.split("_")[0] for file in (_MIGRATIONS / "versions").glob("[0-9]*_*.py"))


async def prepare_schema(database_url: str, *, migrate: bool) -> None:
    """Bring the database to the newest schema, or say why not.

    A database without any table of ours is set up in any case. An older schema is carried forward only with
    `migrate`; a newer one is never touched. Raises SchemaError, StoreUnavailable, or ValueError for a bad URL.
    """
    known = known_revisions()
    try:
        current, ours = await _current(database_url)
    except ValueError:
        raise
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StoreUnavailable(str(error) or type(error).__name__) from error
    if current == known[-1]:
        return
    if current is None and ours:
        raise SchemaError("the database holds tables of Brain Game without a schema version; it cannot be used")
    if current is not None and current not in known:
        raise SchemaError(
            f"the database has schema {current}, newer than this version of Brain Game knows ({known[-1]}); "
            "use a newer version"
        )
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
    finally:
        await connection.close()


async def upgrade(database_url: str, revision: str = "head") -> None:
    """Run the migrations up to `revision`, all in one transaction."""
    # Imported here because it takes longer than all the rest of a start, which needs no migration.
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(database_url), poolclass=NullPool
    )
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            await connection.run_sync(_upgrade, revision)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, revision: str) -> None:
    from alembic import command
    from alembic.config import Config

    configuration = Config()
    configuration.set_main_option("script_location", str(_MIGRATIONS))
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, revision)


async def _current(database_url: str) -> tuple[str | None, bool]:
    """The schema's version (None without one) and whether there are tables of ours."""
    connection = await _connect(database_url)
    try:
        async with connection.transaction():
            ours = await connection.fetchval(_HAS_TABLE, _OUR_TABLE)
            versioned = await connection.fetchval(_HAS_TABLE, "alembic_version")
            if not versioned:
                return None, ours
            return await connection.fetchval("SELECT version_num FROM alembic_version"), ours
    finally:
        await connection.close()


async def _connect(database_url: str) -> asyncpg.Connection[asyncpg.Record]:
    """For one transaction, which a pooler in front of PostgreSQL does not tear apart."""
    return await asyncpg.connect(database_url, timeout=PATIENCE_SECONDS, statement_cache_size=0)
