"""Tokens that end while a socket is open."""

from __future__ import annotations

import asyncio
from datetime import datetime

import aiohttp
import pytest

from tests.server.clients import Client
from tests.stores import Stores
from tests.whole.running import Server, server_on

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Seconds to stay on the way to a token's end: three times that is past the first one's, and a token of 4 s, which ends
#: on a whole second, leaves a busy machine 1.6 s to renew it.
ON_THE_WAY = 1.4


async def test_socket_stays_open_as_long_as_its_token_is_renewed(stores: Stores) -> None:
    async with server_on(stores, BRAINGAME_TOKEN_SECONDS="4") as server:
        await asyncio.gather(
            _is_closed_without_renewal(server),
            _goes_on_with_refresh(server),
            _goes_on_with_resume(server),
            _logs_out_in_time(server),
        )


async def _is_closed_without_renewal(server: Server) -> None:
    async with server.client() as client:
        granted = await client.register("expiring")
        expiring = await client.push("auth.expiring")
        assert expiring == {"tokenExpiresAt": granted["tokenExpiresAt"]}
        assert await client.closed() == 4401
    async with server.client() as client:
        now = (await client.do("ping"))["serverTime"]
        assert datetime.fromisoformat(now) >= datetime.fromisoformat(granted["tokenExpiresAt"])
        assert (await client.error("auth.resume", token=granted["token"]))["code"] == "token_expired"
        # The refresh token lives on.
        renewed = await client.do("auth.refresh", refreshToken=granted["refreshToken"])
        assert renewed["user"] == granted["user"]


async def _goes_on_with_refresh(server: Server) -> None:
    async with server.client() as client:
        granted = await client.register("refreshing")
        for _ in range(3):
            await client.push("auth.expiring")
            await asyncio.sleep(ON_THE_WAY)
            granted = await client.do("auth.refresh", refreshToken=granted["refreshToken"])
        await client.do("user.me")  # past the end of the first token
        assert await _seconds_since(client, granted["tokenExpiresAt"]) < 0


async def _goes_on_with_resume(server: Server) -> None:
    async with server.client() as client, aiohttp.ClientSession(server.origin) as http:
        await client.register("resuming")
        for _ in range(3):
            await client.push("auth.expiring")
            await asyncio.sleep(ON_THE_WAY)
            body = {"email": "resuming@example.test", "password": "correct horse"}
            async with http.post("/login", json=body) as answer:
                tokens = await answer.json()
            await client.do("auth.resume", token=tokens["token"])
        await client.do("user.me")


async def _logs_out_in_time(server: Server) -> None:
    async with server.client() as client:
        granted = await client.register("leavingintime")
        await client.do("auth.logout")
        while await _seconds_since(client, granted["tokenExpiresAt"]) < 0.2:
            await asyncio.sleep(0.1)
        await client.do("ping")  # a spectator's socket has no token that could end


async def _seconds_since(client: Client, at: str) -> float:
    now = datetime.fromisoformat((await client.do("ping"))["serverTime"])
    return (now - datetime.fromisoformat(at)).total_seconds()
