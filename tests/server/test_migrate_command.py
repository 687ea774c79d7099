"""`migrate` carries the schema forward, or says what it would do."""

from __future__ import annotations

import asyncio
import io
import os
from pathlib import Path

import asyncpg
import pytest

from server.operator import run
from storage.schema import known_revisions, upgrade
from tests.stores import Stores

NEWEST = known_revisions()[-1]


@pytest.fixture
async def older(stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a database with the first schema, which is the one that the settings name."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("BRAINGAME_"):
            monkeypatch.delenv(name)
    url = stores.database("migrate_command")
    connection = await asyncpg.connect(stores.database_url)
    await connection.execute("DROP DATABASE IF EXISTS migrate_command WITH (FORCE)")
    await connection.execute("CREATE DATABASE migrate_command")
    await connection.close()
    await upgrade(url, "0001")
    monkeypatch.setenv("DATABASE_URL", url)
    return url


async def migrate(*arguments: str, code: int = 0) -> str:
    output = io.StringIO()
    assert await asyncio.to_thread(run, ["migrate", *arguments], output) == code
    return output.getvalue()


async def schema(url: str) -> str:
    connection = await asyncpg.connect(url)
    found: str = await connection.fetchval("SELECT version_num FROM alembic_version")
    await connection.close()
    return found


async def test_schema_is_carried_forward_once(older: str) -> None:
    assert await migrate() == f"the schema is {NEWEST} now, and was 0001\n"
    assert await schema(older) == NEWEST
    assert await migrate() == f"the schema is {NEWEST} already\n"
    assert await migrate("--dry-run") == "-- nothing to do\n"


async def test_dry_run_writes_the_sql_and_changes_nothing(older: str) -> None:
    written = await migrate("--dry-run")
    assert "CREATE TABLE operator_acts" in written
    assert await schema(older) == "0001"
    # psql could run it.
    connection = await asyncpg.connect(older)
    await connection.execute(written)
    await connection.close()
    assert await migrate() == f"the schema is {NEWEST} already\n"


async def test_database_that_cannot_be_used_is_one_line(
    older: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://x")
    await migrate(code=2)
    monkeypatch.setenv("DATABASE_URL", older.replace("migrate_command", "nowhere_at_all"))
    await migrate(code=2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("Brain Game: DATABASE_URL: ")
    assert "PostgreSQL does not answer" in lines[1]
