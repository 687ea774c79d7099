"""The socket as the contract describes it, seen from outside: handshake, envelope, limits, ways to be closed."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import Future
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from server.version import VERSION
from tests.server.clients import Client
from tests.whole.conftest import FRIEND, Idle
from tests.whole.running import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Handshake


async def test_spectator_is_welcomed(server: Server) -> None:
    async with server.client() as client:
        message = await client.receive()
    assert set(message) == {"type", "data"}
    assert message["type"] == "welcome"
    welcome = message["data"]
    assert set(welcome) == {
        "protocol",
        "server",
        "connectionId",
        "role",
        "user",
        "session",
        "serverTime",
        "limits",
    }
    assert (welcome["protocol"], welcome["server"]) == (1, f"braingame/{VERSION}")
    assert (welcome["role"], welcome["user"], welcome["session"]) == ("spectator", None, None)
    UUID(welcome["connectionId"])
    assert welcome["serverTime"].endswith("Z")
    assert len(welcome["serverTime"]) == len("2026-11-23T13:20:46.123Z")
    assert welcome["limits"] == {
        "maxMessageBytes": 65536,
        "maxPlayerMessageBytes": 4 * 2**20,
        "maxStageScore": 1_000_000,
        "scoring": "reported",
        "stages": 3,
        "boardHz": 10,
        "idleSeconds": 15,
        "pingSeconds": 20,
    }


async def test_each_connection_has_an_id_of_its_own(server: Server) -> None:
    async with server.client() as one, server.client() as other:
        assert (await one.push("welcome"))["connectionId"] != (await other.push("welcome"))["connectionId"]


async def test_bearer_token_in_the_handshake_makes_a_player(server: Server) -> None:
    async with server.client() as client:
        granted = await client.register("bearer")
        begun = await client.do("session.start")
    async with server.client(granted["token"]) as client:
        welcome = await client.push("welcome")
        assert (welcome["role"], welcome["user"], welcome["session"]) == ("player", granted["user"], begun)
        assert await client.do("user.me") == granted["user"]


async def test_bad_token_is_refused_with_401(server: Server) -> None:
    for token in ("nonsense", "", "a.b.c"):
        with pytest.raises(InvalidStatus) as caught:
            async with server.client(token):
                pass
        response = caught.value.response
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert json.loads(response.body or b"")["code"] == "unauthenticated"


async def test_revoked_token_is_refused_with_401(server: Server) -> None:
    async with server.client() as client:
        granted = await client.register("revoked")
        await client.do("auth.logout")
    with pytest.raises(InvalidStatus) as caught:
        async with server.client(granted["token"]):
            pass
    assert json.loads(caught.value.response.body or b"")["code"] == "token_revoked"


async def test_token_in_the_url_counts_for_nothing(server: Server) -> None:
    async with server.client() as client:
        granted = await client.register("url")
    async with connect(f"{server.ws}?token={granted['token']}", proxy=None) as connection:
        assert (await Client(connection).push("welcome"))["role"] == "spectator"


async def test_subprotocol_is_selected_when_it_is_offered(server: Server) -> None:
    for offered, selected in (
        (None, None),
        (["braingame.v1"], "braingame.v1"),
        (["braingame.v2", "braingame.v1"], "braingame.v1"),
    ):
        async with server.client(subprotocols=offered) as client:
            assert client.connection.subprotocol == selected
            assert (await client.push("welcome"))["protocol"] == 1


async def test_only_unknown_subprotocols_are_refused(server: Server) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with server.client(subprotocols=["braingame.v2", "chat"]):
            pass
    assert 400 <= caught.value.response.status_code < 500


async def test_pages_of_our_host_and_of_named_origins_are_let_in(server: Server) -> None:
    for origin in (f"http://{server.netloc}", f"https://{server.netloc}", FRIEND, "http://other.example"):
        async with server.client(origin=origin) as client:
            await client.push("welcome")


async def test_pages_of_other_hosts_are_refused_with_403(server: Server) -> None:
    for origin in ("https://evil.example", "null", f"http://127.0.0.1:{server.port + 1}", "http://friend.example"):
        with pytest.raises(InvalidStatus) as caught:
            async with server.client(origin=origin):
                pass
        assert caught.value.response.status_code == 403
        assert json.loads(caught.value.response.body or b"")["code"] == "origin_not_allowed"


# Envelope


async def raw(client: Client, text: str | bytes) -> dict[str, Any]:
    """The reply to exactly this text."""
    await client.connection.send(text, text=True)
    while (message := await client.receive())["type"] == "welcome":
        pass
    return message


async def test_id_is_echoed_verbatim(server: Server) -> None:
    async with server.client() as client:
        requests: list[str | int] = ["c7", "x", "x" * 64, "größe ✓", '"\\', "7", 7, 0, -1, 2**53, 2**64, -(10**30)]
        for request in requests:
            reply = await raw(client, json.dumps({"type": "ping", "id": request}))
            assert reply["type"] == "pong"
            assert (type(reply["re"]), reply["re"]) == (type(request), request)


async def test_bad_id_is_invalid(server: Server) -> None:
    async with server.client() as client:
        requests: list[object] = ["", "x" * 65, 1.5, None, True, [], {}]
        for request in requests:
            reply = await raw(client, json.dumps({"type": "ping", "id": request}))
            assert reply["type"] == "error"
            assert reply["data"]["code"] == "invalid"
            assert [field["path"] for field in reply["data"]["fields"]] == ["id"]
            assert "re" not in reply
        reply = await raw(client, '{"type":"ping"}')
        assert (reply["data"]["code"], reply["data"]["fields"][0]["path"]) == ("invalid", "id")


async def test_data_may_be_left_out_when_it_would_be_empty(server: Server) -> None:
    async with server.client() as client:
        await client.register("nodata")
        for kind in ("ping", "user.me", "session.start", "session.last", "session.cancel", "leaderboard.get"):
            assert (await raw(client, json.dumps({"type": kind, "id": 1})))["type"] != "error"
        for kind in ("session.complete", "auth.login", "auth.resume"):
            reply = await raw(client, json.dumps({"type": kind, "id": 1}))
            assert (reply["re"], reply["data"]["code"]) == (1, "invalid")


async def test_unknown_type_is_named(server: Server) -> None:
    async with server.client() as client:
        for kind in ("session.win", "welcome", "", "Ping"):
            error = await client.error(kind)
            assert error["code"] == "unknown_type"
            assert repr(kind) in error["message"]
        long = await client.error("x" * 60_000)
        assert len(long["message"]) < 200  # an error is not a way to be sent much


async def test_unknown_field_is_named(server: Server) -> None:
    async with server.client() as client:
        for kind, good in (
            ("ping", {}),
            ("leaderboard.get", {}),
            ("leaderboard.subscribe", {"since": {"epoch": "", "version": 0}}),
            ("session.complete", {"score": 1}),
            ("auth.login", {"email": "", "password": ""}),
        ):
            error = await client.error(kind, **good, colour="red")
            assert (error["code"], error["fields"]) == ("invalid", [{"path": "colour", "message": "unknown field"}])
        error = await client.error("leaderboard.subscribe", since={"epoch": "", "version": 0, "colour": "red"})
        assert [field["path"] for field in error["fields"]] == ["since.colour"]
        reply = await raw(client, '{"type":"ping","id":1,"colour":"red"}')
        assert (reply["data"]["code"], reply["data"]["fields"][0]["path"]) == ("invalid", "colour")
        many = await client.error("ping", **{f"{'x' * 300}{index}": 1 for index in range(100)})
        assert len(many["fields"]) <= 20


async def test_nothing_is_converted(server: Server) -> None:
    async with server.client() as client:
        for kind, path, value in (
            ("session.complete", "score", "1"),
            ("session.complete", "score", 1.0),
            ("session.complete", "score", True),
            ("session.complete", "score", None),
            ("session.complete", "key", 12345678),
            ("session.start", "difficulty", "3"),
            ("leaderboard.get", "limit", "10"),
            ("leaderboard.get", "board", 7),
        ):
            error = await client.error(kind, **{"score": 1, path: value} if path == "key" else {path: value})
            assert (error["code"], [field["path"] for field in error["fields"]]) == ("invalid", [path])
        reply = await raw(client, '{"type":"ping","id":1,"data":null}')
        assert reply["data"]["code"] == "invalid"


async def test_errors_have_the_shape_of_the_contract(server: Server) -> None:
    async with server.client() as client:
        for error in (
            await client.error("user.me"),
            await client.error("nonsense"),
            await client.error("leaderboard.get", board="hourly"),
            await client.error("leaderboard.get", limit=0),
        ):
            assert {"code", "message", "retryable"} <= set(error)
            assert set(error) <= {"code", "message", "retryable", "retryAfterMs", "fields", "session"}
            assert error["retryable"] is False


async def test_hundred_mixed_requests_at_once_are_answered_in_their_order(server: Server) -> None:
    async with server.client() as client:
        await client.push("welcome")
        kinds = [
            ("ping", {}, "pong"),
            ("auth.login", {"email": "nobody@example.test", "password": "wrong horse"}, "error"),  # slow
            ("leaderboard.get", {}, "leaderboard"),
            ("nonsense", {}, "error"),
            ("user.me", {}, "error"),
            ("session.complete", {"score": "1"}, "error"),
            ("leaderboard.subscribe", {"board": "daily:9"}, "leaderboard"),
            ("leaderboard.unsubscribe", {"board": "daily:9"}, "ok"),
        ]
        register = {"email": "order@example.test", "username": "order", "password": "correct horse"}
        wanted = [(await client.send("auth.register", **register), "authenticated")]
        for index in range(99):
            kind, data, reply = kinds[index % len(kinds)]
            wanted.append((await client.send(kind, **data), "user" if kind == "user.me" else reply))
        for request, reply in wanted:
            assert (await client.reply(request))["type"] == reply


# What is no message


MALFORMED = ["", " ", "{", "[]", "null", "1", '"ping"', '{"type":"ping","id":NaN}', '{"a":"\\ud800"}', "[" * 60_000]


async def test_text_that_is_no_message_is_malformed(server: Server) -> None:
    async with server.client() as client:
        for text in MALFORMED:
            reply = await raw(client, text)
            assert (reply["type"], reply["data"]["code"]) == ("error", "malformed")
            assert "re" not in reply
            await client.do("ping")  # so that they are not in a row
        for text, known in (('{"id":7}', 7), ('{"id":"a","type":7}', "a"), ('{"id":1,"type":null}', 1)):
            reply = await raw(client, text)
            assert (reply["re"], reply["data"]["code"]) == (known, "malformed")


async def test_ten_malformed_messages_in_a_row_close_the_socket(server: Server) -> None:
    async with server.client() as client:
        await client.push("welcome")
        for _ in range(3):
            for _ in range(9):
                assert (await raw(client, "{"))["data"]["code"] == "malformed"
            await client.do("ping")
        for _ in range(10):
            await client.connection.send("{")
        assert await client.closed() == 4400
        assert [message["data"]["code"] for message in client.pushes] == ["malformed"] * 10


async def test_understood_but_wrong_messages_do_not_close_the_socket(server: Server) -> None:
    async with server.client() as client:
        for _ in range(15):
            await client.error("nonsense")
            await client.error("leaderboard.get", limit=0)


async def test_binary_frame_closes_with_1003(server: Server) -> None:
    async with server.client() as client:
        await client.connection.send(b'{"type":"ping","id":1}')
        assert await client.closed() == 1003


async def test_text_that_is_not_utf8_closes_with_1007(server: Server) -> None:
    for text in (b"\xff", b'{"type":"ping","id":"\xc3\x28"}', b'{"type":"ping","id":1}\xff', b"\xed\xa0\x80"):
        async with server.client() as client:
            await client.connection.send(text, text=True)
            assert await client.closed() == 1007


async def test_message_of_the_largest_size_is_answered_and_a_larger_one_closes_with_1009(server: Server) -> None:
    async with server.client() as client:
        size = (await client.push("welcome"))["limits"]["maxMessageBytes"]
        text = '{"type":"ping","id":1}'
        assert (await raw(client, text + " " * (size - len(text))))["type"] == "pong"
        await client.connection.send(text + " " * (size - len(text) + 1))
        assert await client.closed() == 1009


async def test_fragmented_message_is_one_message(server: Server) -> None:
    async with server.client() as client:
        await client.push("welcome")
        await client.connection.send(['{"type":', '"ping"', "", ',"id":"in pieces"}'])
        assert (await client.reply("in pieces"))["type"] == "pong"
        await client.connection.send(["{", '"type"'])
        assert (await client.reply(None))["data"]["code"] == "malformed"


async def test_ping_frame_is_answered(server: Server) -> None:
    async with server.client() as client:
        await asyncio.wait_for(await client.connection.ping(), 10)


async def test_ping_message_tells_the_servers_time(server: Server) -> None:
    async with server.client() as client:
        first, second = [(await client.do("ping"))["serverTime"] for _ in range(2)]
        assert datetime.fromisoformat(first) <= datetime.fromisoformat(second)


# Limits


async def test_client_that_asks_too_much_is_told_when_to_ask_again(server: Server) -> None:
    async with server.client() as client:
        await client.do("leaderboard.subscribe")
        requests = [await client.send("ping") for _ in range(700)]
        replies = [await client.reply(request) for request in requests]
        kinds = [reply["type"] for reply in replies]
        assert kinds[:399] == ["pong"] * 399
        refused = [reply["data"] for reply in replies if reply["type"] == "error"]
        assert refused
        for error in refused:
            assert (error["code"], error["retryable"]) == ("rate_limited", True)
            assert 1 <= error["retryAfterMs"] <= 1000
        await asyncio.sleep(refused[-1]["retryAfterMs"] / 1000)
        assert (await client.ask("ping"))["type"] == "pong"


async def test_limit_is_each_sockets_own(server: Server) -> None:
    async with server.client() as greedy, server.client() as modest:
        await greedy.push("welcome")
        requests = [await greedy.send("ping") for _ in range(600)]
        assert (await modest.ask("ping"))["type"] == "pong"
        for request in requests:
            await greedy.reply(request)


async def test_client_that_goes_on_and_on_is_closed_with_4429(server: Server) -> None:
    for kind in ("ping", "nonsense"):  # what is not understood is no way around the limit
        async with server.client() as client:
            await client.push("welcome")
            flooding = asyncio.create_task(flood(client, kind))
            assert await client.closed() == 4429
            await asyncio.gather(flooding, return_exceptions=True)
            codes = [message["data"]["code"] for message in client.pushes if message["type"] == "error"]
            assert codes.count("rate_limited") >= 400


async def flood(client: Client, kind: str) -> None:
    while True:
        await client.send(kind)
        await asyncio.sleep(0)  # for the one who reads


# Purpose


async def test_socket_without_a_purpose_is_closed_and_others_may_be_silent(idle: Future[Idle]) -> None:
    found = await asyncio.wrap_future(idle)
    assert found.code == 4408
    assert found.seconds > 14
    assert found.others == ["pong", "pong"]
