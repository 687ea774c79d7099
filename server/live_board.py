"""The boards as people follow them: a change is read once, turned into one delta a limit, and encoded once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Protocol

from game.ranking import Board
from game.standings import Standings, difference
from protocol.client_messages import Since
from protocol.codec import encode
from protocol.server_messages import (
    EntryData,
    Leaderboard,
    LeaderboardData,
    LeaderboardDelta,
    LeaderboardDeltaData,
    LeaderboardStale,
    LeaderboardStaleData,
)
from server.board_reader import BoardReader, Place, leaderboard_data
from server.changes import ChangedLadders
from server.clock import Clock
from server.log import Log
from server.watch import Watch
from storage.postgres import StoreUnavailable

#: The longest top that somebody can follow; the shorter ones are its beginning.
FOLLOWED_ROWS: Final = 100
#: How often to look whether a day or a week has ended.
_PERIOD_CHECK_SECONDS: Final = 0.25


class Subscriber(Protocol):
    """Where a board's frames go."""

    def push_board(self, board: Board, frame: bytes) -> None:
        """Send the frame, or remember that this subscriber has to be sent the board anew."""


@dataclass(slots=True)
class _Live:
    """A board that somebody follows, as it was last sent, and who follows which limit of it."""

    standings: Standings
    groups: dict[int, set[Subscriber]] = field(default_factory=dict)
    #: The full state of a limit as a frame, for those who were too slow for the deltas.
    full: dict[int, bytes] = field(default_factory=dict)


