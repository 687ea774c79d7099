"""Each player's own place on the boards that they follow: pushed when it has changed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Protocol

from game.ranking import Board
from protocol.codec import encode
from protocol.server_messages import LeaderboardPlace, LeaderboardPlaceData
from server.board_reader import BoardReader
from storage.boards import Places
from storage.postgres import StoreUnavailable

#: Seconds between two looks. An entry that improves moves everybody below it, so a place changes far more often than
#: somebody can read.
LOOK_SECONDS: Final = 0.25
#: Players that Redis is asked for at once; it does nothing else meanwhile.
ASKED_AT_ONCE: Final = 256


class Follower(Protocol):
    """A player's socket."""

    def push_place(self, payload: bytes) -> bool:
        """Send the message; False when the reader is too slow for it now."""


@dataclass(slots=True)
class _Known:
    number: int
    #: What was sent last, counted from 0.
    position: int | None = None


class OwnPlaces:
    """Tells players where they stand. One task, `run`, which the owner starts and cancels."""

    def __init__(self, reader: BoardReader) -> None:
        self._reader = reader
        self._followers: dict[Board, dict[Follower, _Known]] = {}
        self._marked: set[Board] = set()
        self._some = asyncio.Event()

    def follow(self, follower: Follower, board: Board, number: int) -> None:
        """Tell this socket, from now on, where the player stands on the board: soon, and whenever it has changed."""
        followers = self._followers.setdefault(board, {})
        known = followers.get(follower)
        if known is None or known.number != number:
            followers[follower] = _Known(number)
        self.mark(board)

    def unfollow(self, follower: Follower, board: Board) -> None:
        """Tell this socket no more; nothing happens to one that is told nothing."""
        followers = self._followers.get(board)
        if followers is not None:
            followers.pop(follower, None)
            if not followers:
                del self._followers[board]

    def mark(self, board: Board) -> None:
        """The board has changed, or a slow reader has caught up: look again."""
        if board in self._followers:
            self._marked.add(board)
            self._some.set()

    async def run(self) -> None:
        """Look at what is marked, until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            marked, self._marked = self._marked, set()
            for board in marked:
                try:
                    await self._tell(board)
                except StoreUnavailable:
                    self.mark(board)
            await asyncio.sleep(LOOK_SECONDS)

    async def _tell(self, board: Board) -> None:
        numbers = sorted({known.number for known in self._followers.get(board, {}).values()})
        for start in range(0, len(numbers), ASKED_AT_ONCE):
            asked = numbers[start : start + ASKED_AT_ONCE]
            places = await self._reader.places(board, asked)
            # Looked up again: followers come and go while Redis is asked.
            for follower, known in self._followers.get(board, {}).items():
                if known.number in asked:
                    _tell(follower, known, board, places)


def _tell(follower: Follower, known: _Known, board: Board, places: Places) -> None:
    position = places.positions.get(known.number)
    if position == known.position:
        return
    data = LeaderboardPlaceData(
        board=board.name,
        epoch=places.epoch,
        version=places.version,
        total=places.total,
        position=None if position is None else position + 1,
    )
    if follower.push_place(encode(LeaderboardPlace(data=data))):
        known.position = position
