from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from storage.schema import SchemaError, known_revisions, prepare_schema, upgrade
from tests.server_process import ROOT

# Everything that schema.sql can say, as PostgreSQL understood it.
_CATALOG = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attnum,
               pg_get_expr(d.adbin, d.adrelid), l.collname, col_description(c.oid, a.attnum)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        LEFT JOIN pg_collation l ON l.oid = a.attcollation
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' ORDER BY 1, 5
    """,
    "tables": """
        SELECT relname, reloptions, relpersistence, obj_description(oid) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S', 'v', 'm') ORDER BY 1
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2
    """,
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
    "functions": """
        SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1
    """,
    "rows of deployment": "SELECT count(*), max(last_player_number) FROM deployment",
}


async def _describe(url: str) -> dict[str, list[tuple[Any, ...]]]:
    connection = await asyncpg.connect(url)
    try:
        return {name: [tuple(row) for row in await connection.fetch(query)] for name, query in _CATALOG.items()}
    finally:
        await connection.close()


async def _execute(url: str, statement: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_schema_sql_is_what_the_migrations_build(empty_database_url: str, database_url: str) -> None:
    migrated = await _describe(database_url)
    await prepare_schema(empty_database_url, migrate=False)
    at_once = await _describe(empty_database_url)
    for part, rows in migrated.items():
        assert at_once[part] == rows, part


async def test_comparison_would_notice_a_difference(empty_database_url: str, database_url: str) -> None:
    await prepare_schema(empty_database_url, migrate=False)
    await _execute(empty_database_url, "ALTER TABLE logins ALTER COLUMN created_at SET DEFAULT now()")
    assert await _describe(empty_database_url) != await _describe(database_url)


def test_text_of_schema_sql_is_at_the_top() -> None:
    assert (ROOT / "schema.sql").is_file()


async def test_current_schema_is_left_as_it_is(database_url: str) -> None:
    before = await _describe(database_url)
    await prepare_schema(database_url, migrate=True)
    assert await _describe(database_url) == before


async def test_nodes_that_start_together_on_an_empty_database_all_start(empty_database_url: str) -> None:
    await asyncio.gather(*(prepare_schema(empty_database_url, migrate=False) for _ in range(5)))
    assert await _execute(empty_database_url, "SELECT count(*) FROM deployment") == 1


async def test_newer_schema_is_never_touched(database_url: str) -> None:
    await _execute(database_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaError, match="9999, newer than"):
        await prepare_schema(database_url, migrate=True)
    assert await _execute(database_url, "SELECT version_num FROM alembic_version") == "9999"


async def test_older_schema_is_carried_forward_only_when_asked(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = known_revisions()[-1]
    monkeypatch.setattr("storage.schema.known_revisions", lambda: [newest, "0099"])
    asked: list[str] = []

    async def note(url: str) -> None:
        asked.append(url)

    monkeypatch.setattr("storage.schema.upgrade", note)
    with pytest.raises(SchemaError, match=f"schema {newest}, this version of Brain Game needs 0099.*--migrate"):
        await prepare_schema(database_url, migrate=False)
    assert asked == []
    await prepare_schema(database_url, migrate=True)
    assert asked == [database_url]


async def test_tables_without_a_version_are_not_taken_for_ours(database_url: str) -> None:
    await _execute(database_url, "DROP TABLE alembic_version")
    with pytest.raises(SchemaError, match="without a schema version"):
        await prepare_schema(database_url, migrate=True)


async def test_migrations_leave_the_newest_version(empty_database_url: str) -> None:
    await upgrade(empty_database_url)
    version = await _execute(empty_database_url, "SELECT version_num FROM alembic_version")
    assert version == known_revisions()[-1]
