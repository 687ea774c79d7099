"""A server that does what a test says, on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from protocol.examples import server_examples

Json = dict[str, Any]


class Talk:
    """One connection, from the server's side."""

    def __init__(self, socket: ServerConnection, number: int) -> None:
        self.socket = socket
        self.number = number

    async def push(self, kind: str, **data: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, "data": data}))

    async def next(self, kind: str | None = None) -> Json:
        """The next request, which has to be of this type."""
        request: Json = json.loads(await self.socket.recv())
        assert kind is None or request["type"] == kind, request
        return request

    async def answer(self, request: Json, kind: str, data: Json) -> None:
        await self.socket.send(json.dumps({"type": kind, "re": request["id"], "data": data, "fromTheFuture": 1}))

    async def refuse(self, request: Json, code: str, **more: Any) -> None:
        await self.answer(request, "error", {"code": code, "message": code, "retryable": False, **more})

    async def log_in(self, request: Json, *, token: str = "t1", refresh: str | None = "r1") -> None:
        """Answer a login, a registration, a resume or a refresh."""
        data = dict(server_examples("authenticated")[0]["data"], token=token, session=None)
        if refresh is None:
            del data["refreshToken"]
        else:
            data["refreshToken"] = refresh
        await self.answer(request, "authenticated", data)

    async def play(self, request: Json, version: int, **more: Any) -> None:
        """Answer a session action."""
        await self.answer(
            request, "session", {**server_examples("session")[0]["data"], "sessionVersion": version, **more}
        )


Script = Callable[[Talk], Awaitable[None]]


class Scripted:
    """The scripts of the connections to come, in order, and what went wrong in them."""

    def __init__(self, scripts: list[Script]) -> None:
        self.scripts = scripts
        self.url = ""
        self.failures: list[BaseException] = []
        self.connections = 0

    async def serve(self, socket: ServerConnection) -> None:
        self.connections += 1
        talk = Talk(socket, self.connections)
        try:
            welcome = server_examples("welcome")[0]["data"]
            await talk.push("welcome", **welcome)
            if self.connections <= len(self.scripts):
                await self.scripts[self.connections - 1](talk)
            await socket.wait_closed()
        except (ConnectionClosed, asyncio.CancelledError):
            pass
        except BaseException as failure:
            self.failures.append(failure)


@asynccontextmanager
async def scripted(*scripts: Script) -> AsyncIterator[Scripted]:
    """The server, until the end of the block."""
    found = Scripted(list(scripts))
    async with serve(found.serve, "127.0.0.1", 0, subprotocols=["braingame.v1"]) as server:  # type: ignore[list-item]
        port = server.sockets[0].getsockname()[1]
        found.url = f"ws://127.0.0.1:{port}/ws"
        yield found
    if found.failures:
        raise found.failures[0]
