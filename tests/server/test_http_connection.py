"""HTTP by the clock: nobody holds a connection by being slow. From outside, with raw bytes and short times."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from server import http_connection
from tests.server.edge import Edge, Raw, edge_on, raw_to
from tests.server.fakes import DEADLINE
from tests.stores import Stores


@pytest.fixture
async def edge(stores: Stores, database_url: str) -> AsyncIterator[Edge]:
    async with edge_on(stores, database_url) as found:
        yield found


async def drip(raw: Raw, text: bytes) -> None:
    """Send the same bytes again and again, one piece after the other, until the connection is lost."""
    async with asyncio.timeout(DEADLINE):
        with suppress(ConnectionError):
            while True:
                raw.writer.write(text)
                await raw.writer.drain()
                await asyncio.sleep(0.005)


async def test_head_that_drips_is_cut_off(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "HEAD_SECONDS", 0.1)
    async with raw_to(edge) as raw:
        # Behind the first line the connection is aiohttp's, which would read on for ever.
        raw.writer.write(b"GET /healthz HTTP/1.1\r\n")
        await drip(raw, b"X")


async def test_head_that_drips_behind_an_answer_is_cut_off(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_to(edge) as raw:
        raw.send("GET /healthz HTTP/1.1", f"Host: {edge.netloc}")
        assert (await raw.answer()).status == 200
        monkeypatch.setattr(http_connection, "HEAD_SECONDS", 0.1)
        raw.writer.write(b"GET /healthz HTTP/1.1\r\nX-A: ")
        await drip(raw, b"b")


async def test_body_that_drips_is_answered_and_cut_off(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "HEAD_SECONDS", 0.1)
    async with edge_on(stores, database_url, message_seconds=0.1) as edge, raw_to(edge) as raw:
        raw.send(
            "POST /login HTTP/1.1", f"Host: {edge.netloc}", "Content-Type: application/json", "Content-Length: 60000"
        )
        answer = asyncio.create_task(raw.answer())
        await drip(raw, b" ")
        told = await answer
        assert (told.status, json.loads(told.body)["code"]) == (400, "malformed")
        assert told.headers["connection"] == "close"


async def test_connection_that_asks_for_nothing_more_is_closed(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.http.KEEP_ALIVE_SECONDS", 0.1)
    async with edge_on(stores, database_url) as edge, raw_to(edge) as raw:
        raw.send("GET /healthz HTTP/1.1", f"Host: {edge.netloc}")
        assert (await raw.answer()).status == 200
        assert await raw.rest() == b""


async def test_client_that_reads_no_answer_is_dropped(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "STUCK_SECONDS", 0.1)
    async with raw_to(edge, room=4096) as raw:
        request = f"GET /openapi.json HTTP/1.1\r\nHost: {edge.netloc}\r\n\r\n".encode()
        await drip(raw, request)


async def test_head_with_too_much_in_it_is_refused(edge: Edge) -> None:
    for lines in (
        [f"X-{number}: x" for number in range(200)],
        ["X: " + "x" * 10_000],
    ):
        async with raw_to(edge) as raw:
            raw.send("GET /healthz HTTP/1.1", f"Host: {edge.netloc}", *lines)
            assert (await raw.answer()).status == 400
            assert await raw.rest() == b""


async def test_slow_answer_is_waited_for(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "HEAD_SECONDS", 0.05)
    async with raw_to(edge) as raw:
        # A body in pieces, further apart than a head may be.
        body = json.dumps({"email": "nobody@example.test", "password": "correct horse"}).encode()
        raw.send(
            "POST /login HTTP/1.1", f"Host: {edge.netloc}", "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )  # fmt: skip
        for byte in body:
            raw.writer.write(bytes((byte,)))
            await asyncio.sleep(0.002)
        assert (await raw.answer()).status == 401
