"""One connection that speaks HTTP: aiohttp reads and answers, and here is looked at the clock.

aiohttp has no limit on how long the head of a request takes, nor on how long a client takes to read an answer; both
hold a connection open for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from aiohttp import web

#: Seconds for a request's head, from its first byte; browsers send it at once.
HEAD_SECONDS: Final = 10.0
#: Seconds that a connection may be idle between two requests: longer than proxies keep theirs (60 s).
KEEP_ALIVE_SECONDS: Final = 75.0
#: Seconds that a client may take to read what is in the buffer.
STUCK_SECONDS: Final = 30.0


class HttpConnection(asyncio.Protocol):
    """Passes everything on to aiohttp's protocol, and drops the connection when a time is over."""

    def __init__(self, inner: asyncio.Protocol, left: Callable[[], None]) -> None:
        """`left` is called when the connection has gone."""
        self._inner = inner
        self._left = left
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self._answering = False

    @classmethod
    def of(cls, request: web.Request) -> HttpConnection | None:
        """The connection of a request; None when it has gone."""
        protocol = None if request.transport is None else request.transport.get_protocol()
        return protocol if isinstance(protocol, cls) else None

    def begin(self) -> None:
        """A request's head is complete."""
        self._answering = True
        self._stop_timer()

    def end(self) -> None:
        """It is answered."""
        self._answering = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        # A cast, since uvloop's transports are none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        self._inner.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._stop_timer()
        if self._stuck is not None:
            self._stuck.cancel()
        self._left()
        self._inner.connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Bytes of a head, or of a body."""
        if not self._answering and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._drop)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """The client has closed its side."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        self._stuck = asyncio.get_running_loop().call_later(STUCK_SECONDS, self._drop)
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        self._inner.resume_writing()

    def _drop(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
