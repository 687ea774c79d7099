"""One connection: what only shows from inside, with the clocks turned forward. What any client can see is tested in
tests/whole."""

from __future__ import annotations

import asyncio
import gc
import json
import socket as plain_socket
import weakref
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest
from websockets.frames import Opcode

from game.ranking import Entry
from protocol.codec import UndecodableError
from protocol.errors import CloseCode, RequestError
from server import actions, door, node, socket
from server.clock import utc_now
from server.hub import Hub
from tests.server.clients import client_of, client_to
from tests.server.edge import Edge, Raw, edge_on, raw_to, upgrade
from tests.server.fakes import DEADLINE, MORNING, until
from tests.server.ladders import Ladder
from tests.stores import Stores

#: Bytes that each side of a slow client's network holds.
ROOM = 128 * 1024


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The server's hub."""
    found = Hub()
    monkeypatch.setattr(node, "Hub", lambda: found)
    return found


@pytest.fixture
async def edge(stores: Stores, database_url: str, hub: Hub) -> AsyncIterator[Edge]:
    async with edge_on(stores, database_url) as found:
        yield found


def frame(text: str | bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    """A client's frame, also one that no library would send; masked with zeros."""
    data = text.encode() if isinstance(text, str) else text
    length = bytes((0x80 | len(data),)) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return bytes((0x80 * fin | opcode,)) + length + b"\0\0\0\0" + data


class Frames:
    """A raw client that speaks frames, and answers no ping and no close by itself."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw

    def send(self, kind: str, request: object = 1, /, padding: int = 0, **data: Any) -> None:
        self.raw.writer.write(frame(json.dumps({"type": kind, "id": request, "data": data}) + " " * padding))

    async def receive(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload."""
        async with asyncio.timeout(DEADLINE):
            first, length = await self.raw.reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await self.raw.reader.readexactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await self.raw.reader.readexactly(8), "big")
            return first & 0x0F, await self.raw.reader.readexactly(length)

    async def message(self) -> dict[str, Any]:
        opcode, payload = await self.receive()
        assert opcode == Opcode.TEXT, (opcode, payload)
        message: dict[str, Any] = json.loads(payload)
        return message

    async def close_code(self) -> int:
        """Read up to the close frame."""
        while True:
            opcode, payload = await self.receive()
            if opcode == Opcode.CLOSE:
                return int.from_bytes(payload[:2], "big")


async def frames_of(edge: Edge, raw: Raw) -> Frames:
    raw.send(*upgrade(edge))
    assert (await raw.answer()).status == 101
    frames = Frames(raw)
    assert (await frames.message())["type"] == "welcome"
    return frames


# Purpose


async def test_socket_without_a_purpose_is_closed(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "IDLE_SECONDS", 0.1)
    async with edge_on(stores, database_url) as edge, client_of(edge) as client:
        await client.do("ping")
        await client.do("leaderboard.get")  # neither of them is a purpose
        assert await client.closed() == CloseCode.IDLE


async def test_subscriber_and_player_may_be_silent(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "IDLE_SECONDS", 0.3)
    async with (
        edge_on(stores, database_url) as edge,
        client_of(edge) as player,
        client_of(edge) as spectator,
        client_of(edge) as idler,
    ):
        await player.register("ada")
        await spectator.do("leaderboard.subscribe")
        assert await idler.closed() == CloseCode.IDLE
        await player.do("ping")
        await spectator.do("ping")
        # Without a purpose again, they are idle from now on.
        await player.do("auth.logout")
        await spectator.do("leaderboard.unsubscribe")
        assert await player.closed() == CloseCode.IDLE
        assert await spectator.closed() == CloseCode.IDLE


# Ping and pong


