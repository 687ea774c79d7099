"""Clients that do wrong: each scenario notices, and says what it expected. (Who does right is in tests/client.)"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from conformance.scenarios import SCENARIOS
from conformance.site import Site
from conformance.steps import Pace

#: Short, since a client that does nothing is what several of these wait for.
PACE = Pace(patience=1.0, settle=0.1)

Json = dict[str, Any]


class Socket:
    """A raw client's connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.count = 0

    async def send(self, kind: str, *, id: object = None, **data: Any) -> object:  # noqa: A002
        self.count += 1
        number = f"r{self.count}" if id is None else id
        await self.connection.send(json.dumps({"type": kind, "id": number, "data": data}))
        return number

    async def next(self) -> Json:
        message: Json = json.loads(await self.connection.recv())
        return message

    async def ask(self, kind: str, **data: Any) -> Json:
        """A request and its reply; pushes in between are not looked at."""
        number = await self.send(kind, **data)
        while (message := await self.next()).get("re") != number:
            pass
        return message

    async def push(self, kind: str) -> Json:
        while (message := await self.next())["type"] != kind:
            pass
        return message

    async def lost(self) -> None:
        """Read until the server has closed."""
        with suppress(ConnectionClosed):
            while True:
                await self.next()

    async def enter(self) -> Json:
        reply = await self.ask("auth.register", email="ada@example.test", username="Ada", password="correct horse")
        data: Json = reply["data"]
        return data

    async def begin(self) -> Json:
        tokens = await self.enter()
        await self.ask("session.start", key="the first key")
        return tokens


Connect = Callable[[], Awaitable[Socket]]
Client = Callable[[Connect], Awaitable[None]]


async def nothing(connect: Connect) -> None:
    await connect()
    await asyncio.Event().wait()


async def no_key(connect: Connect) -> None:
    socket = await connect()
    await socket.begin()
    await socket.ask("session.complete", score=120)


async def one_key_for_two(connect: Connect) -> None:
    socket = await connect()
    await socket.begin()
    await socket.ask("session.complete", score=120, key="the first key")


async def unknown_field(connect: Connect) -> None:
    socket = await connect()
    await socket.begin()
    await socket.ask("session.complete", score=120, key="the second key", stage=0)


async def no_json(connect: Connect) -> None:
    socket = await connect()
    await socket.connection.send("nonsense")
    await socket.lost()


async def one_action_more(connect: Connect) -> None:
    socket = await connect()
    await socket.begin()
    for number in range(4):
        await socket.ask("session.complete", score=120, key=f"key number {number}")


async def after_the_cut(connect: Connect, key: str | None) -> None:
    socket = await connect()
    tokens = await socket.begin()
    await socket.send("session.complete", score=120, key="the second key")
    await socket.lost()
    socket = await connect()
    await socket.ask("auth.resume", token=tokens["token"])
    if key is not None:
        await socket.ask("session.complete", score=120, key=key)
    await socket.lost()


async def new_key_after_the_cut(connect: Connect) -> None:
    await after_the_cut(connect, "another key")


async def not_sent_again(connect: Connect) -> None:
    await after_the_cut(connect, None)


async def sent_again(connect: Connect, kind: str, pause: float, key: str) -> None:
    socket = await connect()
    if kind == "session.complete":
        await socket.begin()
    else:
        await socket.enter()
    data = {"score": 120} if kind == "session.complete" else {}
    await socket.ask(kind, key="the second key", **data)
    await asyncio.sleep(pause)
    await socket.ask(kind, key=key, **data)
    await socket.lost()


async def impatient(connect: Connect) -> None:
    await sent_again(connect, "session.complete", 0.0, "the second key")


async def new_key_after_unavailable(connect: Connect) -> None:
    await sent_again(connect, "session.complete", 0.25, "another key")


async def flooding(connect: Connect) -> None:
    await sent_again(connect, "session.start", 0.0, "the second key")


async def deaf_subscriber(connect: Connect) -> None:
    socket = await connect()
    await socket.ask("leaderboard.subscribe")
    await socket.lost()


async def subscriber_who_asks_without_since(connect: Connect) -> None:
    socket = await connect()
    await socket.ask("leaderboard.subscribe")
    await socket.lost()
    socket = await connect()
    await socket.ask("leaderboard.subscribe")
    await socket.lost()


async def subscriber_with_a_wrong_state(connect: Connect) -> None:
    socket = await connect()
    await socket.ask("leaderboard.subscribe")
    while True:
        await socket.push("conformance.report")
        entries = [{"number": 99, "totalScore": 1}]
        await socket.send("conformance.state", board="all-time", entries=entries)


