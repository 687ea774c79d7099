"""Commands of operators: a table and 0, or one line on standard error and 2."""

from __future__ import annotations

import asyncio
import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
import structlog

from server import operator
from server.command_line import Refused
from server.operator import histogram_quantile, list_commands, run
from storage.accounts import Accounts
from storage.operators import Act, Operators
from storage.postgres import Postgres
from tests.server.clients import client_of
from tests.server.conftest import NewPlayer
from tests.server.edge import edge_on
from tests.server.fakes import MORNING
from tests.server_process import ROOT
from tests.storage.playing import change, game, start
from tests.storage.waiting import running
from tests.stores import Stores

Table = list[list[str]]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting from the machine that the tests run on."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("BRAINGAME_") or name in ("DATABASE_URL", "REDIS_URL"):
            monkeypatch.delenv(name)
    yield
    structlog.reset_defaults()


@pytest.fixture
def database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The fresh database is the server's."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    return database_url


async def done(*arguments: str) -> str:
    """What a command that succeeds writes. It has a loop of its own, so a thread of its own."""
    output = io.StringIO()
    assert await asyncio.to_thread(run, arguments, output) == 0
    return output.getvalue()


def cells(text: str) -> Table:
    """The lines of a table, in columns as wide as the first line's."""
    head = text.splitlines()[0]
    starts = [
        index for index in range(len(head)) if head[index] != " " and (index == 0 or head[index - 2 : index] == "  ")
    ]
    return [
        [line[begin:end].strip() for begin, end in zip(starts, [*starts[1:], None], strict=True)]
        for line in text.splitlines()
    ]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command that is refused says, in one line, with exit code 2 and nothing else."""

    def complaint(*arguments: str) -> str:
        output = io.StringIO()
        assert run(arguments, output) == 2
        assert output.getvalue() == ""
        said = capsys.readouterr()
        assert said.out == ""
        (line,) = said.err.splitlines()
        assert line.startswith("Brain Game: ")
        return line.removeprefix("Brain Game: ")

    return complaint


# On the database


async def test_admin_is_granted_and_withdrawn_by_email(
    database: str, postgres: Postgres, new_player: NewPlayer
) -> None:
    player = await new_player("ada")
    operators = Operators(postgres)
    assert await done("grant-admin", player.email.upper()) == "ada#1 may use /admin\n"
    assert await operators.is_admin(1)
    assert await done("withdraw-admin", player.email, "--reason", "has left") == "ada#1 may use /admin no more\n"
    assert not await operators.is_admin(1)
    assert [(act.act, act.operator, act.reason) for act in await operators.acts()] == [
        (Act.WITHDRAW_ADMIN, None, "has left"),
        (Act.GRANT_ADMIN, None, ""),
    ]


async def test_players_are_found_and_shown_in_a_table(database: str, new_player: NewPlayer) -> None:
    ada, _ = await new_player("ada lovelace"), await new_player("bob with a long name")
    # No letters that an email of theirs, which is drawn in hexadecimal, might have.
    assert cells(await done("players", "LOVE")) == [
        ["number", "username", "email", "registered", "off boards", "admin"],
        ["1", "ada lovelace", ada.email, "2026-11-23 08:30:00", "no", "no"],
    ]
    assert [row[1] for row in cells(await done("players", "example"))] == [
        "username",
        "bob with a long name",
        "ada lovelace",
    ]


async def test_session_is_shown_step_by_step(database: str, postgres: Postgres, new_player: NewPlayer) -> None:
    await new_player("ada")
    async with running(postgres) as commits:
        first = game(1, 3, 4, passed=False)
        for each in first:
            await commits.commit(each)
        await commits.commit(change(1, start(difficulty=5), first[-1].state))
    head, table = (await done("session-log", "#1")).split("\n", 1)
    assert head.startswith("ada#1, session ")
    assert head.endswith(", difficulty 5")
    assert [row[2:8] for row in cells(table)[1:]] == [["start", "-", "-", "in progress", "1/3", "0"]]
    session = first[0].state.session
    assert session is not None
    _, table = (await done("session-log", "1", str(session.session_id))).split("\n", 1)
    assert [[row[0], *row[2:8]] for row in cells(table)] == [
        ["version", "action", "score", "verdict", "status", "stage", "total"],
        ["1", "start", "-", "-", "in progress", "1/2", "0"],
        ["2", "complete", "3", "-", "in progress", "2/2", "3"],
        ["3", "close", "4", "-", "failed", "2/2", "7"],
    ]


async def test_player_is_taken_off_and_put_back_with_each_act_on_record(
    database: str, postgres: Postgres, new_player: NewPlayer
) -> None:
    await new_player("ada")
    async with running(postgres) as commits:
        for each in game(1, 3, passed=True):
            await commits.commit(each)
    assert await done("take-off-boards", "1", "--reason", "too  fast") == "ada#1 is off the boards (6 entries hidden)\n"
    assert (await Operators(postgres).player(1)).off_boards
    assert (
        await done("put-back-on-boards", "#1", "--reason", "a mistake")
        == "ada#1 is on the boards (6 entries shown again)\n"
    )
    assert not (await Operators(postgres).player(1)).off_boards
    assert await done("revoke-logins", "1", "--reason", "stolen") == "ada#1: 0 logins ended\n"
    head, *rows = cells(await done("acts"))
    assert head == ["id", "at", "operator", "act", "player", "reason"]
    assert [row[2:] for row in rows] == [
        ["command line", "revoke_logins", "ada#1", "stolen"],
        ["command line", "put_back_on_boards", "ada#1", "a mistake"],
        ["command line", "take_off_boards", "ada#1", "too fast"],
    ]


def test_what_is_not_there_is_one_line(database: str, refused: Callable[..., str]) -> None:
    assert refused("grant-admin", "ada@example.test") == "there is no such account: ada@example.test"
    assert refused("take-off-boards", "7", "--reason", "why") == "there is no such account: 7"
    assert refused("session-log", "7") == "there is no such account: 7"
    assert "'ada'" in refused("players", "ada")


async def test_deleted_account_is_one_line(
    database: str, postgres: Postgres, new_player: NewPlayer, capsys: pytest.CaptureFixture[str]
) -> None:
    player = await new_player("ada")
    await Accounts(postgres).delete(player.number, MORNING)
    assert await asyncio.to_thread(run, ["take-off-boards", "1", "--reason", "why"], io.StringIO()) == 2
    assert capsys.readouterr().err == "Brain Game: this account was deleted\n"


async def test_player_without_such_a_session_is_one_line(
    database: str, new_player: NewPlayer, capsys: pytest.CaptureFixture[str]
) -> None:
    await new_player("ada")
    for arguments in (["session-log", "1"], ["session-log", "1", "00000000-0000-4000-8000-000000000000"]):
        assert await asyncio.to_thread(run, arguments, io.StringIO()) == 2
    never, unknown = capsys.readouterr().err.splitlines()
    assert never == "Brain Game: ada#1 has not played yet"
    assert unknown == "Brain Game: ada#1 has no session 00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["players"], "FIND"),
        (["nonsense"], "nonsense"),
        (["take-off-boards", "1"], "--reason"),
        (["take-off-boards", "1", "--reason", "  "], "--reason: 1 to 500 characters"),
        (["revoke-logins", "1", "--reason", "a\x1b[31m"], "--reason: no control characters"),
        (["take-off-boards", "ada", "--reason", "why"], "'ada' is not a player's number"),
        (["session-log", "9" * 30], "is not a player's number"),
        (["session-log", "1", "last"], "'last' is not a session's id"),
    ],
)
def test_wrong_usage_is_one_line(refused: Callable[..., str], arguments: list[str], named: str) -> None:
    assert named in refused(*arguments)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql://x@127.0.0.1:1/y", "PostgreSQL does not answer"),
        ("nonsense", "DATABASE_URL"),
    ],
)
def test_store_that_cannot_be_reached_is_one_line(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, url: str, named: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    assert named in refused("acts")


def test_data_folder_that_cannot_be_used_is_one_line(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BRAINGAME_DATA_DIR", str(tmp_path / "file" / "var"))
    assert "data folder" in refused("acts")


def test_wrong_setting_is_one_line(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAINGAME_PORT", "eighty")
    assert "BRAINGAME_PORT" in refused("acts")


async def test_name_that_a_terminal_would_obey_is_shown_without_its_power(
    database: str, new_player: NewPlayer, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    await new_player("ada")
    await sql.execute("UPDATE players SET username = E'a\\x1b[31m'")
    assert "\x1b" not in await done("players", "1")


# Figures


async def test_figures_are_those_of_a_running_server(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with edge_on(stores, database_url, limits=False) as edge, client_of(edge) as client, client_of(edge):
        await client.register("ada")
        monkeypatch.setattr(operator, "LOOK_SECONDS", 0.5)
        looking = asyncio.create_task(done("figures", "--url", edge.http))
        while not looking.done():
            await client.play(1, 2, 3)
        table = dict(cells(await looking)[1:])
        assert (table["players"], table["spectators"]) == ("1", "1")
        assert float(table["actions/s"]) > 4
        assert 0 < float(table["commit p50 ms"]) <= float(table["commit p99 ms"])
        quiet = dict(cells(await done("figures", "--url", f"{edge.http}/"))[1:])
        assert (quiet["actions/s"], quiet["commit p50 ms"]) == ("0", "-")
        # Something else answers there.
        with pytest.raises(Refused, match="is not a Brain Game server"):
            await asyncio.to_thread(operator._show_figures, f"{edge.http}/healthz?", io.StringIO())


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://["])
def test_server_that_does_not_answer_is_one_line(refused: Callable[..., str], url: str) -> None:
    assert refused("figures", "--url", url).startswith(f"{url} does not answer (")


INFINITE = float("inf")


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        ({}, 0.5, None),
        ({1.0: 0.0, INFINITE: 0.0}, 0.5, None),
        ({1.0: 10.0, 2.0: 10.0, INFINITE: 10.0}, 0.5, 0.5),
        ({1.0: 5.0, 2.0: 10.0, INFINITE: 10.0}, 0.75, 1.5),
        ({1.0: 5.0, 2.0: 10.0, INFINITE: 10.0}, 0.99, 1.98),
        ({1.0: 0.0, 2.0: 0.0, 4.0: 1.0, INFINITE: 1.0}, 0.5, 3.0),
        ({1.0: 1.0, 2.0: 1.0, INFINITE: 10.0}, 0.99, 2.0),  # nothing is known above
    ],
)
def test_quantile_lies_on_a_line_through_its_bucket(
    buckets: dict[float, float], share: float, expected: float | None
) -> None:
    found = histogram_quantile(buckets, share)
    assert found == (None if expected is None else pytest.approx(expected))


def test_list_of_commands_has_every_one() -> None:
    """Each that the dispatchers know, in their own words, and the kit's; `worker` is for nobody."""
    entry = (ROOT / "run_server.py").read_text(encoding="utf-8")
    dispatched = set(re.findall(r'arguments(?:\[:1\])? == \["?([a-z-]+)', entry.replace('"', ""))) - {"worker"}
    assert dispatched
    listed = {line.split()[0] for line in list_commands().splitlines()[1:]}
    assert listed == dispatched | set(operator._COMMANDS) | {"audit", "rebuild", "figures", "config", "migrate"}
    for name in listed - dispatched:
        with pytest.raises(SystemExit):
            run([name, "--help"])
