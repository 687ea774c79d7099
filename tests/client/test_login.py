"""Who the player is: tokens are shown, renewed in time, and given up only when the server says no."""

from __future__ import annotations

import asyncio

import pytest

from client.errors import ConnectionLost, RequestRefused
from client.player import connect
from client.values import Tokens
from tests.client.scripted import Talk, scripted

KEPT: list[Tokens | None] = []


async def quickly(_seconds: float) -> None:
    await asyncio.sleep(0.001)


async def register(talk: Talk) -> None:
    await talk.log_in(await talk.next("auth.register"))


async def test_tokens_are_shown_on_every_connection() -> None:
    async def first(talk: Talk) -> None:
        await register(talk)
        talk.socket.transport.abort()

    async def second(talk: Talk) -> None:
        request = await talk.next("auth.resume")
        assert request["data"] == {"token": "t1"}
        await talk.log_in(request, refresh=None)
        await talk.answer(await talk.next("ping"), "pong", {"serverTime": "now"})

    kept: list[Tokens | None] = []
    async with scripted(first, second) as server, connect(server.url, on_tokens=kept.append, sleep=quickly) as game:
        await game.register("a@b.example", "a", "correct horse")
        assert await game.ping() == "now"
        assert game.tokens == Tokens("t1", "r1")
        assert kept == [Tokens("t1", "r1")]


async def test_token_that_has_expired_is_exchanged_once() -> None:
    async def close(talk: Talk) -> None:
        await register(talk)
        await talk.socket.close(4401)

    async def refresh(talk: Talk) -> None:
        request = await talk.next("auth.refresh")
        assert request["data"] == {"refreshToken": "r1"}
        await talk.log_in(request, token="t2", refresh="r2")
        await talk.push("auth.expiring", tokenExpiresAt="2026-11-23T14:20:46.000Z")
        request = await talk.next("auth.refresh")
        assert request["data"] == {"refreshToken": "r2"}
        await talk.log_in(request, token="t3", refresh="r3")

    kept: list[Tokens | None] = []
    async with scripted(close, refresh) as server, connect(server.url, on_tokens=kept.append, sleep=quickly) as game:
        await game.register("a@b.example", "a", "correct horse")
        while len(kept) < 3:
            await asyncio.sleep(0.001)
        assert kept == [Tokens("t1", "r1"), Tokens("t2", "r2"), Tokens("t3", "r3")]


async def test_resume_falls_back_on_the_refresh_token() -> None:
    async def serve(talk: Talk) -> None:
        await talk.refuse(await talk.next("auth.resume"), "token_expired")
        await talk.log_in(await talk.next("auth.refresh"), token="t2", refresh="r2")

    async with scripted(serve) as server, connect(server.url, sleep=quickly) as game:
        user = await game.resume(Tokens("old", "r1"))
        assert (user.username, game.tokens) == ("Ada", Tokens("t2", "r2"))


async def test_login_that_has_ended_is_given_up_and_not_tried_again() -> None:
    async def serve(talk: Talk) -> None:
        await talk.refuse(await talk.next("auth.resume"), "token_revoked")
        await talk.refuse(await talk.next("user.me"), "unauthenticated")

    kept: list[Tokens | None] = []
    async with scripted(serve) as server, connect(server.url, on_tokens=kept.append, sleep=quickly) as game:
        with pytest.raises(RequestRefused, match="token_revoked"):
            await game.resume(Tokens("t1", "r1"))
        assert (kept, game.tokens, game.user) == ([None], None, None)
        with pytest.raises(RequestRefused, match="unauthenticated"):
            await game.me()


async def test_server_that_cannot_look_is_asked_again() -> None:
    async def serve(talk: Talk) -> None:
        await talk.refuse(await talk.next("auth.resume"), "unavailable", retryable=True, retryAfterMs=1)
        await talk.log_in(await talk.next("auth.resume"), refresh=None)

    async with scripted(serve) as server, connect(server.url, sleep=quickly) as game:
        assert (await game.resume(Tokens("t1", None))).number == 7


async def test_lost_answer_to_a_registration_is_told() -> None:
    async def cut(talk: Talk) -> None:
        await talk.next("auth.register")
        talk.socket.transport.abort()

    async with scripted(cut) as server, connect(server.url, sleep=quickly) as game:
        with pytest.raises(ConnectionLost):
            await game.register("a@b.example", "a", "correct horse")