async def back_at_once(connect: Connect) -> None:
    socket = await connect()
    await socket.enter()
    await socket.lost()
    await (await connect()).lost()


async def never_back(connect: Connect) -> None:
    socket = await connect()
    await socket.enter()
    await socket.lost()
    await asyncio.Event().wait()


async def old_refresh_token(connect: Connect) -> None:
    socket = await connect()
    tokens = await socket.enter()
    for _ in range(2):
        await socket.push("auth.expiring")
        await socket.ask("auth.refresh", refreshToken=tokens["refreshToken"])
    await socket.lost()


async def back_with_a_revoked_login(connect: Connect) -> None:
    socket = await connect()
    tokens = await socket.enter()
    await socket.push("auth.expiring")
    await socket.ask("auth.refresh", refreshToken=tokens["refreshToken"])
    await socket.lost()
    await (await connect()).ask("auth.refresh", refreshToken=tokens["refreshToken"])


async def push_taken_for_a_reply(connect: Connect) -> None:
    socket = await connect()
    await socket.begin()
    await socket.send("session.complete", score=120, key="the second key")
    await socket.push("session")
    await socket.ask("session.complete", score=120, key="the third key")


async def frightened(connect: Connect) -> None:
    socket = await connect()
    await socket.enter()
    while (await socket.next())["type"] in ("welcome", "authenticated"):
        pass
    await socket.connection.close()
    await asyncio.Event().wait()


async def one_id_for_two(connect: Connect) -> None:
    socket = await connect()
    for kind in ("ping", "leaderboard.get", "ping"):
        await socket.send(kind, id=1)
    await socket.lost()


async def one_after_the_other(connect: Connect) -> None:
    socket = await connect()
    for _ in range(3):
        await socket.ask("ping")


WRONG: list[tuple[str, Client]] = [
    *((name, nothing) for name in SCENARIOS),
    ("play", no_key),
    ("play", one_key_for_two),
    ("play", unknown_field),
    ("play", no_json),
    ("play", one_action_more),
    ("duplicate", new_key_after_the_cut),
    ("duplicate", not_sent_again),
    ("unavailable", impatient),
    ("unavailable", new_key_after_unavailable),
    ("flood", flooding),
    ("gap", deaf_subscriber),
    ("epoch", deaf_subscriber),
    ("entries-null", deaf_subscriber),
    ("entries-null", subscriber_who_asks_without_since),
    ("gap", subscriber_with_a_wrong_state),
    ("duplicate-delta", subscriber_with_a_wrong_state),
    ("drain", back_at_once),
    ("drain", never_back),
    ("expiry", never_back),
    ("expiry", old_refresh_token),
    ("expired", never_back),
    ("revoked", back_with_a_revoked_login),
    ("slow", push_taken_for_a_reply),
    ("unknown-push", frightened),
    ("order", one_id_for_two),
    ("order", one_after_the_other),
    ("silence", never_back),
]


@asynccontextmanager
async def kit(lines: list[str]) -> AsyncIterator[str]:
    async with Site(SCENARIOS, PACE, lines.append).open("127.0.0.1", 0) as port:
        yield f"127.0.0.1:{port}"


async def verdict_of(address: str, path: str) -> Json:
    """A plain GET, as anybody's test would ask."""
    reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    found: Json = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


@pytest.mark.parametrize(("name", "client"), WRONG, ids=[f"{name}-{client.__name__}" for name, client in WRONG])
async def test_client_that_does_wrong_fails(name: str, client: Client) -> None:
    lines: list[str] = []
    async with kit(lines) as address:
        sockets: list[ClientConnection] = []

        async def connected() -> Socket:
            sockets.append(await connect(f"ws://{address}/{name}/mine/ws", proxy=None))
            return Socket(sockets[-1])

        async def work() -> None:
            with suppress(ConnectionClosed):
                await client(connected)

        working = asyncio.create_task(work())
        async with asyncio.timeout(20):
            verdict = await verdict_of(address, f"/{name}/mine/verdict?wait=15")
        working.cancel()
        await asyncio.wait([working])
        for socket in sockets:
            await socket.close()
    assert verdict["passed"] is False
    *done, failed = verdict["steps"]
    assert all(step["ok"] for step in done)
    assert not failed["ok"]
    assert failed["expected"]
    assert failed["got"]
    assert len(lines) == 1
    assert name in lines[0]
