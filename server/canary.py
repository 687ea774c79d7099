"""Proof that what changes is delivered: again and again a canary flies from this node through Redis to a socket.

It is a notice like those that tell of changed boards, so it takes their way: published, heard by this node's own
subscription, handed to the live boards, which read the board from Redis and send it, through the connection's buffers
and over a real WebSocket, to a client in this process. A health check that asked each part alone would stay green
while they do not work together.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from game.ranking import ALL_TIME
from server.door import Doorman
from server.hub import Hub
from server.live_board import LiveBoards, Subscriber

_LIMIT: Final = 10
#: Seconds between a landing and the next flight.
PAUSE_SECONDS: Final = 2.0
#: How long a flight may take; before the first landing a notice may be published before anybody listens.
FLIGHT_SECONDS: Final = 2.0
FIRST_FLIGHT_SECONDS: Final = 0.25
#: Without a landing for so long, delivery counts as dead: some flights in a row have failed.
PROVEN_SECONDS: Final = 10.0


class Canary:
    """One task, `run`, which the owner starts and cancels."""

    def __init__(
        self,
        doorman: Callable[[Hub], Doorman],
        live: LiveBoards,
        release: Callable[[int], None],
        landed: Callable[[float], None],
    ) -> None:
        """`doorman` lets the canary's own client in, and into a hub that holds nobody else, so that it is neither
        counted nor waited for. `release` sends a number through Redis, which comes back by `heard`; `landed` is told
        how many seconds a flight has taken."""
        self._hub = Hub()
        self._doorman = doorman(self._hub)
        self._live = live
        self._release = release
        self._report = landed
        self._flight = 0
        self._heard = 0
        self._landed = asyncio.Event()
        self._proven_at: float | None = None
        self._proven = asyncio.Event()

    @property
    def proven(self) -> bool:
        """Whether something was delivered a short while ago."""
        return self._proven_at is not None and asyncio.get_running_loop().time() - self._proven_at <= PROVEN_SECONDS

    async def first_landing(self) -> None:
        """Returns when the first canary has landed."""
        await self._proven.wait()

    def heard(self, flight: int) -> None:
        """A canary has come back from Redis."""
        if flight == self._flight:
            self._heard = flight
            for member in self._hub:
                self._live.refresh(cast("Subscriber", member), ALL_TIME, _LIMIT)

    async def run(self) -> None:
        """Fly, until cancelled; after a lost connection with a new one."""
        while True:
            with suppress(OSError, WebSocketException, TimeoutError):
                await self._with_a_socket()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _with_a_socket(self) -> None:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(self._doorman, theirs)
        async with connect("ws://canary/ws", sock=ours, proxy=None, compression=None, max_size=None) as client:
            data = {"board": ALL_TIME.name, "limit": _LIMIT}
            await client.send(json.dumps({"type": "leaderboard.subscribe", "id": 1, "data": data}))
            flying = asyncio.create_task(self._fly())
            try:
                await self._watch(client)
            finally:
                flying.cancel()

    async def _watch(self, client: ClientConnection) -> None:
        async for text in client:
            message = json.loads(text)
            if message["type"] == "error":
                return  # Redis did not answer; on the next connection perhaps.
            # What the board is sent for other reasons, before this flight was heard, proves nothing of it.
            if message["type"] == "leaderboard" and "re" not in message and self._heard == self._flight:
                self._landed.set()

    async def _fly(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._flight += 1
            self._landed.clear()
            released = loop.time()
            self._release(self._flight)
            try:
                async with asyncio.timeout(FLIGHT_SECONDS if self._proven.is_set() else FIRST_FLIGHT_SECONDS):
                    await self._landed.wait()
            except TimeoutError:
                continue
            self._proven_at = loop.time()
            self._proven.set()
            self._report(self._proven_at - released)
            await asyncio.sleep(PAUSE_SECONDS)
