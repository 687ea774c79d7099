"""Following one board: its state is always one that the server had."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from client.board_state import BoardState, apply_delta, from_leaderboard
from client.errors import ConnectionLost, RequestRefused
from client.link import Link
from client.values import Place

_RETRY_SECONDS: Final = 1.0
#: These do not get better by asking again.
_FINAL: Final = frozenset({"unknown_board", "invalid"})


class Follower:
    """A board that is kept whole: snapshot, deltas, and a new snapshot where they do not fit."""

    def __init__(
        self, link: Link, board: str, limit: int, spawn: Callable[[Any], object], on_end: Callable[[str], None]
    ) -> None:
        self.board = board
        self.limit = limit
        #: The newest state that is known; None before the first one.
        self.state: BoardState | None = None
        #: Whether `state` is what the server has now.
        self.live = False
        #: Where the player stands; None when that is not known.
        self.place: Place | None = None
        self._link = link
        self._spawn = spawn
        self._on_end = on_end
        self._changed = asyncio.Event()
        self._round = 0
        self._asking = False
        #: The server cannot tell whether its own state is the newest.
        self._stale = False
        self._error: BaseException | None = None
        self._closed = False

    async def __aenter__(self) -> Follower:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[BoardState]:
        """States as they come; who is slow sees the newest one next, not every one. Ends when the follower is closed,
        and raises RequestRefused when there is no such board."""
        seen: BoardState | None = None
        while True:
            if self._error is not None:
                raise self._error
            if self._closed:
                return
            if self.state is None or self.state is seen:
                await self._changed.wait()
                continue
            seen = self.state
            yield seen

    async def changed(self) -> None:
        """Wait for the next change of `state`, `live` or `place`, or for the end."""
        await self._changed.wait()

    async def close(self) -> None:
        """Follow no more."""
        if self._closed:
            return
        self.end(None)
        with suppress(ConnectionLost, RequestRefused):  # nobody listens any more, so it does not matter
            await self._link.request("leaderboard.unsubscribe", {"board": self.board})

    def end(self, error: BaseException | None) -> None:
        """Whoever waits for a state is told that there will be none."""
        self._closed = True
        self.live = False
        self._error = error
        self._on_end(self.board)
        self._tell()

    async def subscribe(self) -> None:
        """Ask for the state; what is held is offered, so that it is not sent again."""
        self._round += 1
        self._asking = True
        this = self._round
        wish: dict[str, Any] = {"board": self.board, "limit": self.limit}
        if self.state is not None:
            wish["since"] = {"epoch": self.state.epoch, "version": self.state.version}

        def hold(answer: Mapping[str, Any]) -> None:
            if this == self._round and not self._closed:
                self._asking = False
                self._replace(answer)

        try:
            # At once: the next push may be a delta to this very state.
            await self._link.request("leaderboard.subscribe", wish, hold)
        except ConnectionLost:
            return  # The next connection subscribes again.
        except RequestRefused as refusal:
            if this == self._round and not self._closed:
                await self._refused(refusal)

    def take(self, kind: str, data: Mapping[str, Any]) -> None:
        """A push that names this board."""
        if kind == "leaderboard.place":
            self.place = Place.of(data)
            self._tell()
        elif self._asking:
            return  # For a state that is gone.
        elif kind == "leaderboard":
            self._replace(data)
        elif kind == "leaderboard.delta" and self.state is not None:
            self._hold(apply_delta(self.state, data, self.limit))
        elif kind == "leaderboard.stale" and self.state is not None:
            self._stale = data["stale"]
            self.live = not self._stale
            self._tell()

    def lose(self) -> None:
        """The connection is gone; what is held may not be what the server has."""
        self._round += 1
        self._asking = False
        self.live = False
        self._tell()

    def _replace(self, data: Mapping[str, Any]) -> None:
        state = from_leaderboard(data, self.state)
        if state is None:
            self.state = None  # not offered again, or the answer would be the same
        self._stale = data.get("stale", False)
        self._hold(state)

    def _hold(self, state: BoardState | None) -> None:
        if state is None:
            self.live = False
            self._asking = True  # what comes before it is asked is for a state that is gone, too
            self._spawn(self.subscribe())
            return
        self.live = not self._stale
        self.state = state
        self._tell()

    async def _refused(self, refusal: RequestRefused) -> None:
        if refusal.code in _FINAL:
            self.end(refusal)
            return
        await asyncio.sleep(_RETRY_SECONDS if refusal.retry_after is None else refusal.retry_after)
        self._spawn(self.subscribe())

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
