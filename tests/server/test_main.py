"""Starting: what cannot work is one line and exit code 2, before anything listens. Running servers are looked at from
outside in tests/whole."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
import structlog

from server.main import EXIT_CANNOT_START, run
from tests.stores import Stores

NOWHERE = "redis://127.0.0.1:1"
SECRET = "a secret for tests that is long enough"


@pytest.fixture(autouse=True)
def empty_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting from the machine that the tests run on, and no logging to this test's streams afterwards."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("BRAINGAME_") or name in ("DATABASE_URL", "REDIS_URL"):
            monkeypatch.delenv(name)
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--port", "eighty"], "BRAINGAME_PORT"),
        (["--workers", "0"], "BRAINGAME_WORKERS"),
        (["--jwt-secret", "hunter2"], "BRAINGAME_JWT_SECRET"),
        (["--no-such-flag"], "--no-such-flag"),
        (["--database-url", "nonsense", "--redis-url", NOWHERE, "--jwt-secret", SECRET], "DATABASE_URL"),
        (
            ["--database-url", "mysql://x/y", "--redis-url", NOWHERE, "--jwt-secret", SECRET],
            "DATABASE_URL",
        ),
        (
            [
                "--database-url",
                "postgresql://x@127.0.0.1:1/y",
                "--redis-url",
                "redis://127.0.0.1:1",
                "--jwt-secret",
                SECRET,
            ],
            "DATABASE_URL",
        ),
    ],
)
def test_server_that_cannot_start_says_why_in_one_line(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert named in complaint(arguments, capsys)


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a server that cannot start says, which has to be one line without a secret; and exit code 2."""
    output = io.StringIO()
    assert run(arguments, output) == EXIT_CANNOT_START
    assert output.getvalue() == ""
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("Brain Game cannot start: ")
    assert "hunter2" not in line
    return line.removeprefix("Brain Game cannot start: ")


# With real stores. `run` brings a loop of its own, so these tests are no coroutines.


@pytest.fixture(scope="module")
def own_database_url(stores: Stores) -> str:
    """A database for the servers that are started here."""
    asyncio.run(_execute(stores.database_url, "CREATE DATABASE test_main TEMPLATE braingame_template"))
    return stores.database("test_main")


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


def test_redis_that_cannot_be_used_is_named(
    own_database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for url in ("redis://nobody:hunter2@127.0.0.1:1/0", f"unix://{tmp_path}/nothing.sock", "nonsense", "http://x/0"):
        line = complaint(["--database-url", own_database_url, "--redis-url", url, "--jwt-secret", SECRET], capsys)
        assert line.startswith("REDIS_URL: "), line


def test_database_that_cannot_be_used_is_named(
    stores: Stores, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for url in (
        "postgresql://nobody:hunter2@127.0.0.1:1/nothing",
        f"postgresql://nobody@/nothing?host={tmp_path}",
        stores.database("not_there"),
        own_user_unknown(stores),
    ):
        line = complaint(["--database-url", url, "--redis-url", stores.redis_url, "--jwt-secret", SECRET], capsys)
        assert line.startswith("DATABASE_URL: "), line


def own_user_unknown(stores: Stores) -> str:
    return stores.database_url.replace("//braingame@", "//somebody_else@")


def test_address_that_cannot_be_listened_on_is_named(
    stores: Stores, own_database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = ["--database-url", own_database_url, "--redis-url", stores.redis_url, "--jwt-secret", SECRET]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert port in complaint([*urls, "--port", port], capsys)
    assert "192.0.2.1" in complaint([*urls, "--host", "192.0.2.1", "--port", "0"], capsys)


def test_database_of_the_operators_own_needs_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    urls = ["--database-url", "postgresql://x@127.0.0.1:1/y", "--redis-url", NOWHERE]
    line = complaint(urls, capsys)
    assert line.startswith("BRAINGAME_JWT_SECRET is needed with DATABASE_URL")
    assert "secrets.token_urlsafe(48)" in line  # how to make one


def test_newer_schema_is_not_touched(stores: Stores, own_database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    urls = ["--database-url", own_database_url, "--redis-url", stores.redis_url, "--jwt-secret", SECRET]
    asyncio.run(_execute(own_database_url, "UPDATE alembic_version SET version_num = '9999'"))
    for flags in ([], ["--migrate"], ["--no-migrate"]):
        assert "9999" in complaint([*urls, *flags], capsys)


def test_help_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert "BRAINGAME_DATA_DIR" in shown
    assert "\n  rebuild " in shown  # the commands, too


def test_variable_that_no_setting_has_is_warned_about_at_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BRAINGAME_PROT", "1")
    nowhere = ["--database-url", "postgresql://x@127.0.0.1:1/y", "--redis-url", "redis://127.0.0.1:1"]
    assert run([*nowhere, "--jwt-secret", "a secret of this test, long enough"]) == EXIT_CANNOT_START
    warning, complaint = capsys.readouterr().err.splitlines()
    logged = json.loads(warning)
    assert (logged["level"], logged["event"]) == ("warning", "unknown setting")
    assert "is BRAINGAME_PORT meant?" in logged["what"]
    assert complaint.startswith("Brain Game cannot start: DATABASE_URL: ")


def test_several_wrong_settings_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--port", "x", "--workers", "0"]) == EXIT_CANNOT_START
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["Brain Game cannot start", "BRAINGAME_PORT"],
        ["Brain Game cannot start", "BRAINGAME_WORKERS"],
    ]
