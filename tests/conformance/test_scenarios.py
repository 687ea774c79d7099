"""Clients that do wrong: each scenario notices, and says what it expected and what it got.

Who does right is in tests/client, but for the board's followers here: each has one flaw, and without it they pass.
"""

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


class Follower:
    """Follows a board and says what it holds. `flaw`: what it does wrong."""

    def __init__(self, flaw: str | None) -> None:
        self.flaw = flaw
        self.state: tuple[str, int] | None = None
        self.rows: dict[int, Json] = {}
        self.__name__ = f"follower who {flaw or 'does right'}"

    async def __call__(self, connect: Connect) -> None:
        while True:
            with suppress(ConnectionClosed):
                await self.follow(await connect())

    async def follow(self, socket: Socket) -> None:
        await self.subscribe(socket)
        while True:
            message = await socket.next()
            if message["type"] == "leaderboard":
                self.replace(message["data"])
            elif message["type"] == "leaderboard.delta":
                await self.change(socket, message["data"])
            elif message["type"] == "conformance.report":
                entries = sorted(self.rows.values(), key=place)[:10]
                await socket.send("conformance.state", board="all-time", entries=entries)

    async def subscribe(self, socket: Socket) -> None:
        since = {} if self.state is None else {"since": {"epoch": self.state[0], "version": self.state[1]}}
        await socket.send("leaderboard.subscribe", **since)

    def replace(self, data: Json) -> None:
        self.state = data["epoch"], data["version"]
        if data["entries"] is not None:
            self.rows = {entry["number"]: entry for entry in data["entries"]}
        elif self.flaw == "takes null for empty":
            self.rows = {}

    async def change(self, socket: Socket, data: Json) -> None:
        fits = self.state == (data["epoch"], data["from"])
        if self.flaw == "applies what does not fit" or (
            self.flaw == "does not look at the epoch" and self.state is not None and self.state[1] == data["from"]
        ):
            fits = True
        if not fits:
            await self.subscribe(socket)
            return
        self.state = data["epoch"], data["version"]
        kept = {number: row for number, row in self.rows.items() if number not in data["removals"]}
        self.rows = kept | {entry["number"]: entry for entry in data["upserts"]}


def place(entry: Json) -> tuple[bool, int, str, int]:
    return (not entry["passedAllGames"], -entry["totalScore"], entry["achievedAt"], entry["number"])


#: Scenario, client, and a part of what the failing step got.
WRONG: list[tuple[str, Client, str]] = [
    ("play", no_key, "without a key"),
    ("play", one_key_for_two, "the key of an earlier action"),
    ("play", unknown_field, "stage: unknown field"),
    ("play", no_json, "malformed"),
    ("play", one_action_more, "session.complete with the key key number 3"),
    ("duplicate", new_key_after_the_cut, "another key"),
    ("duplicate", not_sent_again, "nothing of the kind"),
    ("unavailable", impatient, "before 200 ms were over"),
    ("unavailable", new_key_after_unavailable, "another key"),
    ("flood", flooding, "before 250 ms were over"),
    ("gap", deaf_subscriber, "nothing of the kind"),
    ("epoch", deaf_subscriber, "nothing of the kind"),
    ("entries-null", deaf_subscriber, "no connection"),
    ("entries-null", subscriber_who_asks_without_since, "without since"),
    ("gap", subscriber_with_a_wrong_state, "[(99, 1)], not [(5, 1250), "),
    ("duplicate-delta", subscriber_with_a_wrong_state, "[(99, 1)], not [(5, 1350), "),
    ("gap", Follower("applies what does not fit"), "nothing of the kind"),
    ("duplicate-delta", Follower("applies what does not fit"), "[(5, 1250), (1, 1200), "),
    ("epoch", Follower("applies what does not fit"), "nothing of the kind"),
    ("epoch", Follower("does not look at the epoch"), "nothing of the kind"),
    ("entries-null", Follower("takes null for empty"), "[(6, 1260)], not [(6, 1260), (5, 1250), "),
    ("drain", back_at_once, "a connection after"),
    ("drain", never_back, "no connection"),
    ("expiry", never_back, "nothing of the kind"),
    ("expiry", old_refresh_token, "used before"),
    ("expired", never_back, "no connection"),
    ("revoked", back_with_a_revoked_login, "auth.refresh"),
    ("slow", push_taken_for_a_reply, "session.complete with the key the third key"),
    ("unknown-push", frightened, "the client closed the connection (1000)"),
    ("order", one_id_for_two, "[1, 1, 1]"),
    ("order", one_after_the_other, "1 of 3 requests"),
    ("silence", never_back, "no connection"),
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


async def outcome(address: str, name: str, client: Client) -> Json:
    """Let a client play a scenario; gives the verdict."""
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
    return verdict


@pytest.mark.parametrize(
    ("name", "client", "got"), WRONG, ids=[f"{name}-{client.__name__}" for name, client, _ in WRONG]
)
async def test_client_that_does_wrong_fails(name: str, client: Client, got: str) -> None:
    lines: list[str] = []
    async with kit(lines) as address:
        verdict = await outcome(address, name, client)
    assert verdict["passed"] is False
    *done, failed = verdict["steps"]
    assert all(step["ok"] for step in done)
    assert not failed["ok"]
    assert failed["expected"]
    assert got in failed["got"]
    assert len(lines) == 1
    assert name in lines[0]


async def test_client_that_does_nothing_fails_everywhere() -> None:
    async with kit([]) as address:
        verdicts = await asyncio.gather(*(outcome(address, name, nothing) for name in SCENARIOS))
    for verdict in verdicts:
        (failed,) = verdict["steps"]
        assert verdict["passed"] is False
        assert "nothing of the kind" in failed["got"]


@pytest.mark.parametrize("name", ["gap", "duplicate-delta", "epoch", "entries-null"])
async def test_follower_without_a_flaw_passes_and_is_asked_what_it_holds(name: str) -> None:
    async with kit([]) as address:
        verdict = await outcome(address, name, Follower(None))
    assert verdict["passed"] is True, verdict["steps"]
    assert any("just this" in step["got"] for step in verdict["steps"])
    assert not any("not told" in step["got"] for step in verdict["steps"])
