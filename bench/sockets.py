"""Sockets of a measurement: as cheap as a WebSocket client can be, so that the server is what is measured."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

_MASK: Final = b"\0\0\0\0"
#: A close frame with 1000.
_GOODBYE: Final = bytes((0x88, 0x82)) + _MASK + (1000).to_bytes(2, "big")
_KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="

Result = TypeVar("Result")


def client_frame(message: dict[str, object]) -> bytes:
    """A text frame. The mask is all zeros, which RFC 6455 allows a peer to draw and saves the generator the XOR."""
    payload = json.dumps(message).encode()
    if len(payload) < 126:
        return bytes((0x81, 0x80 | len(payload))) + _MASK + payload
    return bytes((0x81, 0xFE)) + len(payload).to_bytes(2, "big") + _MASK + payload


def handshake(netloc: str, path: str = "/ws", *headers: str) -> bytes:
    """The head that asks for a WebSocket. The key is always the same: nobody looks at the digest of it."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {_KEY}",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Wire(asyncio.Protocol):
    """The client's side of a WebSocket, as far as a measurement needs it: the handshake, and whole messages."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self._buffer = b""
        self._open = False
        self._transport: asyncio.Transport
        #: Of the close frame that the server has sent.
        self.close_code: int | None = None

    def opened(self) -> None:
        """The handshake is through."""

    def refused(self, error: ConnectionError) -> None:
        """The server would not have us, or is gone; told once for each of both."""

    def heard(self, text: bytes) -> None:
        """A text or binary message."""

    def say(self, frame: bytes) -> None:
        """Send a frame as it is."""
        self._transport.write(frame)

    def drop(self) -> None:
        """Vanish."""
        self._transport.abort()

    def goodbye(self) -> None:
        """Begin the closing handshake; the server ends the connection."""
        self._transport.write(_GOODBYE)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the socket."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._head)

    def connection_lost(self, error: Exception | None) -> None:
        """The server is gone, or we are."""
        self.refused(ConnectionError(f"the socket was lost: {error}"))

    def data_received(self, data: bytes) -> None:
        """Take one frame after the other."""
        buffer = self._buffer + data if self._buffer else data
        if not self._open:
            head, found, rest = buffer.partition(b"\r\n\r\n")
            if not found:
                self._buffer = buffer
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.refused(ConnectionError(head.decode()))
                self._transport.abort()
                return
            self._open, buffer = True, rest
            self.opened()
        at = 0
        while (room := len(buffer) - at) >= 2:
            length, start = buffer[at + 1], at + 2
            if length == 126:
                if room < 4:
                    break
                length, start = int.from_bytes(buffer[at + 2 : at + 4]), at + 4
            elif length == 127:
                if room < 10:
                    break
                length, start = int.from_bytes(buffer[at + 2 : at + 10]), at + 10
            if len(buffer) - start < length:
                break
            opcode, at = buffer[at] & 0xF, start + length
            if opcode in (1, 2):
                self.heard(buffer[start:at])
            elif opcode == 9:
                self._transport.write(bytes((0x8A, 0x80 | length)) + _MASK + buffer[start:at])
            elif opcode == 8:
                self.close_code = int.from_bytes(buffer[start : start + 2], "big")
                self._transport.write(_GOODBYE)
        self._buffer = buffer[at:]


class Socket(Wire):
    """A socket of ours. `told` is called with each text that answers no request of this socket."""

    def __init__(self, head: bytes) -> None:
        super().__init__(head)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.told: Callable[[bytes], None] = lambda _text: None
        #: The server's first message.
        self.welcome: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def refused(self, error: ConnectionError) -> None:
        """Whoever waits gets the error."""
        for waiting in (self.welcome, *self._asked.values()):
            if not waiting.done():
                waiting.set_exception(error)
                waiting.exception()

    def heard(self, text: bytes) -> None:
        """A reply, the welcome, or a push."""
        if not self.welcome.done():
            self.welcome.set_result(json.loads(text))
        elif text.startswith(b'{"re":'):
            message = json.loads(text)
            asked = self._asked.pop(message["re"])
            if not asked.done():  # whoever asked may have been cancelled meanwhile
                asked.set_result(message)
        else:
            self.told(text)

    async def ask(self, kind: str, **data: object) -> dict[str, Any]:
        """Send a request; gives the data of its reply, raises RuntimeError for an error."""
        number = len(self._asked) + 1
        while number in self._asked:
            number += 1
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self.say(client_frame({"type": kind, "id": number, "data": data}))
        message = await answer
        if message["type"] == "error":
            raise RuntimeError(message["data"])
        return cast("dict[str, Any]", message["data"])


async def connect(url: str, token: str | None = None) -> Socket:
    """A socket of the server at `url` (http://host:port), a player's where there is a token. Raises ConnectionError."""
    parts = urlsplit(url)
    head = handshake(parts.netloc, "/ws", *([] if token is None else [f"Authorization: Bearer {token}"]))
    loop = asyncio.get_running_loop()
    _, socket = await loop.create_connection(lambda: Socket(head), parts.hostname or "", parts.port or 80)
    await socket.welcome
    return socket


async def register(url: str, count: int) -> list[tuple[Socket, str]]:
    """That many new players, each with a socket and an access token."""
    run = secrets.token_hex(4)

    async def one(index: int) -> tuple[Socket, str]:
        socket = await connect(url)
        name = f"b{run}-{index}"
        reply = await socket.ask("auth.register", email=f"{name}@bench.test", username=name, password="password")
        return socket, reply["token"]

    return await some_at_once([lambda index=index: one(index) for index in range(count)], 50)  # type: ignore[misc]


async def some_at_once(makers: Iterable[Callable[[], Awaitable[Result]]], most: int) -> list[Result]:
    """What they make, in their order, with `most` of them under way at a time."""
    room = asyncio.Semaphore(most)

    async def one(make: Callable[[], Awaitable[Result]]) -> Result:
        async with room:
            return await make()

    return await asyncio.gather(*(one(make) for make in makers))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]
