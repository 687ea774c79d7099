"""The operators' routes: for operators only, what they show, and what their acts change at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.server.clients import Client, client_of
from tests.server.edge import Edge, edge_on
from tests.server.fakes import until
from tests.server.test_http import Caller
from tests.stores import Stores
from tests.whole.board import Follower

WHY = {"reason": "scores nobody can reach"}

NOBODYS = "00000000-0000-4000-8000-000000000000"
LOOKS = [
    "/api/admin/figures",
    "/api/admin/players?find=ada",
    "/api/admin/players/1",
    f"/api/admin/players/1/sessions/{NOBODYS}",
    "/api/admin/acts",
]
ACTS = [f"/api/admin/players/1/{act}" for act in ("take-off-boards", "put-back-on-boards", "revoke-logins")]


@pytest.fixture
async def edge(stores: Stores, database_url: str) -> AsyncIterator[Edge]:
    async with edge_on(stores, database_url) as found:
        yield found


@pytest.fixture
async def operator(edge: Edge, sql: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Caller]:
    """Player 1."""
    async with aiohttp.ClientSession() as session:
        caller = Caller(edge, session)
        await caller.register("ada")
        await sql.execute("UPDATE players SET is_admin = true WHERE number = 1")
        yield caller


async def ok(caller: Caller, method: str, path: str, *body: object) -> Any:
    status, said = await caller.ask(method, f"/api/admin/{path}", *body)
    assert status == 200, said
    return said


async def names(caller: Caller, find: str) -> list[str]:
    return [player["username"] for player in (await ok(caller, "GET", f"players?find={find}"))["players"]]


# For whom


async def test_every_route_is_for_operators_only(operator: Caller) -> None:
    token = operator.token
    asked: list[tuple[str, str, list[object]]] = [("GET", path, []) for path in LOOKS]
    asked += [("POST", path, [body]) for path in ACTS for body in (WHY, {"nonsense": 1})]
    await operator.register("eve")
    for method, path, body in asked:
        # Before it is said whether anything else is wrong with it.
        await operator.refused(403, "forbidden", method, path, *body)
    operator.token = None
    for method, path, body in asked:
        await operator.refused(401, "unauthenticated", method, path, *body)
    operator.token = token
    assert (await ok(operator, "GET", "acts"))["acts"] == []


async def test_right_that_is_withdrawn_is_gone_at_once(
    operator: Caller, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    await ok(operator, "GET", "figures")
    await sql.execute("UPDATE players SET is_admin = false")
    await operator.refused(403, "forbidden", "GET", "/api/admin/figures")


# Looking


async def test_operator_finds_players_by_number_name_or_email(operator: Caller) -> None:
    token = operator.token
    for name in ("Anna", "bert_1"):
        await operator.register(name)
    operator.token = token
    assert await names(operator, "2") == await names(operator, "%232") == ["Anna"]
    assert await names(operator, "BERT_") == ["bert_1"]
    assert await names(operator, "%25") == []
    assert await names(operator, "example.test") == ["bert_1", "Anna", "ada"]
    (player,) = (await ok(operator, "GET", "players?find=anna"))["players"]
    assert player == {
        "number": 2,
        "username": "Anna",
        "email": "Anna@example.test",
        "registeredAt": player["registeredAt"],
        "offBoards": False,
        "isAdmin": False,
    }
    for query in ("find=1&find=2", "find=" + "x" * 255, "search=ada"):
        await operator.refused(400, "invalid", "GET", f"/api/admin/players?{query}")


async def test_operator_sees_a_player_and_every_step_of_a_session(operator: Caller, edge: Edge) -> None:
    async with client_of(edge) as client:
        await client.register("eve")
        session = await client.play(3, 4, difficulty=2)
        await client.do("session.close", score=5)
    said = await ok(operator, "GET", "players/2")
    assert said["player"]["username"] == "eve"
    assert [set(login) for login in said["logins"]] == [{"id", "createdAt", "lastUsedAt"}]
    (row,) = said["sessions"]
    assert row == {
        "sessionId": session["sessionId"],
        "status": 2,
        "difficulty": 2,
        "totalScore": 12,
        "stage": 2,
        "stageCount": 3,
        "startedAt": session["sessionStartedAt"],
        "endedAt": row["endedAt"],
        "version": 4,
    }
    assert {entry["ladder"].partition("@")[0] for entry in said["entries"]} == {
        f"{period}{suffix}" for period in ("all-time", "weekly", "daily") for suffix in ("", ":2")
    }
    assert said["entries"][0] == {
        "ladder": "all-time",
        "totalScore": 12,
        "passedAllGames": False,
        "achievedAt": row["endedAt"],
        "removed": False,
    }
    steps = (await ok(operator, "GET", f"players/2/sessions/{row['sessionId']}"))["steps"]
    assert [(step["version"], step["action"], step["score"], step["totalScore"], step["stage"]) for step in steps] == [
        (1, "start", None, 0, 0),
        (2, "complete", 3, 3, 1),
        (3, "complete", 4, 7, 2),
        (4, "close", 5, 12, 2),
    ]
    assert [step["status"] for step in steps] == [0, 0, 0, 2]
    assert {(step["verdict"], step["answer"], step["difficulty"]) for step in steps} == {(None, None, 2)}


async def test_operator_sees_what_was_answered_and_judged(
    operator: Caller, edge: Edge, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with client_of(edge) as client:
        await client.register("eve")
        session = await client.play(3, 4)
    await sql.execute(
        """UPDATE session_events SET verdict = 'passed', answer = CASE version WHEN 2 THEN '{"cards": [1]}' ELSE '7' END
        ::json WHERE version > 1"""
    )
    steps = (await ok(operator, "GET", f"players/2/sessions/{session['sessionId']}"))["steps"]
    assert [(step["verdict"], step["answer"]) for step in steps] == [
        (None, None),
        ("passed", {"cards": [1]}),
        ("passed", None),  # no object
    ]


@pytest.mark.parametrize(
    "path",
    ["players/9", "players/x", "players/-1", f"players/{'9' * 30}", "players/²", f"players/9/sessions/{NOBODYS}"],
)
async def test_player_who_is_not_there_is_not_found(operator: Caller, path: str) -> None:
    await operator.refused(404, "not_found", "GET", f"/api/admin/{path}")


async def test_session_that_is_not_there_is_not_found(operator: Caller, edge: Edge) -> None:
    async with client_of(edge) as client:
        await client.register("eve")
        session = await client.play()
    for path in (f"players/2/sessions/{NOBODYS}", "players/2/sessions/x", f"players/1/sessions/{session['sessionId']}"):
        await operator.refused(404, "not_found", "GET", f"/api/admin/{path}")


async def test_figures_show_this_node_second_by_second(operator: Caller, edge: Edge) -> None:
    async with client_of(edge) as spectator, client_of(edge) as client:
        await client.register("eve")
        await spectator.do("leaderboard.subscribe")
        await client.play(1, 2, 3)
        await spectator.push("leaderboard.delta")
        samples: list[Any] = []

        async def seen() -> bool:
            samples[:] = (await ok(operator, "GET", "figures"))["samples"]
            return bool(sum(sample["actions"] for sample in samples) == 4)

        await until(seen, "four actions")
    assert [sample["at"] for sample in samples] == sorted(sample["at"] for sample in samples)
    last = samples[-1]
    assert (last["players"], last["spectators"], last["boardsBehind"]) == (1, 1, False)
    busy = [sample for sample in samples if sample["actions"]]
    assert all(0 < sample["commitP50Ms"] <= sample["commitP99Ms"] for sample in busy)
    assert all(sample["commitP50Ms"] is None for sample in samples if not sample["actions"])
    assert max(sample["boardStalenessMs"] or 0 for sample in samples) > 0


# Acting


async def top(client: Client) -> list[str]:
    return [row["username"] for row in (await client.do("leaderboard.get"))["entries"]]


async def test_player_is_off_the_boards_and_back_at_once(operator: Caller, edge: Edge) -> None:
    async with client_of(edge) as eve, client_of(edge) as bob, client_of(edge) as watcher:
        await eve.register("eve")
        await eve.play(900, 900, 900)
        await bob.register("bob")
        await bob.play(1, 1, 1)
        board = Follower(watcher, "daily:0", 10)
        await board.subscribe()
        epoch = board.epoch
        said = await ok(operator, "POST", "players/2/take-off-boards", WHY)
        assert (said["player"]["username"], said["player"]["offBoards"]) == ("eve", True)
        # Whoever asks sees it without a wait, and who follows is sent a plain delta.
        assert await top(bob) == ["bob"]
        await board.until("eve", shown=False)
        assert (board.fulls, board.epoch) == (0, epoch)
        assert (await ok(operator, "GET", "players?find=2"))["players"][0]["offBoards"] is True
        # She may play on, and nobody sees it.
        await eve.play(1000, 1000, 1000)
        assert await top(bob) == ["bob"]

        said = await ok(operator, "POST", "players/2/put-back-on-boards", {"reason": " a \n mistake "})
        assert said["player"]["offBoards"] is False
        assert await top(bob) == ["eve", "bob"]
        await board.until("eve")
        await board.check()
        assert board.entries[0]["totalScore"] == 3000
        assert board.epoch != epoch
    acts = (await ok(operator, "GET", "acts"))["acts"]
    ada, eve_ = {"number": 1, "username": "ada"}, {"number": 2, "username": "eve"}
    assert [{name: act[name] for name in act if name not in ("id", "at")} for act in acts] == [
        {"operator": ada, "act": "put_back_on_boards", "player": eve_, "reason": "a mistake"},
        {"operator": ada, "act": "take_off_boards", "player": eve_, **WHY},
    ]
    assert (await ok(operator, "GET", f"acts?before={acts[0]['id']}"))["acts"] == acts[1:]


async def test_revoked_logins_lose_their_sockets_and_tokens(operator: Caller, edge: Edge) -> None:
    async with client_of(edge) as one, client_of(edge) as spectator:
        tokens = await one.register("eve")
        async with client_of(edge, tokens["token"]) as other:
            await ok(operator, "POST", "players/2/revoke-logins", WHY)
            assert await one.closed() == await other.closed() == 4401
        await spectator.do("ping")
        assert (await spectator.error("auth.resume", token=tokens["token"]))["code"] == "token_revoked"
        await spectator.do("auth.login", email="eve@example.test", password="correct horse")
    assert len((await ok(operator, "GET", "players/2"))["logins"]) == 1


@pytest.mark.parametrize("act", ["take-off-boards", "put-back-on-boards", "revoke-logins"])
async def test_act_on_nobody_and_without_a_reason_is_refused(operator: Caller, edge: Edge, act: str) -> None:
    async with client_of(edge) as client:
        await client.register("eve")
        await client.do("user.delete")
    for number, message in ((2, "This account was deleted."), (9, "There is no such player.")):
        status, said = await operator.post(f"/api/admin/players/{number}/{act}", WHY)
        assert (status, said["code"], said["error"]) == (404, "not_found", message)
    for body in ({}, {"reason": "  "}, {"reason": "x" * 501}, {"reason": "why", "more": 1}):
        await operator.refused(400, "invalid", "POST", f"/api/admin/players/1/{act}", body)
    assert (await ok(operator, "GET", "acts"))["acts"] == []
    (found,) = (await ok(operator, "GET", "players?find=2"))["players"]
    assert (found["username"], found["email"]) == (None, None)
