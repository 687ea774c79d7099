"""Somebody at the server, and the record of what came of it."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from bench.sockets import Socket, handshake

#: Seconds for any answer; a longer wait is a failure.
PATIENCE: Final = 15.0
_VARIES: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|Date: [^G]* GMT")
#: Bytes that the kernel holds for somebody who does not read, on our side.
_ROOM: Final = 4096
#: As on a real network, or the kernel would hold megabytes for each stalled reader on the server's side.
_SEGMENT: Final = 1400


class Unexpected(Exception):
    """The server has said something else than the contract says."""


class Unavailable(Exception):
    """`unavailable`: the server had no time for it, or a store none for the server. A client tries again."""


class Tally:
    """What was done and what came of it."""

    def __init__(self) -> None:
        #: Actions that fell due, and those that were answered.
        self.due = self.answered = 0
        #: Answers that were `unavailable`.
        self.unavailable = 0
        #: Anything that was not as the contract says, by what it was.
        self.failures: Counter[str] = Counter()
        #: What the load was made of.
        self.done: Counter[str] = Counter()
        self._seconds: list[float] = []

    def took(self, due: float) -> None:
        """An action was answered that was due then."""
        self.answered += 1
        self._seconds.append(time.perf_counter() - due)

    def latencies(self) -> list[float]:
        """Seconds of the answers since this was asked last."""
        found, self._seconds = self._seconds, []
        return found

    @contextmanager
    def visit(self, what: str) -> Iterator[None]:
        """One visit; what goes wrong in it is written down and ends it."""
        try:
            yield
            self.done[what] += 1
        except Unavailable:
            self.done["given up for unavailable"] += 1
        except (Unexpected, RuntimeError, TimeoutError, OSError, aiohttp.ClientError, ValueError, KeyError) as error:
            said = " ".join(f"{what}: {type(error).__name__} {error}".split())
            # What has an identifier, or the time, in it is one failure all the same.
            self.failures[_VARIES.sub("…", said)[:200]] += 1


class Visitor(Socket):
    """A socket of ours that notices how it ends."""

    def __init__(self, head: bytes, tally: Tally) -> None:
        super().__init__(head)
        self._tally = tally
        loop = asyncio.get_running_loop()
        #: The code of the server's close frame, None without one; done when the connection is.
        self.gone: asyncio.Future[int | None] = loop.create_future()
        #: Pushes that came, of late.
        self.pushes: deque[bytes] = deque(maxlen=20)
        self._pushed = asyncio.Event()
        #: Set by `auth.expiring`.
        self.expiring = False
        self.told = self._take

    def refused(self, error: ConnectionError) -> None:
        """The end."""
        super().refused(error)
        if not self.gone.done():
            self.gone.set_result(self.close_code)

    async def request(self, kind: str, **data: object) -> dict[str, Any]:
        """Send a request; gives its reply's data. Raises Unavailable, RuntimeError for any other error,
        ConnectionError, TimeoutError."""
        if self.gone.done():
            raise ConnectionError(f"the server has closed with {self.gone.result()}")
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.ask(kind, **data)
        except RuntimeError as error:
            if error.args[0]["code"] != "unavailable":
                raise
            self._tally.unavailable += 1
            raise Unavailable(kind) from None

    async def is_refused(self, code: str, kind: str, **data: object) -> None:
        """Send a request that has to be refused with this code. Raises Unexpected."""
        try:
            answer: object = await self.request(kind, **data)
        except RuntimeError as error:
            answer = error.args[0]
            if error.args[0]["code"] == code:
                return
        raise Unexpected(f"{kind} is {answer}, not {code}")

    async def closed_with(self, *codes: int | None, within: float = PATIENCE) -> None:
        """Wait for the end, which has to come with one of these codes. Raises Unexpected, TimeoutError."""
        async with asyncio.timeout(within):
            code = await asyncio.shield(self.gone)
        if code not in codes:
            raise Unexpected(f"closed with {code}, not {codes}")

    async def push(self) -> bytes:
        """Wait for the next one."""
        self.pushes.clear()
        self._pushed.clear()
        async with asyncio.timeout(PATIENCE):
            await self._pushed.wait()
        return self.pushes[-1]

    def stall(self) -> None:
        """Read no more."""
        self._transport.pause_reading()

    def wake(self) -> None:
        """Read again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _take(self, text: bytes) -> None:
        self.pushes.append(text)
        self._pushed.set()
        if text.startswith(b'{"type":"auth.expiring"'):
            self.expiring = True


async def enter(url: str, tally: Tally, token: str | None = None, *, stalls: bool = False) -> Visitor:
    """A socket of the server, with little room for what is not read if it `stalls`. Raises Unavailable,
    ConnectionError, OSError, TimeoutError."""
    parts = urlsplit(url)
    head = handshake(parts.netloc, "/ws", *([] if token is None else [f"Authorization: Bearer {token}"]))
    loop = asyncio.get_running_loop()
    plain = socket.socket()
    try:
        if stalls:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
        plain.setblocking(False)
        await loop.sock_connect(plain, (parts.hostname, parts.port))
    except BaseException:
        plain.close()
        raise
    _, visitor = await loop.create_connection(lambda: Visitor(head, tally), sock=plain)
    try:
        async with asyncio.timeout(PATIENCE):
            await visitor.welcome
    except BaseException as error:
        visitor.drop()
        if str(error).startswith("HTTP/1.1 503"):
            tally.unavailable += 1
            raise Unavailable("handshake") from None
        raise
    return visitor
