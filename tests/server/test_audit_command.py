"""`audit` and `rebuild` from the command line: what they write, and their exit codes."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog

from game.fingerprint import Fingerprint
from server import audit as auditing
from server import audit_command
from server.log import Log
from server.operator import run
from server.projection import Projection
from storage.boards import Boards
from storage.ladders import Ladders
from storage.postgres import Postgres
from tests.server_process import ROOT
from tests.storage.damage import ADA, populate
from tests.storage.playing import NOON
from tests.storage.waiting import running
from tests.stores import Stores


@pytest.fixture(autouse=True)
async def surroundings(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stores: Stores,
    database_url: str,
    postgres: Postgres,
    boards: Boards,
    log: Log,
) -> AsyncIterator[None]:
    """The settings lead to stores in which people have played."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("BRAINGAME_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", stores.redis_url)
    monkeypatch.setattr(auditing, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(audit_command, "utc_now", lambda: NOON)
    async with running(postgres) as commits:
        await populate(postgres, commits)
    await Projection(boards, Ladders(postgres), lambda: NOON, log, lambda _ladders, _since=None: None).sweep()
    yield
    structlog.reset_defaults()


async def command(*arguments: str) -> tuple[int, list[str]]:
    """Exit code and lines. A command has a loop of its own, so a thread of its own."""
    output = io.StringIO()
    return await asyncio.to_thread(run, arguments, output), output.getvalue().splitlines()


async def test_audit_without_differences_shows_hashes_and_a_table(postgres: Postgres) -> None:
    code, lines = await command("audit")
    assert code == 0
    assert lines[0].split() == ["ladder", "entries", "log", "PostgreSQL", "Redis"]
    expected = Fingerprint()
    for entry in await Ladders(postgres).ranked("all-time", 10):
        expected.add(entry)
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:-3]}
    assert rows["all-time"] == ["2", expected.hexdigest(), "agree"]
    assert rows["daily@2026-11-24"][-2:] == ["not", "built"]
    assert lines[-2].split() == ["players", "events", "sessions", "entries", "ladders", "differences", "seconds"]
    assert lines[-1].split()[0:3] == ["6", "33", "5"]
    assert lines[-1].split()[4:6] == [str(len(rows)), "0"]


async def test_audit_names_differences_and_rebuild_mends_them(sql: asyncpg.Connection[asyncpg.Record]) -> None:
    await sql.execute("UPDATE ladder_entries SET total_score = 500 WHERE number = $1 AND ladder = 'all-time'", ADA)
    await sql.execute("UPDATE sessions SET stage = 7 WHERE number = $1", ADA)
    session = "session #1: stage is 7, not 1"
    entry = "entry all-time #1: total_score is 500, not 10"
    code, lines = await command("audit")
    assert code == 1
    assert session in lines
    assert entry in lines
    (row,) = [line.split() for line in lines if line.startswith("all-time ")]
    assert len(row) == 6
    assert len(set(row[2:5])) == 2
    assert row[-1] == "differ"

    code, lines = await command("audit", "--ladder", "weekly", "--json")
    assert code == 1
    found = json.loads("\n".join(lines))
    assert [each["what"] for each in found["shown"]] == ["stage is 7, not 1"]
    assert [board["ladder"] for board in found["ladders"]] == ["weekly@2026-11-23"]

    code, lines = await command("rebuild", "--dry-run")
    assert code == 1
    assert [line for line in lines if line.startswith("would mend")] == [
        f"would mend: {session}",
        f"would mend: {entry}",
    ]
    assert lines[-1].split()[:2] == ["2", "0"]
    code, lines = await command("rebuild")
    assert code == 0
    assert lines[:2] == [f"mended: {session}", f"mended: {entry}"]
    assert "rebuilt: all-time" in lines
    assert lines[-3].startswith("servers that were running keep")
    assert (await command("audit"))[0] == 0
    code, lines = await command("rebuild", "--dry-run")
    assert (code, lines[-1].split()[:2]) == (0, ["0", "0"])


async def test_json_holds_everything(sql: asyncpg.Connection[asyncpg.Record]) -> None:
    await sql.execute("DELETE FROM ladder_entries WHERE number = $1 AND ladder = 'all-time'", ADA)
    code, lines = await command("audit", "--json")
    found: dict[str, Any] = json.loads("\n".join(lines))
    assert code == 1
    assert (found["players"], found["redis"], found["differences"]) == (6, "looked at", 2)
    assert found["shown"][0] == {
        "part": "entry",
        "ladder": "all-time",
        "number": ADA,
        "what": "it is missing",
        "mendable": True,
    }
    boards = {board["ladder"]: board for board in found["ladders"]}
    assert boards["all-time"]["log"] == boards["all-time"]["redis"] != boards["all-time"]["postgresql"]
    assert boards["daily@2026-11-24"]["redis"] is None


async def test_hole_in_the_log_cannot_be_mended(sql: asyncpg.Connection[asyncpg.Record]) -> None:
    await sql.execute("DELETE FROM session_events WHERE number = 1 AND version = 2")
    code, lines = await command("rebuild")
    assert code == 1
    assert any(line.startswith("cannot be mended: log #1: ") for line in lines)


async def test_redis_that_is_away_is_said_and_is_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    code, lines = await command("audit")
    assert code == 2
    assert "Redis: not looked at (Redis does not answer)" in lines
    assert lines[-1].split()[0] == "6"
    code, lines = await command("rebuild")
    assert code == 2
    assert lines[0] == "Redis: not rebuilt (Redis does not answer)"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["audit", "--ladder", "monthly"], "--ladder: there is no board 'monthly'"),
        (["audit", "--nonsense"], "unrecognized arguments: --nonsense (try --help)"),
        (["rebuild", "everything"], "unrecognized arguments: everything (try --help)"),
    ],
)
async def test_what_is_refused_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await command(*arguments) == (2, [])
    assert capsys.readouterr().err == f"Brain Game: {said}\n"


async def test_url_that_cannot_be_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", "http://localhost")
    assert await command("audit") == (2, [])
    assert "REDIS_URL" in capsys.readouterr().err


async def test_hash_can_be_reckoned_as_the_documentation_says(sql: asyncpg.Connection[asyncpg.Record]) -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    query = text.partition('psql -Atc "')[2].partition('"')[0]
    lines = "".join(f"{row[0]}\n" for row in await sql.fetch(query))
    code, output = await command("audit", "--json", "--ladder", "all-time")
    (board,) = json.loads("\n".join(output))["ladders"]
    assert (code, board["entries"]) == (0, 2)
    assert board["log"] == hashlib.blake2b(lines.encode(), digest_size=16).hexdigest()
