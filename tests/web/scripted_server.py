"""A stand-in for the game server: follows docs/protocol.md, and does on command what a real one does rarely."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from aiohttp import WSMsgType, web

ROOT: Final = Path(__file__).parent.parent.parent
WEB: Final = ROOT / "web"
CLIENT: Final = ROOT / "client" / "js"
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
BOARDS: Final = frozenset(
    f"{period}{level}"
    for period in ("all-time", "weekly", "daily")
    for level in ("", *(f":{digit}" for digit in range(10)))
)

Message = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A player's place on a board, named as on the wire."""

    number: int
    username: str
    totalScore: int  # noqa: N815
    passedAllGames: bool = True  # noqa: N815
    achievedAt: str = "2026-11-23T10:00:00.000Z"  # noqa: N815

    def order(self) -> tuple[bool, int, str, int]:
        """The contract's order, best first."""
        return (not self.passedAllGames, -self.totalScore, self.achievedAt, self.number)


def ladder(count: int, first: int = 1) -> list[Entry]:
    """Entries that stand in the order of their numbers."""
    return [Entry(number, f"Player {number}", 10_000 - 100 * number) for number in range(first, first + count)]


@dataclass
class Board:
    """The rows of one board, and where in its history it is."""

    name: str
    epoch: str = "epoch-1"
    version: int = 1
    rows: dict[int, Entry] = field(default_factory=dict)

    def top(self, limit: int) -> list[Entry]:
        """The best rows, in order."""
        return sorted(self.rows.values(), key=Entry.order)[:limit]

    def where(self) -> Message:
        """The fields that every message about this board has."""
        return {"board": self.name, "epoch": self.epoch, "version": self.version, "total": len(self.rows)}

    def snapshot(self, limit: int) -> Message:
        """The data of a `leaderboard` message."""
        rows = enumerate(self.top(limit), start=1)
        return self.where() | {"entries": [asdict(row) | {"position": position} for position, row in rows]}


@dataclass(eq=False)
class Follower:
    """A socket, what carries it, and what it follows: board name to limit."""

    socket: web.WebSocketResponse
    transport: asyncio.WriteTransport
    limits: dict[str, int] = field(default_factory=dict)

    async def send(self, kind: str, data: Message, **envelope: Any) -> None:
        """Send one message, unless the peer has gone."""
        if not self.socket.closed:
            await self.socket.send_str(json.dumps({"type": kind, "data": data} | envelope))


