"""One connection to the server that comes back by itself, and the requests on it."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidURI, WebSocketException
from websockets.typing import Subprotocol

from client.backoff import pause_after_close
from client.errors import ConnectionLost, RequestRefused

SUBPROTOCOL: Final = Subprotocol("braingame.v1")
#: Seconds for a handshake and the welcome behind it.
OPEN_SECONDS: Final = 10.0
#: Seconds between pings, and for the pong to come: a dead connection is noticed after twice as long.
PING_SECONDS: Final = 20.0
#: A connection that lived so long was a good one: the next try may follow soon.
STEADY_SECONDS: Final = 10.0

Message = Mapping[str, Any]


class Listener(Protocol):
    """Whose link it is."""

    async def came_up(self) -> None:
        """There is a new connection: show who we are, ask for what is followed."""

    def went_down(self, code: int | None) -> None:
        """The connection is lost; None when it went without a word."""

    def pushed(self, message: Message) -> None:
        """A message that nobody asked for."""


class Link:
    """Its owner runs `run` as a task, and ends it by cancelling."""

    def __init__(
        self,
        url: str,
        listener: Listener,
        *,
        draw: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.welcome: Message | None = None
        self._url = url
        self._listener = listener
        self._draw = draw
        self._sleep = sleep
        self._socket: ClientConnection | None = None
        self._waiting: dict[int, tuple[asyncio.Future[Message], Callable[[Message], None] | None]] = {}
        self._ids = itertools.count(1)
        self._reconnect_after: float | None = None

    @property
    def connected(self) -> bool:
        """Whether a request can be sent. A server that drains does not begin one."""
        return self._socket is not None and self._reconnect_after is None

    async def request(
        self, kind: str, data: Mapping[str, Any], at_once: Callable[[Message], None] | None = None
    ) -> Message:
        """Send on the connection that is there; the data of the reply. Raises RequestRefused or ConnectionLost.

        `at_once` is given the data before the next message is looked at: whoever waits here goes on only later.
        """
        socket = self._socket
        if socket is None or self._reconnect_after is not None:
            raise ConnectionLost(sent=False)
        number = next(self._ids)
        reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (reply, at_once)
        try:
            with suppress(ConnectionClosed):  # the reader notices too, and tells everybody who waits
                await socket.send(json.dumps({"type": kind, "id": number, "data": data}))
            message = await reply
        finally:
            self._waiting.pop(number, None)
        if message["type"] == "error":
            raise RequestRefused(message["data"])
        answer: Message = message["data"]
        return answer

    async def run(self) -> None:
        """Connect, and connect again, until cancelled. Raises ValueError for a URL that is none."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            code = await self._connection()
            failures = 0 if loop.time() - begun >= STEADY_SECONDS else failures + 1
            told, self._reconnect_after = self._reconnect_after, None
            self._listener.went_down(code)
            pause = pause_after_close(code, failures - 1 if failures else 0, self._draw())
            await self._sleep(pause if told is None else told)

    async def _connection(self) -> int | None:
        """One connection from its handshake to its end; the code that it was closed with."""
        coming: asyncio.Task[None] | None = None
        try:
            async with connect(
                self._url,
                subprotocols=[SUBPROTOCOL],
                open_timeout=OPEN_SECONDS,
                ping_interval=PING_SECONDS,
                ping_timeout=PING_SECONDS,
                close_timeout=1,
                max_size=None,
            ) as socket:
                async with asyncio.timeout(OPEN_SECONDS):
                    welcome = json.loads(await socket.recv())
                self.welcome = welcome["data"]
                self._socket = socket
                # Beside the reading, because it waits for answers.
                coming = asyncio.create_task(self._listener.came_up())
                async for text in socket:
                    self._take(json.loads(text))
        except InvalidURI as error:
            raise ValueError(str(error)) from None
        except (ConnectionClosed, InvalidHandshake, InvalidMessage, WebSocketException, OSError, TimeoutError):
            pass
        except (ValueError, KeyError, TypeError):
            pass  # Whoever speaks there does not speak our protocol.
        finally:
            socket_was, self._socket = self._socket, None
            if coming is not None:
                coming.cancel()
                await asyncio.wait([coming])
            for reply, _ in self._waiting.values():
                if not reply.done():
                    reply.set_exception(ConnectionLost(sent=True))
        return None if socket_was is None else socket_was.close_code

    def _take(self, message: Message) -> None:
        re = message.get("re")
        if re is not None:
            reply, at_once = self._waiting.get(re, (None, None))
            if reply is not None and not reply.done():
                reply.set_result(message)
                if at_once is not None and message["type"] != "error":
                    at_once(message["data"])
        elif message["type"] == "server.draining":
            self._reconnect_after = message["data"]["reconnectAfterMs"] / 1000
        else:
            self._listener.pushed(message)
