"""What limits hold for one socket beside the rate of its messages, and for all sockets of an account, from outside."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import Opcode

from protocol.errors import CloseCode
from server import node, socket
from server.hub import Hub
from tests.server.clients import client_of
from tests.server.edge import Edge, edge_on, raw_to
from tests.server.fakes import until
from tests.server.test_socket import frame, frames_of
from tests.stores import Stores


@pytest.fixture
async def edge(stores: Stores, database_url: str) -> AsyncIterator[Edge]:
    async with edge_on(stores, database_url) as found:
        yield found


async def test_flood_of_control_frames_is_ended(edge: Edge) -> None:
    for opcode in (Opcode.PING, Opcode.PONG):
        async with raw_to(edge) as raw:
            frames = await frames_of(edge, raw)
            raw.writer.write(frame("", opcode) * 20_000)
            assert await frames.close_code() == CloseCode.FLOODING


async def test_message_in_endless_empty_pieces_is_ended(edge: Edge) -> None:
    async with raw_to(edge) as raw:
        frames = await frames_of(edge, raw)
        raw.writer.write(frame("", fin=False) + frame("", Opcode.CONT, fin=False) * 5000)
        assert await frames.close_code() == CloseCode.TOO_BIG


async def test_message_in_as_many_pieces_as_it_may_have_is_answered(edge: Edge) -> None:
    async with raw_to(edge) as raw:
        frames = await frames_of(edge, raw)
        text = json.dumps({"type": "ping", "id": 1})
        raw.writer.write(frame(text, fin=False) + frame("", Opcode.CONT, fin=False) * 1022 + frame("", Opcode.CONT))
        assert (await frames.message())["type"] == "pong"


async def test_messages_in_many_pieces_count_for_more(edge: Edge) -> None:
    async with raw_to(edge) as raw:
        frames = await frames_of(edge, raw)
        text = json.dumps({"type": "ping", "id": 1})
        pieces = frame(text, fin=False) + frame("", Opcode.CONT, fin=False) * 998 + frame("", Opcode.CONT)
        raw.writer.write(pieces * 10)
        kinds = [(await frames.message())["type"] for _ in range(10)]
        assert kinds[:6] == ["pong"] * 6
        assert kinds[-1] == "error"


@pytest.mark.parametrize("begun", [b"\x81", b"\x81\xfe", frame("x" * 100)[:-1], frame("{", fin=False)])
async def test_message_that_does_not_end_in_time_is_ended(stores: Stores, database_url: str, begun: bytes) -> None:
    async with edge_on(stores, database_url, message_seconds=0.1) as edge, raw_to(edge) as raw:
        frames = await frames_of(edge, raw)
        raw.writer.write(begun)
        assert await frames.close_code() == CloseCode.IDLE


async def test_message_that_ends_in_time_stops_the_clock(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub()
    monkeypatch.setattr(node, "Hub", lambda: hub)
    async with edge_on(stores, database_url) as edge, raw_to(edge) as raw:
        frames = await frames_of(edge, raw)
        (member,) = hub
        assert isinstance(member, socket.Connection)
        whole = frame(json.dumps({"type": "ping", "id": 1}))
        raw.writer.write(whole[:5])
        await until(lambda: member._message_timer is not None, "the clock runs")
        raw.writer.write(whole[5:])
        assert (await frames.message())["type"] == "pong"
        assert member._message_timer is None


async def test_sockets_of_a_player_share_a_rate_and_other_players_do_not(stores: Stores, database_url: str) -> None:
    settings: dict[str, Any] = {"player_messages_at_once": 300, "player_messages_per_second": 0.001}
    async with edge_on(stores, database_url, **settings) as edge, client_of(edge) as ada, client_of(edge) as bob:
        token = (await ada.register("Ada"))["token"]
        await bob.register("Bob")
        async with client_of(edge, token) as second:
            outcomes = Counter[str]()
            for client in (ada, second):
                for _ in range(160):
                    await client.send("ping")
            for client in (ada, second):
                for _ in range(160):
                    reply = await client.receive()
                    while "re" not in reply:
                        reply = await client.receive()
                    outcomes[reply["data"].get("code", reply["type"])] += 1
            assert outcomes == {"pong": 300, "rate_limited": 20}
        await bob.do("ping")


async def test_account_with_enough_sockets_gets_no_more_of_them(stores: Stores, database_url: str) -> None:
    async with edge_on(stores, database_url, sockets_per_account=2) as edge, client_of(edge) as first:
        granted = await first.register("Ada")
        token = granted["token"]
        async with client_of(edge, token), client_of(edge) as third:
            with pytest.raises(InvalidStatus) as caught:
                async with client_of(edge, token):
                    pass
            assert caught.value.response.status_code == 429
            assert int(caught.value.response.headers["Retry-After"]) > 0
            for kind, data in (
                ("auth.resume", {"token": token}),
                ("auth.login", {"email": "Ada@example.test", "password": "correct horse"}),
            ):
                refused = await third.error(kind, **data)
                assert (refused["code"], refused["retryAfterMs"] > 0) == ("rate_limited", True)
            # Who is in may show its token again, and nobody loses one that was just exchanged.
            await first.do("auth.resume", token=token)
            await third.do("auth.refresh", refreshToken=granted["refreshToken"])
            await third.do("user.me")
        async with client_of(edge, token):
            pass


async def test_socket_follows_as_many_boards_as_it_may(stores: Stores, database_url: str) -> None:
    async with edge_on(stores, database_url, subscriptions_per_socket=2) as edge, client_of(edge) as client:
        for board in ("daily", "weekly", "daily"):
            await client.do("leaderboard.subscribe", board=board)
        assert (await client.error("leaderboard.subscribe", board="all-time"))["code"] == "invalid"
        await client.do("leaderboard.unsubscribe", board="daily")
        await client.do("leaderboard.subscribe", board="all-time")


async def test_socket_follows_all_boards_that_there_are(edge: Edge) -> None:
    async with client_of(edge) as client:
        for period in ("all-time", "weekly", "daily"):
            for board in (period, *(f"{period}:{difficulty}" for difficulty in range(10))):
                await client.do("leaderboard.subscribe", board=board)


async def test_wrong_passwords_are_slowed_down_and_open_sockets_are_not(stores: Stores, database_url: str) -> None:
    async with (
        edge_on(stores, database_url, failures_per_account=10) as edge,
        client_of(edge) as ada,
        client_of(edge) as guesser,
    ):
        await ada.register("Ada")
        wrong = {"email": "Ada@example.test", "password": "wrong horse"}
        for _ in range(11):
            assert (await guesser.error("auth.login", **wrong))["code"] == "invalid_credentials"
        for password in ("wrong horse", "correct horse"):
            refused = await guesser.error("auth.login", email="Ada@example.test", password=password)
            assert refused["code"] == "rate_limited"
            assert 0 < refused["retryAfterMs"] <= 1000
        await ada.do("user.me")
        change = {"password": "correct horse", "newPassword": "battery staple"}
        assert (await ada.error("user.password", **change))["code"] == "rate_limited"


async def test_frame_may_come_byte_by_byte_and_the_next_one_at_once(edge: Edge) -> None:
    async with raw_to(edge) as raw:
        frames = await frames_of(edge, raw)
        whole = frame(json.dumps({"type": "ping", "id": 1}) + " " * 200)
        for cut in (1, 2, 3, 4, 8, 9, len(whole) - 1):
            for piece in (whole[:cut], whole[cut:], whole):
                raw.writer.write(piece)
                await raw.writer.drain()
                await asyncio.sleep(0.002)  # so that the pieces come one by one; together they have to be right as well
            assert [(await frames.message())["type"] for _ in range(2)] == ["pong", "pong"]
