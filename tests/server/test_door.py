"""The door: one port, and each request head goes where it belongs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from server import door
from server.addresses import Addresses
from tests.server.edge import Edge, Raw, edge_on, raw_to, upgrade
from tests.server.fakes import DEADLINE
from tests.stores import Stores

# A ping request in one masked text frame, with a mask of zeros.
_PING = b'{"type":"ping","id":1}'
FRAME = bytes((0x81, 0x80 | len(_PING))) + b"\0\0\0\0" + _PING


@pytest.fixture
async def edge(stores: Stores, database_url: str) -> AsyncIterator[Edge]:
    async with edge_on(stores, database_url, origins=("https://friend.example",)) as found:
        yield found


async def next_message(raw: Raw) -> dict[str, object]:
    async with asyncio.timeout(10):
        head = await raw.reader.readexactly(2)
        length = head[1]
        if length == 126:
            length = int.from_bytes(await raw.reader.readexactly(2), "big")
        assert head[0] == 0x81
        message: dict[str, object] = json.loads(await raw.reader.readexactly(length))
    return message


async def test_handshake_opens_a_socket(edge: Edge) -> None:
    async with raw_to(edge) as raw:
        raw.send(*upgrade(edge))
        answer = await raw.answer()
        assert answer.status == 101
        assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, 1.3
        assert "sec-websocket-protocol" not in answer.headers
        assert (await next_message(raw))["type"] == "welcome"


async def test_handshake_may_come_in_pieces(edge: Edge) -> None:
    async with raw_to(edge) as raw:
        head = "\r\n".join((*upgrade(edge), "", "")).encode()
        for index in range(len(head)):
            raw.writer.write(head[index : index + 1])
            await raw.writer.drain()
            await asyncio.sleep(0)
        assert (await raw.answer()).status == 101


async def test_what_follows_the_head_at_once_is_not_lost(edge: Edge) -> None:
    async with raw_to(edge) as raw:
        raw.writer.write("\r\n".join((*upgrade(edge), "", "")).encode() + FRAME)
        assert (await raw.answer()).status == 101
        assert (await next_message(raw))["type"] == "welcome"
        assert (await next_message(raw))["type"] == "pong"


async def test_what_follows_while_the_token_is_looked_up_is_not_lost(edge: Edge) -> None:
    async with raw_to(edge) as registering:
        body = json.dumps({"email": "ada@example.test", "username": "Ada", "password": "correct horse"})
        registering.send(
            "POST /register HTTP/1.1", f"Host: {edge.netloc}", "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )  # fmt: skip
        registering.writer.write(body.encode())
        assert (await registering.answer()).status == 201
        body = json.dumps({"email": "ada@example.test", "password": "correct horse"})
        registering.send(
            "POST /login HTTP/1.1", f"Host: {edge.netloc}", "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )  # fmt: skip
        registering.writer.write(body.encode())
        token = json.loads((await registering.answer()).body)["token"]
    async with raw_to(edge) as raw:
        raw.writer.write("\r\n".join((*upgrade(edge, f"Authorization: Bearer {token}"), "", "")).encode())
        for byte in FRAME:
            raw.writer.write(bytes((byte,)))
            await asyncio.sleep(0)
        assert (await raw.answer()).status == 101
        welcome = await next_message(raw)
        assert welcome["type"] == "welcome"
        assert isinstance(welcome["data"], dict)
        assert welcome["data"]["role"] == "player"
        assert (await next_message(raw))["type"] == "pong"


async def test_path_may_carry_a_query(edge: Edge) -> None:
    async with raw_to(edge) as raw:
        raw.send(*upgrade(edge, path="/ws?from=poster"))
        assert (await raw.answer()).status == 101


async def test_head_for_http_goes_to_http_piece_by_piece_too(edge: Edge) -> None:
    async with raw_to(edge) as raw:
        for byte in f"GET /healthz HTTP/1.1\r\nHost: {edge.netloc}\r\n\r\n".encode():
            raw.writer.write(bytes((byte,)))
            await asyncio.sleep(0)
        answer = await raw.answer()
        assert (answer.status, json.loads(answer.body)) == (200, {"status": "live"})
        # The same connection goes on as HTTP, and cannot become a socket any more.
        raw.send(*upgrade(edge))
        answer = await raw.answer()
        assert (answer.status, json.loads(answer.body)["code"]) == (426, "upgrade_required")


async def test_request_for_the_socket_that_is_no_handshake_is_told_what_to_do(edge: Edge) -> None:
    plain = ("GET /ws HTTP/1.1", f"Host: {edge.netloc}")
    for lines in (plain, (*plain, "Upgrade: h2c", "Connection: Upgrade"), upgrade(edge, version="1.0")):
        async with raw_to(edge) as raw:
            raw.send(*lines)
            answer = await raw.answer()
            assert (answer.status, json.loads(answer.body)["code"]) == (426, "upgrade_required")
            assert answer.headers["upgrade"] == "websocket"


async def test_handshake_at_another_address_is_none(edge: Edge) -> None:
    for path, method, status, code in (
        ("/wsx", "GET", 404, "not_found"),
        ("/api/ws", "GET", 404, "not_found"),
        ("/ws", "POST", 405, "method_not_allowed"),
    ):
        async with raw_to(edge) as raw:
            raw.send(*upgrade(edge, path=path, method=method))
            answer = await raw.answer()
            assert (answer.status, json.loads(answer.body)["code"]) == (status, code)


async def test_incomplete_handshake_is_refused_as_http(edge: Edge) -> None:
    for dropped in ("Sec-WebSocket-Key", "Sec-WebSocket-Version", "Connection"):
        async with raw_to(edge) as raw:
            raw.send(*(line for line in upgrade(edge) if not line.startswith(dropped)))
            answer = await raw.answer()
            assert answer.status in (400, 426)
            assert await raw.rest() == b""


async def test_head_that_is_not_http_is_refused(edge: Edge) -> None:
    for line in ("no colon in this one", "Na me: x", ": x"):
        async with raw_to(edge) as raw:
            raw.send(*upgrade(edge, line))
            answer = await raw.answer()
            assert answer.status == 400
            assert json.loads(answer.body)["code"] == "malformed"
            assert await raw.rest() == b""


async def test_bad_token_is_refused_in_the_handshake(edge: Edge) -> None:
    for value in ("Bearer nonsense", "Basic YTpi", "Bearer", ""):
        async with raw_to(edge) as raw:
            raw.send(*upgrade(edge, f"Authorization: {value}"))
            answer = await raw.answer()
            assert answer.status == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            body = json.loads(answer.body)
            assert (body["code"], set(body)) == ("unauthenticated", {"error", "code", "payload"})
            assert await raw.rest() == b""


async def test_header_that_is_there_twice_is_refused(edge: Edge) -> None:
    for header in ("Origin: https://friend.example", "Authorization: Bearer x", "Host: elsewhere.example"):
        async with raw_to(edge) as raw:
            raw.send(*upgrade(edge, header, header))
            assert (await raw.answer()).status == 400
            assert await raw.rest() == b""


async def test_page_of_another_host_is_refused_before_its_token_is_looked_at(edge: Edge) -> None:
    for origin in ("https://evil.example", "null", "", f"http://{edge.netloc}.evil.example"):
        async with raw_to(edge) as raw:
            raw.send(*upgrade(edge, f"Origin: {origin}", "Authorization: Bearer nonsense"))
            answer = await raw.answer()
            assert (answer.status, json.loads(answer.body)["code"]) == (403, "origin_not_allowed")


async def test_pages_of_our_own_host_and_named_ones_are_let_in(edge: Edge) -> None:
    for origin in (f"http://{edge.netloc}", f"https://{edge.netloc}", "https://friend.example"):
        async with raw_to(edge) as raw:
            raw.send(*upgrade(edge, f"Origin: {origin}"))
            assert (await raw.answer()).status == 101


async def test_subprotocols_are_chosen_by_the_contract(edge: Edge) -> None:
    for offered, selected in (
        ("braingame.v1", "braingame.v1"),
        ("braingame.v9, braingame.v1", "braingame.v1"),
    ):
        async with raw_to(edge) as raw:
            raw.send(*upgrade(edge, f"Sec-WebSocket-Protocol: {offered}"))
            answer = await raw.answer()
            assert (answer.status, answer.headers["sec-websocket-protocol"]) == (101, selected)
    async with raw_to(edge) as raw:
        raw.send(*upgrade(edge, "Sec-WebSocket-Protocol: braingame.v9, chat"))
        assert (await raw.answer()).status == 400
        assert await raw.rest() == b""


async def test_compression_is_declined(edge: Edge) -> None:
    async with raw_to(edge) as raw:
        raw.send(*upgrade(edge, "Sec-WebSocket-Extensions: permessage-deflate"))
        answer = await raw.answer()
        assert answer.status == 101
        assert "sec-websocket-extensions" not in answer.headers


async def test_head_that_does_not_end_is_refused(edge: Edge) -> None:
    for lines in (upgrade(edge), ("GET /healthz HTTP/1.1", f"Host: {edge.netloc}")):
        async with raw_to(edge) as raw:
            head = "\r\n".join(lines).encode() + b"\r\nX-Long: " + b"x" * (2 * door.MAX_HEAD_BYTES)
            raw.writer.write(head)
            assert (await raw.answer()).status in (400, 431)
            assert await raw.rest() == b""
    async with raw_to(edge) as raw:
        raw.writer.write(b"G" * (2 * door.MAX_HEAD_BYTES))
        assert (await raw.answer()).status in (400, 414, 431)


async def test_who_says_nothing_is_shown_out(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "HEAD_SECONDS", 0.05)
    async with edge_on(stores, database_url) as edge:
        for said in (b"", b"GET", b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n"):
            async with raw_to(edge) as raw:
                raw.writer.write(said)
                assert await raw.rest() == b""


async def test_who_leaves_in_the_doorway_leaves_nothing_behind(edge: Edge) -> None:
    for said in (b"", b"GET /ws", "\r\n".join((*upgrade(edge, "Authorization: Bearer x"), "", "")).encode()):
        async with raw_to(edge) as raw:
            raw.writer.write(said)
            await raw.writer.drain()
    async with raw_to(edge) as raw:
        raw.send(*upgrade(edge))
        assert (await raw.answer()).status == 101


async def test_much_behind_the_head_is_not_taken_in_before_the_door_is_open(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that may not come in cannot fill our memory while its token is looked up."""
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_self: door.Door, _request: object) -> tuple[None, None]:
        entered.set()
        await go_on.wait()
        return None, None

    doors: list[door.Door] = []
    real = door.Door.connection_made

    def connection_made(self: door.Door, transport: asyncio.BaseTransport) -> None:
        doors.append(self)
        real(self, transport)

    monkeypatch.setattr(door.Door, "_identify", slow)
    monkeypatch.setattr(door.Door, "connection_made", connection_made)
    async with edge_on(stores, database_url) as edge, raw_to(edge) as raw:
        raw.writer.write("\r\n".join((*upgrade(edge), "", "")).encode())
        await entered.wait()
        flood = asyncio.create_task(_flood(raw))
        for _ in range(200):
            await asyncio.sleep(0.001)
        held = len(doors[0]._head)
        flood.cancel()
        go_on.set()
        assert held < 2**20


