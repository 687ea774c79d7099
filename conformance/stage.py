"""The connections of one run: what comes from them, and what is sent to them. It follows no script."""

from __future__ import annotations

import asyncio
from collections import deque

from pydantic import ValidationError

from conformance.board import Change
from conformance.checks import Memory, never_right
from conformance.peer import Frame, Inbox, Lost, Offered, Opened, Peer, Request
from conformance.report import StateReport
from conformance.steps import Json
from conformance.world import World
from protocol import codec
from protocol.errors import CloseCode, ErrorCode, RequestError
from protocol.server_messages import (
    Error,
    ErrorData,
    Leaderboard,
    LeaderboardDelta,
    Ok,
    OkData,
    ServerMessageBase,
)


class Failed(Exception):
    """The client did something that is not right; `request` is what it did, where that can still be answered."""

    def __init__(self, got: str, request: Request | None = None) -> None:
        self.got = got
        self.request = request
        super().__init__(got)


class Stage:
    """Who is connected, what was not answered yet, and when the server last said something."""

    def __init__(self, run: str) -> None:
        self.world = World(run)
        self.memory = Memory()
        self.inbox: Inbox = asyncio.Queue()
        self.peers: list[Peer] = []
        self.held: deque[Request] = deque()
        #: The event loop's time in seconds.
        self.spoke_at = 0.0
        self._silent: list[Peer] = []

    @property
    def now(self) -> float:
        """The event loop's time in seconds."""
        return asyncio.get_running_loop().time()

    async def listen(self, until: float | None) -> Request | Opened | Lost | Offered | None:
        """The next thing that a client does; None when it is too late. Raises Failed for what is never right."""
        while True:
            try:
                async with asyncio.timeout_at(until):
                    event = await self.inbox.get()
            except TimeoutError:
                return None
            match event:
                case Opened(peer):
                    self.peers.append(peer)
                    await peer.send(self.world.welcome(peer.visitor))
                case Lost(peer) if peer not in self.peers:
                    continue  # we cut it off
                case Lost(peer):
                    self.peers.remove(peer)
                    self.held = deque(request for request in self.held if request.peer is not peer)
                case Frame(peer) if peer not in self.peers:
                    continue  # it was on its way when we cut it off, or fell silent
                case Frame():
                    return await self._read(event)
            return event

    async def answer(self, request: Request, *, extras: bool = False) -> ServerMessageBase | None:
        """Do what is asked and send the reply; None where one before it is held, since replies keep their order."""
        if any(earlier.peer is request.peer for earlier in self.held):
            self.held.append(request)
            return None
        reply = self.outcome(request)
        await self.reply(request, reply, extras=extras)
        return reply

    def outcome(self, request: Request) -> ServerMessageBase:
        """Do what is asked, without telling."""
        if isinstance(request.message, StateReport):
            return Ok(data=OkData())
        try:
            return self.world.answer(request.message, request.peer.visitor)
        except RequestError as error:
            return Error(data=ErrorData.of(error))

    async def reply(self, request: Request, reply: ServerMessageBase, *, extras: bool = False) -> None:
        """Send a reply with the request's id as it came."""
        self.spoke_at = self.now
        await request.peer.send(reply.model_copy(update={"re": request.message.id}), extras=extras)

    async def release(self, count: int | None = None) -> None:
        """Answer held requests, the oldest first: so many, or all."""
        for _ in range(len(self.held) if count is None else min(count, len(self.held))):
            request = self.held.popleft()
            await self.reply(request, self.outcome(request))

    async def broadcast(self, message: ServerMessageBase | Json, *, extras: bool = False) -> None:
        """Push to every connection."""
        self.spoke_at = self.now
        for peer in self.peers:
            await peer.send(message, extras=extras)

    async def send_delta(self, change: Change) -> None:
        """Push a change to those who follow the board."""
        self.world.board.delivered(change)
        for peer in self.peers:
            for board, limit in peer.visitor.follows.items():
                await peer.send(LeaderboardDelta(data=change.delta(board, limit)))

    async def send_board(self) -> None:
        """Push the whole board to those who follow it."""
        for peer in self.peers:
            for board, limit in peer.visitor.follows.items():
                await peer.send(Leaderboard(data=self.world.board.full(board, limit)))

    async def cut(self, code: int | None) -> None:
        """End every connection: with a close code, or without a word."""
        gone, self.peers = self.peers, []
        self.held.clear()
        # One that does not answer our close must not hold up the others.
        await asyncio.gather(*(peer.cut(code) for peer in gone))

    def fall_silent(self) -> None:
        """Neither read nor write any more on the connections there are."""
        for peer in self.peers:
            peer.fall_silent()
        self._silent += self.peers
        self.peers = []

    async def drop_silent(self) -> None:
        """Let go of the connections that were kept open in silence."""
        gone, self._silent = self._silent, []
        for peer in gone:
            await peer.cut(None)

    async def _read(self, frame: Frame) -> Request:
        if isinstance(frame.content, bytes):
            self.peers.remove(frame.peer)
            await frame.peer.cut(CloseCode.BINARY_FRAME)
            raise Failed("a binary frame; messages are text")
        text = frame.content.encode()
        try:
            request = Request(frame.peer, codec.decode(text), frame.at)
        except codec.UndecodableError as error:
            if error.error.code is ErrorCode.UNKNOWN_TYPE and (report := _report(text)) is not None:
                return Request(frame.peer, report, frame.at)
            await frame.peer.send(Error(re=error.re, data=ErrorData.of(error.error)))
            fields = "".join(f" {field.path}: {field.message};" for field in error.error.fields)
            raise Failed(f"a message that is {error.error.code}:{fields or f' {error.error.message}'}") from None
        if not isinstance(request.message, StateReport):
            problem = never_right(request.message, self.world, self.memory)
            if problem is not None:
                raise Failed(problem, request)
        return request


def _report(text: bytes) -> StateReport | None:
    try:
        return StateReport.model_validate_json(text)
    except ValidationError:
        return None
