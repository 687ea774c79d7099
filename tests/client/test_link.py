"""One connection that comes back by itself."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from client.errors import ConnectionLost, RequestRefused
from client.link import Link, Message
from tests.client.scripted import Talk, scripted


class Listener:
    def __init__(self) -> None:
        self.ups = 0
        self.downs: list[int | None] = []
        self.pushes: list[Any] = []
        self.up = asyncio.Event()

    async def came_up(self) -> None:
        self.ups += 1
        self.up.set()

    def went_down(self, code: int | None) -> None:
        self.downs.append(code)
        self.up.clear()

    def pushed(self, message: Message) -> None:
        self.pushes.append(message)


class Running:
    """A link whose pauses are noted instead of waited for."""

    def __init__(self, url: str) -> None:
        self.listener = Listener()
        self.pauses: list[float] = []
        self.link = Link(url, self.listener, draw=lambda: 1.0, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0.001)

    async def __aenter__(self) -> Running:
        self._task = asyncio.create_task(self.link.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


async def test_replies_find_their_requests_whatever_comes_between() -> None:
    async def serve(talk: Talk) -> None:
        first, second = await talk.next("ping"), await talk.next("user.me")
        await talk.push("unknown.push", anything=1)
        await talk.answer(first, "pong", {"serverTime": "now"})
        await talk.push("session")
        await talk.refuse(second, "unauthenticated")

    async with scripted(serve) as server, Running(server.url) as running:
        await running.listener.up.wait()
        one, other = await asyncio.gather(
            running.link.request("ping", {}), running.link.request("user.me", {}), return_exceptions=True
        )
        assert one == {"serverTime": "now"}
        assert isinstance(other, RequestRefused)
        assert [push["type"] for push in running.listener.pushes] == ["unknown.push", "session"]


async def test_lost_answer_is_told_apart_from_what_was_never_sent() -> None:
    async def cut(talk: Talk) -> None:
        await talk.next("ping")
        talk.socket.transport.abort()

    async with scripted(cut) as server, Running(server.url) as running:
        with pytest.raises(ConnectionLost) as never:
            await running.link.request("ping", {})
        await running.listener.up.wait()
        with pytest.raises(ConnectionLost) as lost:
            await running.link.request("ping", {})
        assert (never.value.sent, lost.value.sent) == (False, True)
        await running.listener.up.wait()
        assert running.listener.ups == 2


async def test_draining_server_gets_no_request_and_is_visited_when_it_says() -> None:
    async def drain(talk: Talk) -> None:
        await talk.push("server.draining", reconnectAfterMs=1250)
        await talk.next("nothing comes")

    async with scripted(drain) as server, Running(server.url) as running:
        await running.listener.up.wait()
        while running.link.connected:
            await asyncio.sleep(0.001)
        with pytest.raises(ConnectionLost):
            await running.link.request("ping", {})
        assert running.listener.ups == 1


async def test_pause_is_what_the_server_has_said() -> None:
    async def drain(talk: Talk) -> None:
        await talk.push("server.draining", reconnectAfterMs=1250)
        await talk.socket.close(1001)

    async with scripted(drain) as server, Running(server.url) as running:
        while running.listener.ups < 2:
            await asyncio.sleep(0.001)
        assert (running.pauses[0], running.listener.downs[0]) == (1.25, 1001)


async def test_pauses_grow_while_nobody_answers() -> None:
    async with Running("ws://127.0.0.1:1/ws") as running:
        while len(running.pauses) < 7:
            await asyncio.sleep(0.001)
        assert running.pauses[:7] == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
        assert set(running.listener.downs) == {None}


async def test_server_that_speaks_something_else_is_left() -> None:
    async def nonsense(talk: Talk) -> None:
        await talk.socket.send("nonsense")

    async with scripted(nonsense, nonsense) as server, Running(server.url) as running:
        while running.listener.ups < 3:
            await asyncio.sleep(0.001)


async def test_url_that_is_none_is_a_mistake_of_the_caller() -> None:
    link = Link("http://127.0.0.1/ws", Listener())
    with pytest.raises(ValueError, match="http"):
        await link.run()