class ScriptedServer:
    """One origin with the pages, the socket, and switches for what may go wrong."""

    def __init__(self) -> None:
        self.port = 0
        self.boards: dict[str, Board] = {}
        #: The data of every `leaderboard.subscribe`, oldest first.
        self.subscriptions: list[Message] = []
        self.pings = 0
        self.connections = 0
        #: Cleared: requests are not answered until it is set again.
        self.answering = asyncio.Event()
        self.answering.set()
        #: Handshakes are refused while this is so.
        self.refusing = False
        #: Errors that answer the next subscriptions instead of a state.
        self.errors: list[Message] = []
        self._followers: set[Follower] = set()

    @property
    def origin(self) -> str:
        """Where its pages are."""
        return f"http://127.0.0.1:{self.port}"

    async def _join_code(self, _request: web.Request) -> web.Response:
        return web.Response(text='<svg xmlns="http://www.w3.org/2000/svg"/>', content_type="image/svg+xml")

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator[ScriptedServer]:
        """Serve on a free port until the block is left."""
        server = cls()
        app = web.Application()
        app.router.add_get("/", server._page("index.html"))
        app.router.add_get("/leaderboard", server._page("leaderboard.html"))
        app.router.add_get("/ws", server._socket)
        app.router.add_get("/qr.svg", server._join_code)
        app.router.add_static("/static", WEB)
        app.router.add_static("/client", CLIENT)
        app.on_response_prepare.append(server._add_headers)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.port = runner.addresses[0][1]
        try:
            yield server
        finally:
            server.answering.set()
            await server.drop()
            await runner.cleanup()

    def board(self, name: str = "all-time") -> Board:
        """The board of that name."""
        assert name in BOARDS
        return self.boards.setdefault(name, Board(name))

    # What a test makes happen

    def fill(self, *entries: Entry, board: str = "all-time") -> None:
        """Say who is on a board, without telling anybody."""
        self.board(board).rows = {entry.number: entry for entry in entries}

    async def change(
        self, upserts: Iterable[Entry] = (), removals: Iterable[int] = (), board: str = "all-time", *, told: bool = True
    ) -> None:
        """Change a board by one version. Not `told`, the delta is lost on its way to everybody."""
        changed = self.board(board)
        before = replace(changed, rows=dict(changed.rows))
        for number in removals:
            changed.rows.pop(number, None)
        changed.rows.update({entry.number: entry for entry in upserts})
        changed.version += 1
        if told:
            for follower in list(self._followers):
                if board in follower.limits:
                    await follower.send("leaderboard.delta", _delta(before, changed, follower.limits[board]))

    async def push(self, kind: str, data: Message) -> None:
        """Send a push to every socket."""
        for follower in list(self._followers):
            await follower.send(kind, data)

    async def drop(self) -> None:
        """Cut every socket without a closing handshake."""
        for follower in list(self._followers):
            follower.transport.abort()
        await asyncio.sleep(0)

    async def drain(self, reconnect_after_ms: int) -> None:
        """Stop as a server that is restarted does: say when to come back, then close."""
        await self.push("server.draining", {"reconnectAfterMs": reconnect_after_ms})
        for follower in list(self._followers):
            await follower.socket.close(code=1001)

    # What it serves

    def _page(self, name: str) -> Any:
        async def serve(_request: web.Request) -> web.StreamResponse:
            return web.FileResponse(WEB / name)

        return serve

    async def _add_headers(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(HEADERS)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        if self.refusing:
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse(protocols=["braingame.v1"])
        await socket.prepare(request)
        assert isinstance(request.transport, asyncio.WriteTransport)
        follower = Follower(socket, request.transport)
        self._followers.add(follower)
        try:
            welcome = {"protocol": 1, "server": "scripted", "connectionId": "c", "role": "spectator", "user": None}
            await follower.send("welcome", welcome | {"session": None, "limits": {}, "later": "unknown to the page"})
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self.answering.wait()
                    await self._answer(follower, json.loads(message.data))
        finally:
            self._followers.discard(follower)
        return socket

    async def _answer(self, follower: Follower, request: Message) -> None:
        data = request.get("data", {})
        if request["type"] == "ping":
            self.pings += 1
            await follower.send("pong", {"serverTime": "2026-11-23T10:00:00.000Z"}, re=request["id"])
        elif request["type"] == "leaderboard.subscribe":
            self.subscriptions.append(data)
            await self._subscribe(follower, request["id"], data)
        else:
            raise AssertionError(f"the page sent {request}")

    async def _subscribe(self, follower: Follower, request_id: int | str, data: Message) -> None:
        name, limit = data.get("board", "all-time"), data.get("limit", 10)
        if self.errors:
            await follower.send("error", self.errors.pop(0), re=request_id)
        elif name not in BOARDS:
            error = {"code": "unknown_board", "message": "There is no board of this name.", "retryable": False}
            await follower.send("error", error, re=request_id)
        else:
            board = self.board(name)
            follower.limits[name] = limit
            held = data.get("since") == {"epoch": board.epoch, "version": board.version}
            state = board.where() | {"entries": None} if held else board.snapshot(limit)
            await follower.send("leaderboard", state, re=request_id)


def _delta(before: Board, after: Board, limit: int) -> Message:
    old = {entry.number: entry for entry in before.top(limit)}
    new = {entry.number: entry for entry in after.top(limit)}
    return after.where() | {
        "from": before.version,
        "upserts": [asdict(entry) for number, entry in new.items() if old.get(number) != entry],
        "removals": [number for number in old if number not in new],
        "later": "unknown to the page",
    }
