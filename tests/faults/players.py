"""Clients of a fault run. They know the contract and write down all that they see; nothing here is the project's own
client, so that every frame is seen."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.faults.checker import PASSING_REFUSALS
from tests.faults.history import History

Json = dict[str, Any]

#: Seconds without a reply after which a client takes its connection for lost.
PATIENCE = 5.0
_PAUSE = 0.05
_LOST = (OSError, TimeoutError, EOFError, ConnectionClosed, InvalidHandshake)
_MOVES = {"start": 2, "complete": 20, "close": 3, "cancel": 1}


class Address(Protocol):
    """Where clients connect to."""

    @property
    def netloc(self) -> str:
        """host:port."""


class Link:
    """One socket of a client, written down frame by frame."""

    def __init__(self, history: History, node: Address, token: str | None, number: int | None) -> None:
        self._history = history
        self._node = node
        self._token = token
        self.number = number
        self.connection = history.new_connection()
        self._socket: ClientConnection
        self._replies: dict[object, asyncio.Future[Json]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._ids = 0
        self.pushes: asyncio.Queue[Json | None] = asyncio.Queue()
        #: Cleared, it does not read: a stalled client.
        self.reads = asyncio.Event()
        self.reads.set()

    def note(self, what: Any, data: Json | None = None) -> None:
        """Write something down."""
        self._history.add(what, self.connection, self._node.netloc, self.number, data)

    async def open(self) -> None:
        """Connect; raises one of _LOST."""
        headers = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
        self.note("connecting")
        async with asyncio.timeout(PATIENCE):
            self._socket = await connect(
                f"ws://{self._node.netloc}/ws",
                additional_headers=headers,
                proxy=None,
                compression=None,
                max_size=None,
                open_timeout=None,
                ping_interval=None,
                close_timeout=0.5,
            )
        self.note("opened")
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        reason = "closed"
        try:
            while True:
                await self.reads.wait()
                message = json.loads(await self._socket.recv())
                self.note("got", message)
                waiting = self._replies.pop(message.get("re"), None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
                elif "re" not in message:
                    self.pushes.put_nowait(message)
        except _LOST as error:
            reason = f"{type(error).__name__}: {error}"
        finally:
            self.note("lost", {"reason": reason})
            for waiting in self._replies.values():
                waiting.cancel()
            self.pushes.put_nowait(None)

    async def ask(self, kind: str, data: Json, patience: float = PATIENCE) -> Json:
        """Send a request and wait for its reply; raises one of _LOST when there is none."""
        self._ids += 1
        request = {"type": kind, "id": self._ids, "data": data}
        waiting: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._replies[self._ids] = waiting
        self.note("sent", request)
        await self._socket.send(json.dumps(request))
        try:
            async with asyncio.timeout(patience):
                return await waiting
        except asyncio.CancelledError:
            if waiting.cancelled():
                raise ConnectionResetError("lost while waiting for a reply") from None
            raise

    async def close(self) -> None:
        """Say goodbye."""
        with suppress(*_LOST):
            await self._socket.close()
        await self._end()

    async def vanish(self) -> None:
        """Go without a close frame."""
        self._socket.transport.abort()
        await self._end()

    async def _end(self) -> None:
        if self._reading is not None:
            self.reads.set()
            self._reading.cancel()
            await asyncio.wait([self._reading])


class Figures:
    """What a run was like, beside whether it was right."""

    def __init__(self) -> None:
        self.unavailable = 0
        self.longest_answer = 0.0
        #: Times of the loop at which an action was acknowledged.
        self.acknowledged: list[float] = []

    def answered(self, seconds: float, *, acknowledged: bool) -> None:
        """A request was answered, after so many seconds."""
        self.longest_answer = max(self.longest_answer, seconds)
        if acknowledged:
            self.acknowledged.append(asyncio.get_running_loop().time())
        else:
            self.unavailable += 1


class Actor:
    """Plays for one player until told to stop: each action is sent until it has an outcome."""

    def __init__(
        self,
        history: History,
        nodes: Sequence[Address],
        token: str,
        number: int,
        draw: random.Random,
        figures: Figures,
        http: aiohttp.ClientSession,
    ) -> None:
        self._history = history
        self._nodes = nodes
        self._token = token
        self.number = number
        self._draw = draw
        self._figures = figures
        self._http = http
        self._link: Link | None = None
        self._stopping = False
        #: Seconds from the last request to its answer.
        self._took = 0.0

    def stop(self) -> None:
        """Finish the action under way, and no other."""
        self._stopping = True

    async def vanish(self) -> None:
        """Lose the connection without a word."""
        if self._link is not None:
            await self._link.vanish()

    async def play(self) -> None:
        """Until stopped."""
        while not self._stopping:
            kind = self._draw.choices(list(_MOVES), list(_MOVES.values()))[0]
            data: Json = {"key": secrets.token_hex(8)}
            if kind == "start":
                data["difficulty"] = self._draw.randint(0, 2)
            elif kind in ("complete", "close"):
                data["score"] = self._draw.randint(0, 50)
            await self._settle(f"session.{kind}", data)
            if self._draw.random() < 0.05:
                await self._look()
        if self._link is not None:
            await self._link.close()

    async def _settle(self, kind: str, data: Json) -> None:
        """Send it until there is an outcome, sometimes twice at once on two connections."""
        twin = None
        if self._draw.random() < 0.05:
            twin = asyncio.create_task(self._try_on_another(kind, data))
        over_http = self._draw.random() < 0.1
        while True:
            with suppress(*_LOST):
                reply = await (self._over_http(kind, data) if over_http else self._over_socket(kind, data))
                passing = reply["type"] == "error" and reply["data"]["code"] in PASSING_REFUSALS
                if passing or reply["type"] == "session":
                    self._figures.answered(self._took, acknowledged=not passing)
                if not passing:
                    break
            await asyncio.sleep(_PAUSE)
        if twin is not None:
            await twin

    async def _over_socket(self, kind: str, data: Json) -> Json:
        link = self._link
        if link is None:
            link = Link(self._history, self._draw.choice(self._nodes), self._token, self.number)
            await link.open()
            self._link = link
        begun = asyncio.get_running_loop().time()
        try:
            return await link.ask(kind, data)
        except _LOST:
            self._link = None
            await link.vanish()
            raise
        finally:
            self._took = asyncio.get_running_loop().time() - begun

    async def _try_on_another(self, kind: str, data: Json) -> None:
        with suppress(*_LOST):
            link = Link(self._history, self._draw.choice(self._nodes), self._token, self.number)
            await link.open()
            with suppress(*_LOST):
                await link.ask(kind, data)
            await link.close()

    async def _over_http(self, kind: str, data: Json) -> Json:
        """The same over HTTP, written down in the form of the socket."""
        node = self._draw.choice(self._nodes)
        connection = self._history.new_connection()
        path = "/api/sessions" if kind == "session.start" else f"/api/sessions/last/{kind.rpartition('.')[2]}"
        body = {name: value for name, value in data.items() if name != "key"}
        headers = {"Authorization": f"Bearer {self._token}", "Idempotency-Key": data["key"]}
        request = {"type": kind, "id": 1, "data": data}
        self._history.add("sent", connection, node.netloc, self.number, request)
        begun = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(PATIENCE):
                async with self._http.post(f"http://{node.netloc}{path}", json=body, headers=headers) as answer:
                    told = await answer.json()
        except aiohttp.ClientError as error:
            raise ConnectionResetError(str(error)) from None
        self._took = asyncio.get_running_loop().time() - begun
        reply = {"type": "session", "re": 1, "data": told}
        if answer.status >= 400:
            retryable = answer.status in (429, 503)
            error_data = {"code": told["code"], "message": told["error"], "retryable": retryable}
            reply = {"type": "error", "re": 1, "data": error_data}
        self._history.add("got", connection, node.netloc, self.number, reply)
        return reply

    async def _look(self) -> None:
        if self._link is not None:
            link = self._link
            try:
                await link.ask("session.last", {})
            except _LOST:
                self._link = None
                await link.vanish()


class Spectator:
    """Follows boards on one node, and comes back to it; applies what it is sent only to know when to subscribe again.
    Whether that was right is for the checker."""

    def __init__(self, history: History, node: Address, boards: Sequence[tuple[str, int]]) -> None:
        self._history = history
        self._node = node
        self._boards = boards
        self.link: Link | None = None
        #: By board: epoch and version that are held now.
        self.held: dict[str, tuple[str, int]] = {}
        self.stale: dict[str, bool] = {}
        self._stopping = False

    async def watch(self) -> None:
        """Until stopped; then the last link is left open, to be ended by `end`."""
        while not self._stopping:
            link = Link(self._history, self._node, None, None)
            with suppress(*_LOST):
                await link.open()
                self.link = link
                for board, limit in self._boards:
                    await self._subscribe(link, board, limit)
                while (push := await link.pushes.get()) is not None:
                    await self._take(link, push)
            if not self._stopping:
                self.held.clear()
                await link.vanish() if link is self.link else None
                self.link = None
                await asyncio.sleep(_PAUSE)

    async def _subscribe(self, link: Link, board: str, limit: int) -> None:
        while True:
            reply = await link.ask("leaderboard.subscribe", {"board": board, "limit": limit})
            if reply["type"] == "leaderboard":
                self.held.setdefault(board, ("", 0))
                self._hold(reply["data"])
                return
            await asyncio.sleep(_PAUSE)

    def _hold(self, data: Json) -> None:
        self.held[data["board"]] = (data["epoch"], data["version"])
        self.stale[data["board"]] = data.get("stale", False)

    async def _take(self, link: Link, push: Json) -> None:
        data = push["data"]
        if push["type"] == "leaderboard":
            self._hold(data)
        elif push["type"] == "leaderboard.stale":
            self.stale[data["board"]] = data["stale"]
        elif push["type"] == "leaderboard.delta":
            self.held[data["board"]] = (data["epoch"], data["version"])

    async def end(self) -> None:
        """Say that what is held now has to be true."""
        self._stopping = True
        assert self.link is not None
        self.link.note("end")
        await self.link.close()