async def _flood(raw: Raw) -> None:
    while True:
        raw.writer.write(b"x" * 65536)
        await raw.writer.drain()


# Who has enough connections

BEHIND_A_PROXY: dict[str, Any] = {"trusted_proxies": "127.0.0.1", "sockets_per_address": 2}


async def test_address_with_enough_sockets_is_refused_in_the_handshake(stores: Stores, database_url: str) -> None:
    async with edge_on(stores, database_url, **BEHIND_A_PROXY) as edge, AsyncExitStack() as stack:
        inside = [await stack.enter_async_context(raw_to(edge)) for _ in range(2)]
        for raw in inside:
            raw.send(*upgrade(edge, "X-Forwarded-For: 198.51.100.1"))
            assert (await raw.answer()).status == 101
        for header in ("X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 1.2.3.4, 198.51.100.1"):
            async with raw_to(edge) as raw:
                raw.send(*upgrade(edge, header))
                answer = await raw.answer()
                assert (answer.status, json.loads(answer.body)["code"]) == (429, "rate_limited")
                assert int(answer.headers["retry-after"]) > 0
                assert json.loads(answer.body)["payload"]["retryAfterMs"] > 0
                assert await raw.rest() == b""
        for header in ("X-Forwarded-For: 198.51.100.2", "Forwarded: for=198.51.100.3"):
            async with raw_to(edge) as raw:
                raw.send(*upgrade(edge, header))
                assert (await raw.answer()).status == 101
        inside[0].writer.transport.abort()

        async def again() -> bool:
            async with raw_to(edge) as raw:
                raw.send(*upgrade(edge, "X-Forwarded-For: 198.51.100.1"))
                return (await raw.answer()).status == 101

        async with asyncio.timeout(DEADLINE):
            while not await again():
                await asyncio.sleep(0)


