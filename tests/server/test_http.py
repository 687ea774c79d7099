"""HTTP: each route with its statuses and bodies, and what is around all of them."""

from __future__ import annotations

import asyncio
import gc
import gzip
import io
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from protocol.errors import ERRORS, ErrorCode
from protocol.http_routes import ROUTES
from server import http, limits
from server.actions import Actions
from tests.server.clients import client_of
from tests.server.edge import Edge, edge_on, raw_to
from tests.server.fakes import DEADLINE
from tests.server.gate import Gate
from tests.server.test_drawing import picture
from tests.stores import Stores

#: Where bodies are held while they come.
READERS = {http.HttpEdge._read.__code__, web.RequestHandler.data_received.__code__}
FRIEND = "https://friend.example"
SESSION_FIELDS = {
    "sessionId",
    "sessionStatus",
    "sessionStage",
    "sessionTotalScore",
    "sessionDifficulty",
    "sessionStageCount",
    "sessionStartedAt",
    "sessionVersion",
}


class Caller:
    """An HTTP client, with the token of its player once it has one."""

    def __init__(self, edge: Edge, session: aiohttp.ClientSession) -> None:
        self.edge = edge
        self.session = session
        self.token: str | None = None
        self.headers: dict[str, str] = {}
        self.answer: aiohttp.ClientResponse

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Status and decoded body (None for an empty one)."""
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token is not None:
            said.setdefault("Authorization", f"Bearer {self.token}")
        data = None
        if body is not None:
            said.setdefault("Content-Type", "application/json")
            data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        async with self.session.request(method, self.edge.http + path, data=data, headers=said) as answer:
            self.answer = answer
            text = await answer.read()
            if text:
                assert answer.content_type == "application/json", (answer.content_type, text)
            return answer.status, json.loads(text) if text else None

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        return await self.ask("GET", path, **headers)

    async def post(self, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        return await self.ask("POST", path, body, **headers)

    async def refused(self, status: int, code: str, method: str, path: str, *body: object, **headers: str) -> Any:
        """An answer that is an error; gives its payload."""
        found, said = await self.ask(method, path, *body, **headers)
        assert (found, said["code"]) == (status, code), said
        assert set(said) == {"error", "code", "payload"}
        assert isinstance(said["error"], str)
        assert ERRORS[ErrorCode(code)].status == status
        if status == 401:
            assert self.answer.headers["WWW-Authenticate"].startswith("Bearer")
        if status in (429, 503):
            assert int(self.answer.headers["Retry-After"]) > 0
        return said["payload"]

    async def register(self, name: str) -> Any:
        """Register and log in; gives the tokens."""
        body = {"email": f"{name}@example.test", "username": name, "password": "correct horse"}
        assert (await self.post("/register", body))[0] == 201
        return await self.log_in(name)

    async def log_in(self, name: str) -> Any:
        status, tokens = await self.post("/login", {"email": f"{name}@example.test", "password": "correct horse"})
        assert status == 200
        self.token = tokens["token"]
        return tokens


@pytest.fixture
async def edge(stores: Stores, database_url: str) -> AsyncIterator[Edge]:
    async with edge_on(stores, database_url, origins=(FRIEND,)) as found:
        yield found


@pytest.fixture
async def caller(edge: Edge) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        yield Caller(edge, session)


@pytest.fixture
async def player(caller: Caller) -> Caller:
    await caller.register("ada")
    return caller


# POST /register


async def test_register_makes_an_account(caller: Caller) -> None:
    body = {"email": "Ada@example.test", "username": "  Ada ", "password": "correct horse"}
    status, user = await caller.post("/register", body)
    assert status == 201
    assert user == {"id": user["id"], "username": "Ada", "email": "Ada@example.test", "number": 1}


async def test_register_refuses_what_is_taken(player: Caller) -> None:
    body = {"email": "ADA@example.test", "username": "other", "password": "correct horse"}
    await player.refused(409, "email_taken", "POST", "/register", body)
    body = {"email": "other@example.test", "username": "ADA", "password": "correct horse"}
    await player.refused(409, "username_taken", "POST", "/register", body)


async def test_register_names_every_wrong_field(caller: Caller) -> None:
    body = {"email": "nonsense", "username": "x" * 33, "password": "short", "role": "admin"}
    payload = await caller.refused(400, "invalid", "POST", "/register", body)
    assert sorted(field["path"] for field in payload["fields"]) == ["email", "password", "role", "username"]
    assert all(field["message"] for field in payload["fields"])
    payload = await caller.refused(400, "invalid", "POST", "/register", {})
    assert sorted(field["path"] for field in payload["fields"]) == ["email", "password", "username"]


async def test_register_refuses_each_bad_value(caller: Caller) -> None:
    good = {"email": "ada@example.test", "username": "Ada", "password": "correct horse"}
    for field, bad in (
        ("email", ""),
        ("email", "ada"),
        ("email", "ada@"),
        ("email", "ada@host"),
        ("email", "a" * 250 + "@example.test"),
        ("email", "ada\0@example.test"),
        ("email", None),
        ("email", 7),
        ("username", ""),
        ("username", "   "),
        ("username", "x" * 33),
        ("username", "a\nb"),
        ("username", "a\0b"),
        ("username", "a\u202eb"),
        ("username", ["Ada"]),
        ("password", "1234567"),
        ("password", "x" * 73),
        ("password", "ä" * 37),  # 74 bytes
        ("password", "correct\0horse"),
        ("password", 12345678),
    ):
        payload = await caller.refused(400, "invalid", "POST", "/register", {**good, field: bad})
        assert [problem["path"] for problem in payload["fields"]] == [field], (field, bad)


async def test_password_is_never_said_back(caller: Caller) -> None:
    for body in (
        {"email": "nonsense", "username": "Ada", "password": "hunter2-hunter2"},
        {"email": "ada@example.test", "username": "Ada", "password": "hunter2" * 20},
    ):
        await caller.post("/register", body)
        assert "hunter2" not in await caller.answer.text()


# POST /login, /refresh, /logout


async def test_login_gives_tokens(player: Caller) -> None:
    tokens = await player.log_in("ada")
    assert set(tokens) == {"token", "tokenExpiresAt", "refreshToken"}
    assert datetime.fromisoformat(tokens["tokenExpiresAt"]).utcoffset() is not None


async def test_login_refuses_alike_whatever_is_wrong(player: Caller) -> None:
    player.token = None
    answers = set()
    for email, password in (
        ("ada@example.test", "wrong horse"),
        ("bob@example.test", "correct horse"),
        ("ada@example.test", "x" * 100),
        ("\0", "correct horse"),
        ("", ""),
    ):
        body = {"email": email, "password": password}
        await player.refused(401, "invalid_credentials", "POST", "/login", body)
        answers.add(await player.answer.text())
    assert len(answers) == 1


async def test_refresh_gives_new_tokens_once(player: Caller) -> None:
    tokens = await player.log_in("ada")
    body = {"refreshToken": tokens["refreshToken"]}
    status, fresh = await player.post("/refresh", body)
    assert (status, set(fresh)) == (200, set(tokens))
    player.token = fresh["token"]
    assert (await player.get("/api/users/me"))[0] == 200
    await player.refused(401, "token_revoked", "POST", "/refresh", body)
    await player.refused(401, "token_revoked", "GET", "/api/users/me")
    await player.refused(401, "unauthenticated", "POST", "/refresh", {"refreshToken": "nonsense"})


async def test_logout_ends_the_login_and_no_other(player: Caller) -> None:
    first = player.token
    await player.log_in("ada")
    status, body = await player.post("/logout")
    assert (status, body) == (204, None)
    await player.refused(401, "token_revoked", "GET", "/api/users/me")
    await player.refused(401, "token_revoked", "POST", "/logout")
    player.token = first
    assert (await player.get("/api/users/me"))[0] == 200


async def test_expired_token_is_told_so(stores: Stores, database_url: str) -> None:
    async with (
        edge_on(stores, database_url, token_seconds=1) as edge,
        aiohttp.ClientSession() as session,
    ):
        caller = Caller(edge, session)
        await caller.register("ada")
        while (await caller.get("/api/users/me"))[0] == 200:
            await asyncio.sleep(0.02)
        await caller.refused(401, "token_expired", "GET", "/api/users/me")


PLAYERS_ROUTES = [
    ("GET", "/api/users/me", None),
    ("GET", "/api/sessions/last", None),
    ("POST", "/api/sessions", {}),
    ("POST", "/api/sessions/last/complete", {"score": 1}),
    ("POST", "/api/sessions/last/close", {"score": 1}),
    ("POST", "/api/sessions/last/cancel", None),
    ("POST", "/logout", None),
]


async def test_players_routes_want_a_token(caller: Caller) -> None:
    for method, path, body in PLAYERS_ROUTES:
        await caller.refused(401, "unauthenticated", method, path, body)
        for value in ("Bearer nonsense", "Basic YTpi", "Bearer", "nonsense"):
            await caller.refused(401, "unauthenticated", method, path, body, Authorization=value)


# GET /api/users/me


async def test_me_is_the_account(player: Caller) -> None:
    status, user = await player.get("/api/users/me")
    assert status == 200
    assert user == {"id": user["id"], "username": "ada", "email": "ada@example.test", "number": 1}


# Sessions


async def test_last_session_is_all_null_before_the_first(player: Caller) -> None:
    assert await player.get("/api/sessions/last") == (200, dict.fromkeys(SESSION_FIELDS))


async def test_session_is_played_to_its_end(player: Caller) -> None:
    status, begun = await player.post("/api/sessions", {"difficulty": 3})
    assert (status, set(begun)) == (201, SESSION_FIELDS)
    assert datetime.fromisoformat(begun["sessionStartedAt"]).utcoffset() is not None
    expected = {"sessionStatus": 0, "sessionStage": 0, "sessionTotalScore": 0, "sessionDifficulty": 3}
    assert {name: begun[name] for name in expected} == expected
    assert (begun["sessionStageCount"], begun["sessionVersion"]) == (3, 1)
    for stage, total, state in ((1, 10, 0), (2, 30, 0), (2, 60, 1)):
        status, after = await player.post("/api/sessions/last/complete", {"score": total - begun["sessionTotalScore"]})
        assert status == 200
        assert (after["sessionStage"], after["sessionTotalScore"], after["sessionStatus"]) == (stage, total, state)
        assert after["sessionId"] == begun["sessionId"]
        begun = after
    assert await player.get("/api/sessions/last") == (200, begun)


async def test_session_is_closed_and_canceled(player: Caller) -> None:
    await player.post("/api/sessions")
    assert (await player.post("/api/sessions/last/close", {"score": 7}))[1]["sessionStatus"] == 2
    status, begun = await player.post("/api/sessions")  # without a body
    assert (status, begun["sessionDifficulty"]) == (201, 0)
    status, canceled = await player.post("/api/sessions/last/cancel")
    assert (status, canceled["sessionStatus"], canceled["sessionTotalScore"]) == (200, 3, 0)


async def test_actions_without_a_session_in_progress_are_refused(player: Caller) -> None:
    actions: list[tuple[str, object]] = [("complete", {"score": 1}), ("close", {"score": 1}), ("cancel", None)]
    for action, body in actions:
        assert await player.refused(404, "no_session", "POST", f"/api/sessions/last/{action}", body) == {}
    await player.post("/api/sessions")
    _, ended = await player.post("/api/sessions/last/close", {"score": 7})
    for action, body in actions:
        payload = await player.refused(409, "session_not_active", "POST", f"/api/sessions/last/{action}", body)
        assert payload == {"session": ended}


async def test_scores_and_difficulties_out_of_bounds_are_refused(player: Caller) -> None:
    for difficulty in (-1, 10, 1.0, "1", None, True):
        payload = await player.refused(400, "invalid", "POST", "/api/sessions", {"difficulty": difficulty})
        assert [problem["path"] for problem in payload["fields"]] == ["difficulty"]
    await player.post("/api/sessions")
    for score in (-1, 1_000_001, 2**63, 10**40, 1.0, "1", None, True, [1]):
        for action in ("complete", "close"):
            payload = await player.refused(400, "invalid", "POST", f"/api/sessions/last/{action}", {"score": score})
            assert [problem["path"] for problem in payload["fields"]] == ["score"], score
    assert (await player.post("/api/sessions/last/complete", {"score": 1_000_000}))[0] == 200


async def test_settings_change_the_rules(stores: Stores, database_url: str) -> None:
    async with (
        edge_on(stores, database_url, stages=1, max_stage_score=10) as edge,
        aiohttp.ClientSession() as session,
        client_of(edge) as client,
    ):
        limits = (await client.push("welcome"))["limits"]
        assert (limits["stages"], limits["maxStageScore"]) == (1, 10)
        caller = Caller(edge, session)
        await caller.register("ada")
        assert (await caller.post("/api/sessions"))[1]["sessionStageCount"] == 1
        await caller.refused(400, "invalid", "POST", "/api/sessions/last/complete", {"score": 11})
        _, done = await caller.post("/api/sessions/last/complete", {"score": 10})
        assert (done["sessionStatus"], done["sessionStage"], done["sessionTotalScore"]) == (1, 0, 10)


async def test_action_is_sent_again_with_its_key(player: Caller) -> None:
    key = {"Idempotency_Key": "key-of-the-start"}
    status, begun = await player.post("/api/sessions", {"difficulty": 3}, **key)
    again = await player.post("/api/sessions", {"difficulty": 3}, **key)
    assert again == (status, {**begun, "replayed": True})
    await player.refused(409, "key_reused", "POST", "/api/sessions", {"difficulty": 4}, **key)
    await player.refused(409, "key_reused", "POST", "/api/sessions/last/complete", {"score": 1}, **key)
    _, done = await player.post("/api/sessions/last/complete", {"score": 1}, Idempotency_Key="key-of-complete")
    _, again = await player.post("/api/sessions/last/complete", {"score": 1}, Idempotency_Key="key-of-complete")
    assert again == {**done, "replayed": True}
    await player.post("/api/sessions/last/cancel", Idempotency_Key="key-of-the-cancel")
    _, again = await player.post("/api/sessions/last/cancel", Idempotency_Key="key-of-the-cancel")
    assert (again["replayed"], again["sessionVersion"]) == (True, 3)


async def test_bad_keys_are_refused(player: Caller) -> None:
    for key in ("short", "x" * 65, "1234567", ""):
        payload = await player.refused(400, "invalid", "POST", "/api/sessions", {}, Idempotency_Key=key)
        assert [problem["path"] for problem in payload["fields"]] == ["key"]
    assert (await player.get("/api/sessions/last"))[1]["sessionId"] is None


async def test_key_of_the_socket_counts_over_http_too(player: Caller) -> None:
    async with client_of(player.edge, player.token) as client:
        begun = await client.do("session.start", key="one key for both")
    assert await player.post("/api/sessions", Idempotency_Key="one key for both") == (201, {**begun, "replayed": True})


async def test_action_over_http_is_pushed_to_the_players_sockets(player: Caller) -> None:
    async with client_of(player.edge, player.token) as client:
        _, begun = await player.post("/api/sessions")
        assert await client.push("session") == begun


async def test_logout_over_http_ends_the_logins_sockets(player: Caller) -> None:
    async with client_of(player.edge, player.token) as client:
        await client.push("welcome")
        await player.post("/logout")
        assert await client.closed() == 4401


# GET /api/leaderboard


async def play(caller: Caller, *scores: int, fail: bool = False, difficulty: int = 0) -> None:
    await caller.post("/api/sessions", {"difficulty": difficulty})
    for score in scores:
        await caller.post("/api/sessions/last/complete", {"score": score})
    if fail:
        await caller.post("/api/sessions/last/close", {"score": 0})


async def test_leaderboard_is_an_object_by_position(caller: Caller) -> None:
    await caller.register("ada")
    await play(caller, 1, 2, 3)
    await caller.register("bob")
    await play(caller, 500, fail=True, difficulty=2)
    ada = {"username": "ada", "email": None, "totalScore": 6, "passedAllGames": True, "number": 1}
    bob = {"username": "bob", "email": None, "totalScore": 500, "passedAllGames": False, "number": 2}
    caller.token = None
    assert await caller.get("/api/leaderboard") == (200, {"1": ada, "2": bob})
    assert await caller.get("/api/leaderboard?board=daily&limit=1") == (200, {"1": ada})
    assert await caller.get("/api/leaderboard?limit=1&offset=1") == (200, {"2": bob})
    assert await caller.get("/api/leaderboard?board=weekly:2") == (200, {"1": bob})
    assert await caller.get("/api/leaderboard?board=daily:9") == (200, {})
    assert await caller.get("/api/leaderboard?offset=99") == (200, {})


async def test_leaderboard_shows_the_callers_own_email_only(caller: Caller) -> None:
    for name in ("ada", "bob"):
        await caller.register(name)
        await play(caller, 1, 2, 3)
    _, rows = await caller.get("/api/leaderboard")
    assert [row["email"] for row in rows.values()] == [None, "bob@example.test"]


async def test_operator_may_show_all_emails(stores: Stores, database_url: str) -> None:
    async with (
        edge_on(stores, database_url, leaderboard_emails="all") as edge,
        aiohttp.ClientSession() as session,
    ):
        caller = Caller(edge, session)
        for name in ("ada", "bob"):
            await caller.register(name)
            await play(caller, 1, 2, 3)
        caller.token = None
        _, rows = await caller.get("/api/leaderboard")
        assert [row["email"] for row in rows.values()] == ["ada@example.test", "bob@example.test"]


async def test_bad_queries_are_refused(player: Caller) -> None:
    for query, path in (
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=1.0", "limit"),
        ("limit=", "limit"),
        ("limit=%C2%B2", "limit"),  # a digit to some, not to us
        (f"limit={'9' * 5000}", "limit"),
        ("offset=-1", "offset"),
        ("offset=2147483648", "offset"),
        ("around=you", "around"),
        ("around=me&offset=1", "offset"),
        ("limit=1&limit=2", "limit"),
        ("colour=red", "colour"),
        (f"board={'x' * 65}", "board"),
    ):
        payload = await player.refused(400, "invalid", "GET", f"/api/leaderboard?{query}")
        assert [problem["path"] for problem in payload["fields"]] == [path], query
    for board in ("hourly", "daily:10", "daily:", "DAILY", "", "7", "all-time@2026-11-23"):
        await player.refused(404, "unknown_board", "GET", f"/api/leaderboard?board={board}")


async def test_leaderboard_around_a_player_wants_a_token(player: Caller) -> None:
    await play(player, 1, 2, 3)
    _, rows = await player.get("/api/leaderboard?around=me&limit=1")
    assert [row["username"] for row in rows.values()] == ["ada"]
    player.token = None
    await player.refused(401, "unauthenticated", "GET", "/api/leaderboard?around=me")


async def test_bad_token_is_refused_even_where_none_is_needed(caller: Caller) -> None:
    await caller.refused(401, "unauthenticated", "GET", "/api/leaderboard", Authorization="Bearer nonsense")


# Bodies


async def test_body_that_is_no_json_object_is_malformed(player: Caller) -> None:
    for body in (b"{", b"[]", b"null", b'"text"', b"\xff", b'{"score":NaN}', b'{"a":"\\ud800"}', b"1" * 5000):
        await player.refused(400, "malformed", "POST", "/api/sessions/last/complete", body)


async def test_body_of_another_type_is_refused(player: Caller) -> None:
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
    ):
        await player.refused(415, "unsupported_media_type", "POST", "/api/sessions", b"{}", Content_Type=kind)
    assert (await player.post("/api/sessions", b"{}", Content_Type="application/json; charset=utf-8"))[0] == 201


async def test_body_that_is_too_large_is_refused(player: Caller) -> None:
    body = b'{"score":1}' + b" " * limits.MESSAGE_BYTES
    await player.refused(413, "too_large", "POST", "/api/sessions/last/complete", body)


async def test_body_without_a_length_is_read_no_further_than_it_may_be_long(edge: Edge) -> None:
    async with raw_to(edge) as raw:
        raw.send(
            "POST /login HTTP/1.1", f"Host: {edge.netloc}", "Content-Type: application/json",
            "Transfer-Encoding: chunked",
        )  # fmt: skip
        piece = b"%x\r\n%s\r\n" % (limits.MESSAGE_BYTES + 1, b" " * (limits.MESSAGE_BYTES + 1))
        raw.writer.write(piece)
        # Without its end.
        answer = await raw.answer()
        assert (answer.status, json.loads(answer.body)["code"]) == (413, "too_large")


async def test_compressed_body_is_refused_unread(player: Caller) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    for coding in ("gzip", "deflate", "br", "zstd", "identity, gzip", "GZIP", "nonsense"):
        await player.refused(415, "unsupported_media_type", "POST", "/login", bomb, Content_Encoding=coding)
    assert (await player.post("/api/sessions", b"{}", Content_Encoding="identity"))[0] == 201


async def test_client_that_leaves_in_its_body_leaves_nothing_behind_and_is_no_error_of_ours(player: Caller) -> None:
    edge = player.edge
    gc.collect()
    gc.disable()
    try:
        for framing, sent in (
            ("Content-Length: 60000", b" " * 50_000),
            ("Transfer-Encoding: chunked", b"c350\r\n" + b" " * 50_000 + b"\r\n"),
        ):
            async with raw_to(edge) as raw:
                raw.send("POST /refresh HTTP/1.1", f"Host: {edge.netloc}", "Content-Type: application/json", framing)
                raw.writer.write(sent)
                await raw.writer.drain()
                await scraped(player)  # it has been read by now
        counted = 'braingame_http_requests_total{method="POST",route="/refresh",status="4xx"} 2.0'
        async with asyncio.timeout(DEADLINE):
            while counted not in (await scraped(player))[1]:
                pass
        kept = [one for one in gc.get_objects() if isinstance(one, FrameType) and one.f_code in READERS]
        assert kept == []
    finally:
        gc.enable()
    assert 'route="/refresh",status="5' not in (await scraped(player))[1]


async def test_unknown_fields_are_named(player: Caller) -> None:
    for path, body in (
        ("/api/sessions", {"level": 1}),
        ("/api/sessions/last/complete", {"score": 1, "level": 1}),
        ("/api/sessions/last/cancel", {"level": 1}),
        ("/logout", {"level": 1}),
        ("/login", {"email": "", "password": "", "level": 1}),
        ("/refresh", {"refreshToken": "", "level": 1}),
    ):
        payload = await player.refused(400, "invalid", "POST", path, body)
        assert [problem["path"] for problem in payload["fields"]] == ["level"], path


# Around all routes


async def test_unknown_address_is_404_and_wrong_method_405(caller: Caller) -> None:
    for path in ("/nowhere", "/api", "/api/sessions/first", "/register/", "/static", "/static/"):
        await caller.refused(404, "not_found", "GET", path)
    assert (await caller.get("/static/nowhere.js"))[0] == 404
    for method, path, allowed in (
        ("GET", "/register", {"POST"}),
        ("DELETE", "/api/sessions/last", {"GET", "HEAD"}),
        ("PUT", "/api/sessions", {"POST"}),
        ("POST", "/api/leaderboard", {"GET", "HEAD"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
        ("POST", "/ws", {"GET", "HEAD"}),
    ):
        await caller.refused(405, "method_not_allowed", method, path)
        assert set(caller.answer.headers["Allow"].split(",")) == allowed


async def test_socket_address_asks_for_an_upgrade(caller: Caller) -> None:
    await caller.refused(426, "upgrade_required", "GET", "/ws")
    assert caller.answer.headers["Upgrade"] == "websocket"


async def test_health_tells_live_and_ready(caller: Caller) -> None:
    assert await caller.get("/healthz") == (200, {"status": "live"})
    assert await caller.get("/readyz") == (200, {"status": "ready"})


async def test_stores_that_are_away_are_named_and_nothing_is_half_done(
    stores: Stores, database_url: str, postgres_gate: Gate, redis_gate: Gate
) -> None:
    async with (
        edge_on(stores, postgres_gate.url, redis_url=redis_gate.url) as edge,
        aiohttp.ClientSession() as session,
    ):
        caller = Caller(edge, session)
        await caller.register("ada")
        await caller.post("/api/sessions")
        await redis_gate.shut()
        assert await caller.get("/readyz") == (503, {"status": "not ready", "down": ["redis"]})
        await caller.refused(503, "unavailable", "GET", "/api/leaderboard?board=weekly")
        # Play goes on without the boards.
        assert (await caller.post("/api/sessions/last/complete", {"score": 5}))[0] == 200
        await postgres_gate.shut()
        asked = [Caller(edge, session) for _ in range(3)]
        for one in asked:
            one.token = caller.token
        *payloads, (_, ready) = await asyncio.gather(
            asked[0].refused(503, "unavailable", "POST", "/api/sessions/last/complete", {"score": 6}),
            asked[1].refused(503, "unavailable", "GET", "/api/users/me"),
            asked[2].get("/readyz"),
        )
        assert all(payload["retryAfterMs"] > 0 for payload in payloads)
        assert ready["down"] == ["postgresql", "redis"]
        assert await caller.get("/healthz") == (200, {"status": "live"})
        await postgres_gate.open()
        await redis_gate.open()
        assert (await caller.get("/api/sessions/last"))[1]["sessionTotalScore"] == 5
        assert await caller.get("/readyz") == (200, {"status": "ready"})


async def test_internal_error_says_nothing_of_ours(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(Actions, "_me", broken)
    monkeypatch.setattr(http.HttpEdge, "_live", broken)
    async with edge_on(stores, database_url) as edge, aiohttp.ClientSession() as session:
        caller = Caller(edge, session)
        await caller.register("ada")
        for path in ("/api/users/me", "/healthz"):
            assert await caller.refused(500, "internal", "GET", path) == {}
            text = await caller.answer.text()
            assert "secret" not in text
            # By which the operator finds what has happened.
            assert f"Reference: {edge.errors[-1]['request']}." in text
        assert [(line.get("type"), line.get("route")) for line in edge.errors] == [
            ("user.me", None),
            (None, "/healthz"),
        ]
        edge.capture.entries.clear()


async def test_every_answer_has_the_security_headers(caller: Caller) -> None:
    for path in ("/healthz", "/nowhere", "/api/users/me", "/api/leaderboard"):
        await caller.get(path)
        headers = caller.answer.headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Vary"] == "Origin"


# CORS


async def test_page_of_a_named_origin_may_read_answers(caller: Caller) -> None:
    for path in ("/healthz", "/nowhere", "/api/users/me"):  # errors too, or the page could not tell them
        await caller.get(path, Origin=FRIEND)
        assert caller.answer.headers["Access-Control-Allow-Origin"] == FRIEND
        assert "Access-Control-Allow-Credentials" not in caller.answer.headers


async def test_preflight_of_a_named_origin_is_allowed(caller: Caller) -> None:
    status, body = await caller.ask(
        "OPTIONS", "/api/sessions", Origin=FRIEND, Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization, content-type, idempotency-key",
    )  # fmt: skip
    assert (status, body) == (204, None)
    headers = caller.answer.headers
    assert headers["Access-Control-Allow-Origin"] == FRIEND
    assert "POST" in headers["Access-Control-Allow-Methods"]
    allowed = {name.strip().lower() for name in headers["Access-Control-Allow-Headers"].split(",")}
    assert {"authorization", "content-type", "idempotency-key"} <= allowed


async def test_page_of_another_origin_gets_no_cors_headers(caller: Caller) -> None:
    for origin in ("https://evil.example", "null", "https://friend.example.evil.example", caller.edge.http):
        await caller.get("/healthz", Origin=origin)
        assert not [name for name in caller.answer.headers if name.startswith("Access-Control")]
        await caller.ask("OPTIONS", "/api/sessions", Origin=origin, Access_Control_Request_Method="POST")
        assert not [name for name in caller.answer.headers if name.startswith("Access-Control")]


# The protocol itself


async def test_bad_http_is_refused_and_logs_no_error(edge: Edge) -> None:
    for said in (b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
        async with raw_to(edge) as raw:
            raw.writer.write(said)
            assert (await raw.answer()).status in (400, 505)


async def test_many_requests_on_one_connection_are_answered_in_order(edge: Edge) -> None:
    async with raw_to(edge) as raw:
        for _ in range(20):
            raw.send("GET /healthz HTTP/1.1", f"Host: {edge.netloc}")
            raw.send("GET /nowhere HTTP/1.1", f"Host: {edge.netloc}")
        statuses = [(await raw.answer()).status for _ in range(40)]
        assert statuses == [200, 404] * 20


async def test_registration_is_in_the_database_before_it_is_acknowledged(
    caller: Caller, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    await caller.register("ada")
    assert await sql.fetchval("SELECT count(*) FROM players") == 1
    assert await sql.fetchval("SELECT count(*) FROM logins") == 1


# Logins, password, the account's end


async def test_logins_are_listed_and_ended_over_http(player: Caller) -> None:
    await player.log_in("ada")
    status, said = await player.get("/api/logins")
    assert status == 200
    assert [set(one) for one in said["logins"]] == [{"id", "createdAt", "lastUsedAt", "current"}] * 2
    newest, oldest = said["logins"]
    assert (newest["current"], oldest["current"]) == (True, False)
    assert await player.ask("DELETE", f"/api/logins/{oldest['id']}") == (204, None)
    assert await player.ask("DELETE", f"/api/logins/{oldest['id']}") == (204, None)
    await player.refused(404, "not_found", "DELETE", "/api/logins/nonsense")
    await player.refused(400, "invalid", "DELETE", f"/api/logins/{'x' * 65}")
    assert (await player.get("/api/logins"))[1]["logins"] == [newest]
    assert await player.ask("DELETE", f"/api/logins/{newest['id']}") == (204, None)
    await player.refused(401, "token_revoked", "GET", "/api/logins")


async def test_password_is_changed_over_http(player: Caller) -> None:
    change = {"password": "correct horse", "newPassword": "battery staple"}
    wrong = {**change, "password": "wrong horse"}
    await player.refused(401, "invalid_credentials", "POST", "/api/users/me/password", wrong)
    payload = await player.refused(
        400, "invalid", "POST", "/api/users/me/password", {"password": "x", "newPassword": "x"}
    )
    assert [field["path"] for field in payload["fields"]] == ["newPassword"]
    assert await player.post("/api/users/me/password", change) == (204, None)
    assert (await player.get("/api/users/me"))[0] == 200
    login = {"email": "ada@example.test", "password": "correct horse"}
    await player.refused(401, "invalid_credentials", "POST", "/login", login)
    assert (await player.post("/login", {**login, "password": "battery staple"}))[0] == 200


async def test_account_is_deleted_over_http(player: Caller) -> None:
    await player.post("/api/sessions")
    await player.post("/api/sessions/last/close", {"score": 5})
    assert (await player.get("/api/leaderboard"))[1]["1"]["username"] == "ada"
    assert await player.ask("DELETE", "/api/users/me") == (204, None)
    await player.refused(401, "token_revoked", "GET", "/api/users/me")
    player.token = None
    assert await player.get("/api/leaderboard") == (200, {})
    await player.register("ada")


# Drawings


async def test_drawings_are_compared_over_http(player: Caller) -> None:
    same = {"originalImage": picture(), "drawnImage": f"data:image/png;base64,{picture()}"}
    assert await player.post("/api/images/compare", same) == (200, {"distance": 0})
    status, said = await player.post("/api/images/compare", {**same, "drawnImage": picture("line")})
    assert status == 200
    assert 0 < said["distance"] <= 100
    bad = {**same, "drawnImage": "AAAA"}
    await player.refused(400, "image_unreadable", "POST", "/api/images/compare", bad)
    huge = {**same, "drawnImage": "A" * limits.PLAYER_MESSAGE_BYTES}
    await player.refused(413, "too_large", "POST", "/api/images/compare", huge)
    player.token = None
    await player.refused(401, "unauthenticated", "POST", "/api/images/compare", same)


# Contracts


async def test_contracts_are_served_as_committed(caller: Caller) -> None:
    for path, name in (("/openapi.json", "openapi.json"), ("/asyncapi.json", "asyncapi.json")):
        status, said = await caller.get(path)
        assert status == 200
        assert said == json.loads((main_folder() / "docs" / "contracts" / name).read_text("utf-8"))
        assert caller.answer.headers["Access-Control-Allow-Origin"] == "*"


def main_folder() -> Path:
    return Path(__file__).parent.parent.parent


async def test_reference_is_a_page(caller: Caller) -> None:
    async with caller.session.get(caller.edge.http + "/docs") as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
        assert "session.complete" in await answer.text()
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


async def test_metrics_count_what_was_asked(player: Caller) -> None:
    await player.post("/api/sessions")
    await player.post("/api/sessions/last/complete", {"score": 10**9})
    async with client_of(player.edge, player.token) as client:
        await client.do("ping")
        async with player.session.get(player.edge.http + "/metrics") as answer:
            assert (answer.status, answer.content_type) == (200, "text/plain")
            text = await answer.text()
    for line in (
        'braingame_requests_total{outcome="ok",type="session.start"} 1.0',
        'braingame_requests_total{outcome="invalid",type="session.complete"} 1.0',
        "braingame_commit_seconds_count 1.0",
        'braingame_connections{role="player"} 1.0',
    ):
        assert line in text, text
    assert "ada" not in text


# Headers of every route, and limits

#: What may be kept by a cache, and for how long; nothing else may.
CACHED = {"/": "no-cache", "/play": "no-cache", "/leaderboard": "no-cache", "/admin": "no-cache", "/docs": "no-cache"}


async def test_every_route_has_every_security_header_and_is_kept_by_no_cache(player: Caller) -> None:
    token = player.token
    paths: list[tuple[str, str]] = [
        (route.method, route.path.replace("{id}", "1").replace("{number}", "1")) for route in ROUTES
    ]
    paths += [("GET", path) for path in ("/", "/play", "/leaderboard", "/admin", "/static/play.css", "/nothing", "/ws")]
    paths += [("OPTIONS", "/login"), ("TRACE", "/"), ("PUT", "/login")]
    for method, path in paths:
        for headers in ({}, {"Authorization": f"Bearer {token}"}, {"Authorization": "Bearer nonsense"}):
            async with player.session.request(method, player.edge.http + path, headers=headers) as answer:
                found = answer.headers
                await answer.read()
            if method == "TRACE":
                assert answer.status in (400, 405)
            assert found["X-Content-Type-Options"] == "nosniff", path
            assert found["Referrer-Policy"] == "same-origin", path
            assert found["Cross-Origin-Opener-Policy"] == "same-origin", path
            assert found["Cross-Origin-Resource-Policy"] == "same-origin", path
            assert "camera=()" in found["Permissions-Policy"], path
            for part in ("default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"):
                assert part in found["Content-Security-Policy"], path
            assert "Strict-Transport-Security" not in found  # only over TLS: tests/server/test_certificate.py
            assert "Set-Cookie" not in found, path
            expected = CACHED.get(path, "no-store") if method == "GET" else "no-store"
            if path.startswith("/static/"):
                expected = "no-cache"
            assert found["Cache-Control"] == expected, path
            if path.startswith("/api/users/me") and method == "DELETE":
                token = None  # the account is gone


async def test_wrong_passwords_over_http_are_slowed_down(caller: Caller) -> None:
    await caller.register("ada")
    wrong = {"email": "ada@example.test", "password": "wrong horse"}
    for _ in range(31):
        await caller.refused(401, "invalid_credentials", "POST", "/login", wrong)
    payload = await caller.refused(429, "rate_limited", "POST", "/login", {**wrong, "password": "correct horse"})
    assert 0 < payload["retryAfterMs"] <= 1000
    assert caller.answer.headers["Retry-After"] == "1"
    _, figures = await scraped(caller)
    assert 'braingame_limits_hit_total{limit="login_account"} 1.0' in figures


async def scraped(caller: Caller) -> tuple[int, str]:
    async with caller.session.get(f"{caller.edge.http}/metrics") as answer:
        return answer.status, await answer.text()


async def test_registrations_of_one_address_are_slowed_down(stores: Stores, database_url: str) -> None:
    settings: dict[str, Any] = {"trusted_proxies": "127.0.0.1", "registrations_per_address": 2}
    async with edge_on(stores, database_url, **settings) as edge, aiohttp.ClientSession() as session:

        async def status(name: str, address: str | None) -> int:
            body = {"email": f"{name}@example.test", "username": name, "password": "correct horse"}
            headers = {} if address is None else {"X-Forwarded-For": address}
            async with session.post(f"{edge.http}/register", json=body, headers=headers) as answer:
                return answer.status

        assert [await status(f"a{number}", "198.51.100.1") for number in range(4)] == [201, 201, 201, 429]
        assert await status("b", "198.51.100.2") == 201
        # From this machine, with no proxy in front, as many as one likes.
        assert {await status(f"c{number}", None) for number in range(10)} == {201}


async def test_requests_of_a_player_count_together_with_its_sockets(stores: Stores, database_url: str) -> None:
    settings: dict[str, Any] = {"player_messages_at_once": 300, "player_messages_per_second": 0.001}
    async with edge_on(stores, database_url, **settings) as edge, client_of(edge) as client:
        token = (await client.register("Ada"))["token"]
        for _ in range(298):
            await client.do("ping")
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
            statuses = []
            for _ in range(3):
                async with session.get(f"{edge.http}/api/users/me") as answer:
                    statuses.append(answer.status)
        assert statuses == [200, 200, 429]