class LiveBoards:
    """Tells subscribers what changes on a board, at most `hertz` times a second.

    All subscribers of one board hold the same version, so each delta fits all of one limit. `frame` makes a frame of a
    message's text. One task, `run`, which the owner starts and cancels.
    """

    def __init__(
        self,
        reader: BoardReader,
        changes: ChangedLadders,
        clock: Clock,
        log: Log,
        *,
        hertz: float,
        frame: Callable[[bytes], bytes],
        changed: Callable[[Board], None] = lambda _board: None,
        handed: Callable[[float], None] = lambda _seconds: None,
        ticked: Callable[[float], None] = lambda _seconds: None,
        watch: Watch | None = None,
    ) -> None:
        """`changed` is told after subscribers were sent another state of a board, `handed` how many seconds after the
        commit of the oldest change in it that was, where this node knows; `ticked` how many seconds a look took that
        boards were due for."""
        self._reader = reader
        self._changes = changes
        self._clock = clock
        self._log = log
        self._interval = 1 / hertz
        self._frame = frame
        self._changed = changed
        self._handed = handed
        self._ticked = ticked
        self._watch = watch
        self._live: dict[Board, _Live] = {}
        self._loading: dict[Board, asyncio.Lock] = {}
        #: Who is sent a board whole at the next look.
        self._refreshing: set[tuple[Subscriber, Board, int]] = set()
        #: Whether subscribers are told that what they hold may be out of date.
        self._stale = False

    async def subscribe(self, subscriber: Subscriber, board: Board, limit: int, since: Since | None) -> LeaderboardData:
        """Follow the first `limit` rows, from the state that is returned on. Raises StoreUnavailable."""
        live = await self._open(board)
        # No await from here to the reply: the next delta builds on the state that the reply carries.
        for group in live.groups.values():
            group.discard(subscriber)
        live.groups.setdefault(limit, set()).add(subscriber)
        standings = live.standings
        held = since is not None and (since.epoch, since.version) == (standings.epoch, standings.version)
        return leaderboard_data(board, standings, None if held else Place(0, limit), stale=self._stale)

    def unsubscribe(self, subscriber: Subscriber, board: Board) -> None:
        """Stop following; nothing happens to one who does not."""
        live = self._live.get(board)
        if live is None:
            return
        for limit in list(live.groups):
            live.groups[limit].discard(subscriber)
            if not live.groups[limit]:
                del live.groups[limit]
        if not live.groups:
            del self._live[board]

    def look_at_all(self) -> None:
        """Changes may have been missed: every board that somebody follows is read anew."""
        self._changes.add([live.standings.ladder for live in self._live.values()])

    def refresh(self, subscriber: Subscriber, board: Board, limit: int) -> None:
        """Send a subscriber the board whole, as Redis has it from now on, whether or not it has changed."""
        live = self._live.get(board)
        if live is not None:
            self._refreshing.add((subscriber, board, limit))
            self._changes.add([live.standings.ladder])

    def full_frame(self, board: Board, limit: int) -> bytes | None:
        """The state that subscribers of this limit hold now; None when nobody follows the board."""
        live = self._live.get(board)
        if live is None:
            return None
        if limit not in live.full:
            data = leaderboard_data(board, live.standings, Place(0, limit), stale=self._stale)
            live.full[limit] = self._frame(encode(Leaderboard(data=data)))
        return live.full[limit]

    async def run(self) -> None:
        """Send what changes, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            ladders = await self._changes.wait(_PERIOD_CHECK_SECONDS)
            started = loop.time()
            await self._look(ladders)
            if ladders:
                # What changes meanwhile is collected and goes out with the next tick: this is the conflation.
                await asyncio.sleep(max(0.0, started + self._interval - loop.time()))

    async def _look(self, ladders: Collection[str]) -> None:
        """Send what has changed on these ladders and on boards whose period has ended; after a time of doubt, on
        all."""
        now, begun = self._clock(), asyncio.get_running_loop().time()
        refreshing, self._refreshing = self._refreshing, set()
        recovering = self._stale and not self._reader.behind
        due = [
            self._try(board, live.standings.ladder)
            for board, live in self._live.items()
            if recovering or live.standings.ladder in ladders or live.standings.ladder != board.ladder(now)
        ]
        # At once: they may be on several servers, and one that does not answer would keep the others' waiting.
        down = not (await due[0] if len(due) == 1 else all(await asyncio.gather(*due)))
        self._tell(stale=down or self._reader.behind)
        if due:
            self._ticked(asyncio.get_running_loop().time() - begun)
        if self._watch is not None and not down:
            self._watch.looked(ladders)
        if down:
            self._refreshing |= refreshing
            return
        for subscriber, board, limit in refreshing:
            followed = self._live.get(board)
            if followed is not None and subscriber in followed.groups.get(limit, ()):
                frame = self.full_frame(board, limit)
                assert frame is not None  # noqa: S101
                subscriber.push_board(board, frame)

    async def _try(self, board: Board, ladder: str) -> bool:
        """Look at one board; False when a store does not answer."""
        try:
            await self._tick(board)
        except StoreUnavailable:
            # Whoever reports the store's return marks nothing, so keep the board marked.
            since = self._changes.taken_since(ladder)
            self._changes.add([ladder], None if since is None else {ladder: since})
            return False
        return True

    def _tell(self, *, stale: bool) -> None:
        """Let every subscriber know, if it is news."""
        if stale == self._stale:
            return
        self._stale = stale
        for board, live in self._live.items():
            live.full.clear()
            message = LeaderboardStale(data=LeaderboardStaleData(board=board.name, stale=stale))
            frame = self._frame(encode(message))
            for group in live.groups.values():
                for subscriber in group:
                    subscriber.push_board(board, frame)

    async def _open(self, board: Board) -> _Live:
        async with self._loading.setdefault(board, asyncio.Lock()):
            live = self._live.get(board)
            if live is None:
                # Stored before the first subscriber is in it, so the caller must go on without an await.
                live = self._live[board] = _Live(await self._standings(board))
                # A change that came while this was read was reported when nobody followed the board: look once more.
                self._changes.add([live.standings.ladder])
            return live

    async def _standings(self, board: Board) -> Standings:
        """What a first subscriber is shown: perhaps what was known before a store failed."""
        try:
            return await self._reader.standings(board, FOLLOWED_ROWS)
        except StoreUnavailable:
            known = self._reader.known(board, FOLLOWED_ROWS)
            if known is None:
                raise
            self._tell(stale=True)
            return known

    async def _tick(self, board: Board) -> None:
        begun = asyncio.get_running_loop().time()
        after = await self._reader.standings(board, FOLLOWED_ROWS)
        live = self._live.get(board)
        if live is None:
            return
        before = live.standings
        if before == after:
            return
        if (before.ladder, before.epoch) == (after.ladder, after.epoch) and before.version >= after.version:
            # Redis has come back with an older state, and its versions would be given out twice; or have been, where it
            # is another state of the same version.
            self._log.warning("a board went back in Redis and is rebuilt", board=board.name)
            await self._reader.rebuild(after.ladder)
            return
        live.standings = after
        live.full.clear()
        same_line = (before.ladder, before.epoch) == (after.ladder, after.epoch)
        for limit, group in live.groups.items():
            frame = self._delta_frame(board, before, after, limit) if same_line else self.full_frame(board, limit)
            assert frame is not None  # noqa: S101
            for subscriber in group:
                subscriber.push_board(board, frame)
        self._changed(board)
        if self._watch is not None:
            subscribers = sum(map(len, live.groups.values()))
            seconds = asyncio.get_running_loop().time() - begun
            self._watch.pushed(board.name, after.ladder, after.version, subscribers, seconds)
        since = self._changes.taken_since(after.ladder)
        if since is not None:
            self._handed(asyncio.get_running_loop().time() - since)

    def _delta_frame(self, board: Board, before: Standings, after: Standings, limit: int) -> bytes:
        changed = difference(before.top(limit), after.top(limit))
        delta = LeaderboardDeltaData(
            board=board.name,
            epoch=after.epoch,
            from_=before.version,
            version=after.version,
            total=after.total,
            upserts=[EntryData.of(row) for row in changed.upserts],
            removals=list(changed.removals),
        )
        return self._frame(encode(LeaderboardDelta(data=delta)))