async def test_header_of_somebody_who_is_no_trusted_proxy_changes_nothing(stores: Stores, database_url: str) -> None:
    settings: dict[str, Any] = {"sockets_per_address": 1, "trusted_proxies": "192.0.2.1"}
    async with edge_on(stores, database_url, **settings) as edge, AsyncExitStack() as stack:
        for _ in range(3):
            raw = await stack.enter_async_context(raw_to(edge))
            raw.send(*upgrade(edge, "X-Forwarded-For: 198.51.100.1"))
            assert (await raw.answer()).status == 101


async def test_direct_address_with_enough_connections_is_refused_on_http_too(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if these clients did not come from this machine.
    monkeypatch.setattr(Addresses, "of_peer", lambda _self, _peername: "203.0.113.7")
    async with edge_on(stores, database_url, sockets_per_address=2) as edge, AsyncExitStack() as stack:
        for _ in range(2):
            raw = await stack.enter_async_context(raw_to(edge))
            raw.send("GET /healthz HTTP/1.1", f"Host: {edge.netloc}")
            assert (await raw.answer()).status == 200
        for lines in (("GET /healthz HTTP/1.1", f"Host: {edge.netloc}"), upgrade(edge)):
            async with raw_to(edge) as raw:
                raw.send(*lines)
                answer = await raw.answer()
                assert (answer.status, json.loads(answer.body)["code"]) == (429, "rate_limited")


async def test_full_doorway_drops_who_comes_and_leaves_the_others_alone(stores: Stores, database_url: str) -> None:
    async with edge_on(stores, database_url, doorway_connections=2) as edge, AsyncExitStack() as stack:
        inside = await stack.enter_async_context(raw_to(edge))
        inside.send(*upgrade(edge))
        assert (await inside.answer()).status == 101
        assert (await next_message(inside))["type"] == "welcome"
        slow = [await stack.enter_async_context(raw_to(edge)) for _ in range(2)]
        for raw in slow:
            raw.writer.write(b"GET /ws HT")
        dropped = await stack.enter_async_context(raw_to(edge))
        assert await dropped.rest() == b""
        inside.writer.write(FRAME)
        assert (await next_message(inside))["type"] == "pong"
        for raw in slow:
            raw.writer.write("\r\n".join((*upgrade(edge), "", "")).encode()[len(b"GET /ws HT") :])
            assert (await raw.answer()).status == 101


async def test_limits_that_are_off_refuse_nobody(stores: Stores, database_url: str) -> None:
    async with edge_on(stores, database_url, **BEHIND_A_PROXY, limits=False) as edge, AsyncExitStack() as stack:
        for _ in range(5):
            raw = await stack.enter_async_context(raw_to(edge))
            raw.send(*upgrade(edge, "X-Forwarded-For: 198.51.100.1"))
            assert (await raw.answer()).status == 101
