"""A client for tests of the edge: what `Player` does, and sees that replies come in the order of the requests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.server.edge import Edge
from tests.server_process import Player


class Client(Player):
    """One socket."""

    async def send(self, kind: str, **data: Any) -> int:
        """Send a request without waiting; gives its id."""
        self._ids += 1
        await self.connection.send(json.dumps({"type": kind, "id": self._ids, "data": data}))
        return self._ids

    async def reply(self, to: object) -> dict[str, Any]:
        """The reply to a request, which has to be the next one; pushes in between are kept."""
        while "re" not in (message := await self.receive()) and message["type"] != "error":
            self.pushes.append(message)
        assert message.get("re") == to, message
        return message

    async def error(self, kind: str, **data: Any) -> dict[str, Any]:
        """A request that has to be refused; gives the error's data."""
        reply = await self.ask(kind, **data)
        assert reply["type"] == "error", reply
        answer: dict[str, Any] = reply["data"]
        return answer

    async def closed(self) -> int | None:
        """The code that the server closes the socket with (None: without one); what comes before is kept."""
        try:
            while True:
                self.pushes.append(await self.receive())
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None

    async def register(self, name: str) -> dict[str, Any]:
        """Make an account and log in; gives the tokens and all else of the reply."""
        return await self.do("auth.register", email=f"{name}@example.test", username=name, password="correct horse")


@asynccontextmanager
async def client_to(url: str, token: str | None = None, **more: Any) -> AsyncIterator[Client]:
    """A socket, of a player with a token; its welcome is the first push."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    # A proxy of the machine's is not for a server on the same machine. A queue without an end, since a client that has
    # pushes left to read could not read the server's answer to its close.
    options = {"max_size": None, "max_queue": None, "proxy": None, **more}
    async with connect(url, additional_headers=headers, **options) as connection:
        yield Client(connection)


@asynccontextmanager
async def client_of(edge: Edge, token: str | None = None) -> AsyncIterator[Client]:
    """A socket to the server in this process."""
    async with client_to(edge.ws, token) as client:
        yield client