async def test_peer_that_does_not_pong_is_dropped(
    stores: Stores, database_url: str, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "PING_SECONDS", 0.05)
    async with edge_on(stores, database_url) as edge, client_of(edge) as answering, raw_to(edge) as raw:
        await answering.do("leaderboard.subscribe")
        frames = await frames_of(edge, raw)
        frames.send("leaderboard.subscribe")
        assert (await frames.message())["type"] == "leaderboard"
        assert (await frames.receive())[0] == Opcode.PING
        assert await raw.rest() == b""  # dropped, without a close frame that nobody would read
        await until(lambda: len(hub) == 1, "the dropped socket is forgotten")
        await answering.do("ping")


async def test_ping_of_the_client_is_answered(edge: Edge) -> None:
    async with raw_to(edge) as raw:
        frames = await frames_of(edge, raw)
        raw.writer.write(frame("are you there", Opcode.PING))
        assert await frames.receive() == (Opcode.PONG, b"are you there")


# Tokens


async def test_player_is_told_a_minute_before_the_token_expires(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = utc_now()
    turned: list[timedelta] = [timedelta(0)]
    monkeypatch.setattr(node, "utc_now", lambda: now + turned[0])
    monkeypatch.setattr(socket, "EXPIRY_NOTICE_SECONDS", 3600 - 0.1)
    async with edge_on(stores, database_url) as edge, client_of(edge) as client:
        granted = await client.register("ada")
        pushed = await client.push("auth.expiring")
        assert pushed == {"tokenExpiresAt": granted["tokenExpiresAt"]}
        await client.do("user.me")  # still open, an hour before the expiry


async def test_socket_of_an_expired_token_is_closed(stores: Stores, database_url: str) -> None:
    async with edge_on(stores, database_url, token_seconds=1) as edge, client_of(edge) as client:
        granted = await client.register("ada")
        await client.push("auth.expiring")
        assert await client.closed() == CloseCode.UNAUTHENTICATED
        assert datetime.fromisoformat(granted["tokenExpiresAt"]) <= utc_now()


# Order and pressure


async def test_replies_wait_for_their_turn_while_a_slow_request_works(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = asyncio.Event()
    real = actions.Actions._get_board

    async def get_board(self: actions.Actions, caller: Any, data: Any) -> Any:
        await slow.wait()
        return await real(self, caller, data)

    monkeypatch.setattr(actions.Actions, "_get_board", get_board)
    # Bound when the server was built, so through a server of its own handlers.
    async with client_of(edge) as client:
        await client.push("welcome")
        first = await client.send("leaderboard.get")
        others = [await client.send("ping") for _ in range(5)]
        slow.set()
        for request in (first, *others):
            await client.reply(request)


async def test_more_requests_than_fit_the_inbox_are_all_answered_in_order(edge: Edge) -> None:
    async with client_of(edge) as client:
        await client.push("welcome")
        requests = [await client.send("ping") for _ in range(10 * socket._INBOX_FULL)]
        for request in requests:
            assert (await client.reply(request))["type"] == "pong"


@pytest.fixture
async def big_board(sql: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch) -> None:
    """A board that makes long replies, and time to read them."""
    await Ladder(sql, "all-time").write(*(Entry(number, False, number, MORNING) for number in range(1, 101)))
    monkeypatch.setattr(socket, "IDLE_SECONDS", 600.0)


def narrowed(hub: Hub) -> socket.Connection:
    """The only connection, which from now on waits for its reader early."""
    (member,) = hub
    assert isinstance(member, socket.Connection)
    plain = member._transport.get_extra_info("socket")
    plain.setsockopt(plain_socket.SOL_SOCKET, plain_socket.SO_SNDBUF, ROOM)
    return member


async def congest(frames: Frames, member: socket.Connection) -> int:
    """Ask and read nothing until the server reads no more either; gives the number of requests."""
    asked = 0
    while member._transport.is_reading() or not member._congested:
        asked += 1
        # Padded, so that one read from the network does not bring thousands at once.
        frames.send("leaderboard.get", asked, padding=16_000, limit=100)
        await asyncio.sleep(0.001)
        assert asked < 10_000
    return asked


async def test_client_that_reads_no_replies_is_given_no_more_of_them(
    stores: Stores, database_url: str, hub: Hub, big_board: None
) -> None:
    async with edge_on(stores, database_url, limits=False) as edge, raw_to(edge, room=ROOM) as raw:
        frames = await frames_of(edge, raw)
        member = narrowed(hub)
        asked = await congest(frames, member)
        waiting = len(member._inbox)
        for request in range(asked, asked + 1000):
            frames.send("ping", request + 1, padding=1000)
        await asyncio.sleep(0.05)
        # What is asked now stays in the network, and so does what would be answered.
        assert len(member._inbox) == waiting
        assert member._transport.get_write_buffer_size() < 2 * socket._HIGH_WATER
        for request in range(asked + 1000):
            assert (await frames.message())["re"] == request + 1


async def test_stuck_reader_learns_why_when_it_reads_again(
    stores: Stores, database_url: str, hub: Hub, big_board: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "STUCK_SECONDS", 0.1)
    async with edge_on(stores, database_url, limits=False) as edge, raw_to(edge, room=ROOM) as raw:
        frames = await frames_of(edge, raw)
        member = narrowed(hub)
        await congest(frames, member)
        await until(lambda: member._closing, "the server has waited long enough")
        assert await frames.close_code() == CloseCode.STUCK_READER
        await until(lambda: len(hub) == 0, "the stuck socket is gone")


async def test_stuck_reader_that_never_reads_again_is_dropped(
    stores: Stores, database_url: str, hub: Hub, big_board: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "STUCK_SECONDS", 0.1)
    async with edge_on(stores, database_url, limits=False) as edge, raw_to(edge, room=ROOM) as raw:
        frames = await frames_of(edge, raw)
        await congest(frames, narrowed(hub))
        await until(lambda: len(hub) == 0, "the stuck socket is dropped")


async def test_reader_that_was_only_slow_is_not_closed(
    stores: Stores, database_url: str, hub: Hub, big_board: None
) -> None:
    async with edge_on(stores, database_url, limits=False) as edge, raw_to(edge, room=ROOM) as raw:
        frames = await frames_of(edge, raw)
        member = narrowed(hub)
        asked = await congest(frames, member)
        assert member._stuck_timer is not None
        assert not member._stuck_timer.cancelled()
        for request in range(asked):
            assert (await frames.message())["re"] == request + 1
        assert member._stuck_timer.cancelled()  # nothing is left that would close it
        frames.send("ping", "still here")
        assert (await frames.message())["re"] == "still here"


# Closing


async def test_client_that_floods_reads_why_it_was_closed(
    stores: Stores, database_url: str, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its answer to the close comes behind everything that it has sent, and is not waited for in vain.
    monkeypatch.setattr(socket, "CLOSE_SECONDS", 600.0)
    async with edge_on(stores, database_url) as edge, raw_to(edge) as raw:
        frames = await frames_of(edge, raw)
        for request in range(20_000):
            frames.send("ping", request)
        assert await frames.close_code() == CloseCode.FLOODING
        raw.writer.write(frame(CloseCode.FLOODING.to_bytes(2, "big"), Opcode.CLOSE))
        assert await raw.rest() == b""
        raw.writer.close()
        await until(lambda: len(hub) == 0, "the socket is gone")


async def test_client_that_does_not_answer_a_close_is_dropped(
    stores: Stores, database_url: str, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "CLOSE_SECONDS", 0.05)
    async with edge_on(stores, database_url) as edge, raw_to(edge) as raw:
        frames = await frames_of(edge, raw)
        raw.writer.write(frame(b"\0", Opcode.BINARY))
        assert await frames.close_code() == CloseCode.BINARY_FRAME
        await until(lambda: len(hub) == 0, "the socket is gone")


async def test_nothing_is_answered_after_a_close(edge: Edge) -> None:
    async with raw_to(edge) as raw:
        frames = await frames_of(edge, raw)
        raw.writer.write(frame(b"\0", Opcode.BINARY) + frame('{"type":"ping","id":1}'))
        assert await frames.close_code() == CloseCode.BINARY_FRAME
        raw.writer.write(frame('{"type":"ping","id":2}'))
        raw.writer.write(frame(CloseCode.BINARY_FRAME.to_bytes(2, "big"), Opcode.CLOSE))
        assert await raw.rest() == b""


async def test_close_of_the_client_is_answered_and_forgotten(edge: Edge, hub: Hub) -> None:
    async with client_of(edge) as client:
        await client.do("leaderboard.subscribe")
        await client.connection.close(1000)
    await until(lambda: len(hub) == 0, "the socket is gone")
    async with raw_to(edge) as raw:
        frames = await frames_of(edge, raw)
        raw.writer.write(frame(b"\x03\xe8", Opcode.CLOSE))
        assert await frames.close_code() == 1000
        assert await raw.rest() == b""


@pytest.mark.parametrize(
    "last_words",
    [b"", frame("{}", Opcode.BINARY), frame(b"\x03\xe8", Opcode.CLOSE), b"\xff\xff", frame("part", fin=False)],
    ids=["none", "what is refused", "goodbye", "what is no frame", "half a message"],
)
async def test_socket_that_has_gone_leaves_nothing_for_the_garbage_collector(
    edge: Edge, hub: Hub, last_words: bytes
) -> None:
    async with client_of(edge) as other:  # what the first of all leaves behind is there once
        await other.do("leaderboard.subscribe")
    await until(lambda: len(hub) == 0, "the first one is gone")
    gc.collect()
    gc.disable()
    try:
        async with raw_to(edge) as raw:
            frames = await frames_of(edge, raw)
            frames.send("leaderboard.subscribe")
            await frames.message()
            left = [weakref.ref(one) for member in hub for one in (member, narrowed(hub)._protocol)]
            raw.writer.write(last_words)
            await raw.writer.drain()
        await until(lambda: len(hub) == 0, "the socket is gone")
        await until(lambda: all(one() is None for one in left), "nothing of it is there")
        assert len(left) == 2
    finally:
        gc.enable()


def refusals() -> int:
    return sum(isinstance(one, UndecodableError | RequestError) for one in gc.get_objects())


async def test_refused_messages_leave_nothing_for_the_garbage_collector(edge: Edge) -> None:
    wrong = '{"type": "ping", "id": 1, "data": {"never heard of": 1}}'
    async with client_of(edge) as client:
        await client.push("welcome")
        for text in (wrong, "{", '{"type": "user.me", "id": 1}'):
            await client.connection.send(text)
            assert (await client.receive())["type"] == "error"
        gc.collect()
        gc.disable()
        try:
            before = refusals()  # those of other tests, which pytest may hold
            for _ in range(50):
                for text in (wrong, '{"type": "user.me", "id": 1}'):
                    await client.connection.send(text)
                    await client.receive()
            assert refusals() <= before
        finally:
            gc.enable()


async def test_many_pushes_to_a_socket_that_reads_nothing_close_it(
    stores: Stores, database_url: str, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "_MOST_UNSENT", 2_000)
    async with edge_on(stores, database_url, limits=False) as edge, raw_to(edge, room=ROOM) as raw:
        frames = await frames_of(edge, raw)
        frames.send("auth.register", email="ada@example.test", username="ada", password="correct horse")
        token = (await frames.message())["data"]["token"]
        silent = narrowed(hub)
        silent._transport.set_write_buffer_limits(high=1)
        async with client_to(edge.ws, token) as player, asyncio.timeout(DEADLINE):
            most = 0
            while len(hub) == 2:
                await player.do("session.start")
                most = max(most, silent.unsent)
            assert 2_000 < most < 4_000


async def test_client_that_vanishes_in_the_middle_of_requests_is_forgotten(edge: Edge, hub: Hub) -> None:
    for _ in range(5):
        async with raw_to(edge) as raw:
            frames = await frames_of(edge, raw)
            frames.send("leaderboard.subscribe")
            for request in range(50):
                frames.send("leaderboard.get", request)
            raw.writer.write(b"\x81")  # half a frame
            await raw.writer.drain()
    await until(lambda: len(hub) == 0, "the sockets are gone")


async def test_nothing_is_written_to_a_client_that_has_closed_its_side(
    stores: Stores, database_url: str, hub: Hub, big_board: None
) -> None:
    """What waits for it keeps its connection open for a while, and the transport raises for anything more: in a board's
    change that would end the telling of all."""
    async with edge_on(stores, database_url, limits=False) as edge, raw_to(edge, room=ROOM) as raw:
        frames = await frames_of(edge, raw)
        frames.send("leaderboard.subscribe", 0, limit=100)
        member = narrowed(hub)
        await until(lambda: bool(member._following), "it follows the board")
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        while not member._transport.get_write_buffer_size():
            member.push(b" " * 4096)  # a little waits in the server, and not so much that it stops writing
        assert not member._congested
        raw.writer.write_eof()
        await until(member._transport.is_closing, "the server has seen the end")
        assert member in hub
        member.push(b"{}")
        member.push_board(next(iter(member._following)), b"\x81\x02{}")


async def test_frame_against_the_protocol_is_a_close(edge: Edge) -> None:
    for wrong, code in (
        (b"\x81\x02{}", 1002),  # not masked
        (b"\xf1\x80\0\0\0\0", 1002),  # reserved bits
        (b"\x83\x80\0\0\0\0", 1002),  # an opcode that does not exist
        (frame("x" * 126, Opcode.PING), 1002),  # a control frame may not be that long
        (frame("lost", Opcode.CONT), 1002),  # goes on with nothing
        (frame("{", fin=False) + frame("{}"), 1002),  # a message inside a message
    ):
        async with raw_to(edge) as raw:
            frames = await frames_of(edge, raw)
            raw.writer.write(wrong)
            assert await frames.close_code() == code


async def test_fragments_with_a_ping_in_between_are_one_message(edge: Edge) -> None:
    async with raw_to(edge) as raw:
        frames = await frames_of(edge, raw)
        text = json.dumps({"type": "user.me", "id": "größe ✓"}, ensure_ascii=False).encode()
        raw.writer.write(frame(text[:1], fin=False))
        raw.writer.write(frame("?", Opcode.PING))
        for index in range(1, len(text)):  # also in the middle of a character
            raw.writer.write(frame(text[index : index + 1], Opcode.CONT, fin=False))
        raw.writer.write(frame(b"", Opcode.CONT))
        assert (await frames.receive())[0] == Opcode.PONG
        assert (await frames.message())["re"] == "größe ✓"


async def test_whole_message_inside_a_message_is_refused_also_when_it_comes_alone(edge: Edge) -> None:
    async with raw_to(edge) as raw:
        frames = await frames_of(edge, raw)
        raw.writer.write(frame("{", fin=False) + frame("?", Opcode.PING))
        assert (await frames.receive())[0] == Opcode.PONG  # so the server is in the middle of the message
        raw.writer.write(frame('{"type":"ping","id":1}'))
        assert await frames.close_code() == 1002


async def test_what_looks_like_a_message_in_the_middle_of_another_is_a_part_of_it(edge: Edge, hub: Hub) -> None:
    async with raw_to(edge) as raw:
        before = set(hub)
        frames = await frames_of(edge, raw)
        (member,) = set(hub) - before
        inner = frame('{"type":"ping","id":1}')
        outer = frame(b'{"type":"' + inner)
        raw.writer.write(outer[: -len(inner)])
        assert isinstance(member, socket.Connection)
        await until(lambda: bool(member._protocol.reader.buffer), "the first part has come")
        raw.writer.write(inner)
        assert await frames.close_code() == CloseCode.NOT_UTF8


async def test_fragments_that_are_too_big_together_are_refused(stores: Stores, database_url: str) -> None:
    async with edge_on(stores, database_url, message_bytes=4096) as edge, raw_to(edge) as raw:
        frames = await frames_of(edge, raw)
        raw.writer.write(frame(" " * 2500, fin=False) + frame(" " * 2500, Opcode.CONT))
        assert await frames.close_code() == CloseCode.TOO_BIG


async def test_failure_of_ours_closes_with_1011_and_is_logged(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> bytes:
        raise RuntimeError("a secret of ours")

    async with edge_on(stores, database_url) as edge:
        async with client_of(edge) as client:
            # After the server's own client, the canary, has subscribed.
            monkeypatch.setattr(actions.Actions, "answer", broken)
            await client.send("ping")
            assert await client.closed() == CloseCode.INTERNAL_ERROR
            assert client.connection.close_reason == "internal error"
        assert len(edge.errors) == 1
        edge.capture.entries.clear()


async def test_error_of_a_handler_is_internal_and_says_nothing_of_ours(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> object:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(actions.Actions, "_ping", broken)
    async with edge_on(stores, database_url) as edge:
        async with client_of(edge) as client:
            error = await client.error("ping")
            assert (error["code"], error["retryable"]) == ("internal", False)
            assert "secret" not in json.dumps(error)
            await client.do("leaderboard.get")  # the socket goes on
        assert [line["event"] for line in edge.errors] == ["a request failed"]
        edge.capture.entries.clear()


# Limits


async def test_refused_messages_count_against_the_rate_too(edge: Edge) -> None:
    """A client gets around no limit by sending what is not understood."""
    async with client_of(edge) as client:
        await client.push("welcome")
        codes = []
        for _ in range(600):
            await client.send("no.such.type")
        for request in range(1, 601):
            codes.append((await client.reply(request))["data"]["code"])
        assert codes[:400] == ["unknown_type"] * 400
        assert "rate_limited" in codes[400:]


# Counting


async def counted(edge: Edge) -> dict[str, float]:
    """What is scraped, by name and labels."""
    async with aiohttp.ClientSession(edge.http) as http, http.get("/metrics") as answer:
        text = await answer.text()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


async def test_ends_refusals_and_routes_are_counted(stores: Stores, database_url: str) -> None:
    few = {"messages_at_once": 20, "messages_per_second": 0.1, "player_message_bytes": 65536}
    async with edge_on(stores, database_url, **few) as edge:
        async with client_of(edge) as client:
            for _ in range(10):
                await client.connection.send("nonsense")
            assert await client.closed() == CloseCode.MALFORMED
        async with client_of(edge) as polite:
            await polite.error("no.such.type")
        async with raw_to(edge) as rude:
            rude.send(*upgrade(edge))
            await rude.answer()
        async with client_of(edge) as flooding:
            for _ in range(21):
                await flooding.send("ping")
            for request in range(1, 21):
                await flooding.reply(request)
            assert (await flooding.reply(21))["data"]["code"] == "rate_limited"
        async with aiohttp.ClientSession(edge.http) as http:
            await http.get("/static/app-that-is-not-there.js")
            await http.get("/nothing/that/is/there")
            await http.get("/api/admin/acts")
        async with asyncio.timeout(DEADLINE):
            while (found := await counted(edge))['braingame_closes_total{code="1006"}'] < 1:
                await asyncio.sleep(0)
    assert found['braingame_closes_total{code="4400"}'] == 1
    assert found['braingame_closes_total{code="1000"}'] >= 1
    assert found['braingame_limits_hit_total{limit="socket_messages"}'] >= 1
    assert found['braingame_requests_total{outcome="malformed",type="none"}'] == 10
    assert found['braingame_requests_total{outcome="unknown_type",type="none"}'] == 1
    routes = {
        name.partition("{")[2] for name, count in found.items() if name.startswith("braingame_http_requests") and count
    }
    assert 'method="other",route="none",status="4xx"}' in routes
    assert not any("not-there" in route for route in routes)
    assert any('status="4xx"' in route and "/api/admin/" in route for route in routes)


# Draining


async def test_drain_answers_what_was_asked_and_begins_nothing_new(
    stores: Stores, database_url: str, sql: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = asyncio.Event()
    real = actions.Actions._act

    async def act(self: actions.Actions, *arguments: Any) -> Any:
        await slow.wait()
        return await real(self, *arguments)

    monkeypatch.setattr(actions.Actions, "_act", act)
    async with edge_on(stores, database_url) as edge, client_of(edge) as client, client_of(edge) as idle:
        await client.register("ada")
        await idle.push("welcome")
        asked = [await client.send("session.start"), await client.send("session.complete", score=5)]
        await client.connection.ping()
        stopping = edge.told_to_stop()
        draining = await client.push("server.draining")
        assert 0 < draining["reconnectAfterMs"] <= 2000
        late = await client.send("session.complete", score=6)
        await (await client.connection.ping())
        slow.set()
        assert (await client.reply(asked[0]))["type"] == "session"
        assert (await client.reply(asked[1]))["data"]["sessionTotalScore"] == 5
        assert await client.closed() == CloseCode.GOING_AWAY
        assert not [message for message in client.pushes if message.get("re") == late]
        assert await idle.closed() == CloseCode.GOING_AWAY
        assert await stopping == 0
    assert await sql.fetchval("SELECT max(version) FROM sessions") == 2


async def test_client_that_does_not_say_goodbye_does_not_keep_the_server(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "DRAIN_SECONDS", 0.1)
    async with edge_on(stores, database_url) as edge, raw_to(edge) as raw:
        frames = await frames_of(edge, raw)
        stopping = edge.told_to_stop()
        assert (await frames.message())["type"] == "server.draining"
        assert await frames.close_code() == CloseCode.GOING_AWAY
        assert await stopping == 0
        assert await raw.rest() == b""


async def test_socket_that_opens_while_the_server_stops_is_told_so(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was in the doorway when the others were told; the server must not wait for it in vain."""
    entered, go_on, slow = asyncio.Event(), asyncio.Event(), asyncio.Event()
    real_board, real_identify = actions.Actions._get_board, door.Door._identify

    async def get_board(self: actions.Actions, caller: Any, data: Any) -> Any:
        await slow.wait()
        return await real_board(self, caller, data)

    async def identify(self: door.Door, request: Any) -> Any:
        if "Authorization" in request.headers:
            entered.set()
            await go_on.wait()
            return None, None
        return await real_identify(self, request)

    async def late_comer(to: Edge) -> tuple[list[str], int | None]:
        async with client_of(to, "x") as client:
            code = await client.closed()
            return [message["type"] for message in client.pushes], code

    monkeypatch.setattr(actions.Actions, "_get_board", get_board)
    monkeypatch.setattr(door.Door, "_identify", identify)
    async with edge_on(stores, database_url) as edge, client_of(edge) as busy:
        asked = await busy.send("leaderboard.get")  # keeps the drain going
        late = asyncio.create_task(late_comer(edge))
        await entered.wait()
        stopping = edge.told_to_stop()
        await busy.push("server.draining")
        go_on.set()
        assert await late == (["welcome", "server.draining"], CloseCode.GOING_AWAY)
        slow.set()
        await busy.reply(asked)
        assert await busy.closed() == CloseCode.GOING_AWAY
        assert await stopping == 0
