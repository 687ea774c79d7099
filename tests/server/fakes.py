"""Stand-ins for what a test has to steer: the clock, and sockets. Stores are real (tests/stores.py)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from game.ranking import Board
from protocol.codec import decode_server_message
from protocol.errors import CloseCode
from protocol.server_messages import ServerMessage
from server.auth import Login

#: Seconds after which something that should have happened long ago counts as missing.
DEADLINE = 10.0
#: A Monday, some hours after midnight.
MORNING = datetime(2026, 11, 23, 8, 30, tzinfo=UTC)


class FakeClock:
    """A clock that goes on when it is told to, or by `step` each time it is read."""

    def __init__(self, now: datetime = MORNING, step: timedelta = timedelta(0)) -> None:
        self.now = now
        self.step = step

    def __call__(self) -> datetime:
        now = self.now
        self.now += self.step
        return now

    def advance(self, **parts: float) -> None:
        self.now += timedelta(**parts)


class FakeSocket:
    """A socket as hub, boards and handlers see it; keeps what it is sent."""

    def __init__(self, login: Login | None = None) -> None:
        self.login = login
        self.address: str | None = None
        self.most_followed = 100
        self.pushed: list[ServerMessage] = []
        self.frames: list[bytes] = []
        self.closed: tuple[CloseCode, str] | None = None
        self.following: dict[Board, int] = {}

    @property
    def is_closed(self) -> bool:
        return self.closed is not None

    def push(self, payload: bytes) -> None:
        self.pushed.append(decode_server_message(payload))

    def push_board(self, board: Board, frame: bytes) -> None:
        self.frames.append(frame)

    def push_place(self, payload: bytes) -> bool:
        self.push(payload)
        return True

    def close(self, code: CloseCode, reason: str) -> None:
        self.closed = (code, reason)

    def drain(self) -> None:
        self.closed = (CloseCode.GOING_AWAY, "drained")

    def abort(self) -> None:
        self.closed = (CloseCode.GOING_AWAY, "aborted")

    def become(self, login: Login | None) -> None:
        self.login = login

    def may_follow(self, board: Board) -> bool:
        return board in self.following or len(self.following) < self.most_followed

    def follow(self, board: Board, limit: int) -> None:
        self.following[board] = limit

    def unfollow(self, board: Board) -> None:
        self.following.pop(board, None)


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Wait until the condition holds, looking again and again; fails with `what` after the deadline."""
    deadline = time.monotonic() + DEADLINE
    while True:
        holds = condition()
        if not isinstance(holds, bool):
            holds = await holds
        if holds:
            return
        assert time.monotonic() < deadline, f"not within {DEADLINE:.0f} s: {what}"
        await asyncio.sleep(0.005)


class Running:
    """Coroutines that run until the end of a `with` block, and may not fail before it."""

    def __init__(self, *work: Awaitable[None]) -> None:
        self._work = work

    async def __aenter__(self) -> None:
        self._tasks = [asyncio.ensure_future(work) for work in self._work]

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            # More than once if need be, as server/main.py does: a library may swallow a cancellation.
            while not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=0.2)
            if not task.cancelled():
                await task
