"""One connection of a run, as the script deals with it, and what it reports to the script."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from conformance.report import StateReport
from conformance.steps import Json, with_extras
from conformance.world import Visitor
from protocol.client_messages import ClientMessage
from protocol.server_messages import ServerMessageBase


class Peer:
    """A connection, whose it is, and whether we pretend to be dead on it."""

    def __init__(self, connection: ServerConnection, visitor: Visitor) -> None:
        self.visitor = visitor
        self.is_silent = False
        self._connection = connection

    @property
    def close_code(self) -> int | None:
        """How it ended; 1006 for a broken one."""
        return self._connection.close_code

    async def send(self, message: ServerMessageBase | Json, *, extras: bool = False) -> None:
        """One text frame; nothing where we are silent or nobody is there any more."""
        if self.is_silent:
            return
        content = message if isinstance(message, dict) else message.model_dump(mode="json")
        with contextlib.suppress(ConnectionClosed):
            await self._connection.send(json.dumps(with_extras(content) if extras else content))

    async def cut(self, code: int | None) -> None:
        """Close it, or drop it without a word for None."""
        if code is None:
            self._connection.transport.abort()
        else:
            await self._connection.close(code)

    def fall_silent(self) -> None:
        """Read nothing more, so that not even a ping is answered; the connection stays open."""
        self.is_silent = True
        # Below websockets, which would answer pings and the client's close by itself.
        with contextlib.suppress(RuntimeError):  # it is closing anyway
            self._connection.transport.pause_reading()


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection came; `at` is the event loop's time in seconds, here and below."""

    peer: Peer
    at: float


@dataclass(frozen=True, slots=True)
class Frame:
    """It said something."""

    peer: Peer
    content: str | bytes
    at: float


@dataclass(frozen=True, slots=True)
class Lost:
    """It went."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class Offered:
    """A token came in a handshake, whether or not it was let in."""


@dataclass(frozen=True, slots=True)
class Request:
    """A frame that is a valid request."""

    peer: Peer
    message: ClientMessage | StateReport
    at: float


Event = Opened | Frame | Lost | Offered
Inbox = asyncio.Queue[Event]
