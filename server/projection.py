"""Keeps the boards in Redis level with the entries in PostgreSQL.

Two ways lead there. What this node has just committed is applied at once. And every second one of the nodes reads the
changes since each ladder's cursor from PostgreSQL and applies them again, which heals whatever the first way missed:
a crash between commit and projection, a Redis that was away, was emptied, or lost its last second. A ladder whose part
of a Redis Cluster is away is left behind for that time; the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Final, Protocol

from game.ranking import BOARDS, Entry, Removal, has_period, prevailing
from server.clock import Clock
from server.log import Log
from server.watch import Watch
from storage.boards import Boards, Cursor
from storage.ladders import Ladders
from storage.postgres import StoreUnavailable

SWEEP_SECONDS: Final = 1.0
#: How long a reader waits for what was committed before it asked.
FLUSH_SECONDS: Final = 0.25


class Changed(Protocol):
    """Who is told which ladders have changed in Redis."""

    def __call__(self, ladders: Collection[str], since: Mapping[str, float] | None = None, /) -> None:
        """These have; `since` is the loop's time at which the oldest of a ladder's changes was put, where it was."""


class Projection:
    """Two tasks, `run` and `sweep_for_ever`, which their owner starts and cancels. Ladders that have changed in
    Redis are named to `changed`."""

    def __init__(
        self,
        boards: Boards,
        ladders: Ladders,
        clock: Clock,
        log: Log,
        changed: Changed,
        *,
        applied: Callable[[float], None] = lambda _seconds: None,
        watch: Watch | None = None,
    ) -> None:
        """`applied` is told how many seconds it took each time to put on the boards what was committed."""
        self._boards = boards
        self._ladders = ladders
        self._clock = clock
        self._log = log
        self._changed = changed
        self._pending: dict[str, dict[int, Entry | Removal]] = {}
        self._since: dict[str, float] = {}
        self._report_applied = applied
        self._watch = watch
        #: The same of what is on its way to Redis.
        self._applying: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._rebuilding: dict[str, asyncio.Lock] = {}
        #: Where each ladder's cursor was put by the last sweep that could.
        self._advanced: dict[str, Cursor] = {}
        #: The cursor that stood farthest behind when this node looked last; None before it has looked.
        self._oldest: int | None = None
        self._healthy = True
        self._behind_since = 0.0

    @property
    def waiting_since(self) -> float | None:
        """The loop's time since when the boards may lack what was committed; None when they lack nothing."""
        lacking = [*self._since.values(), *self._applying.values()]
        return min(lacking if self._healthy else [*lacking, self._behind_since], default=None)

    def waiting(self) -> int:
        """How many entries are not yet on their way to Redis."""
        return sum(map(len, self._pending.values()))

    @property
    def behind(self) -> bool:
        """Whether the boards may lack what is committed, because a store did not answer."""
        return not self._healthy

    def put(self, entries: Mapping[str, Sequence[Entry | Removal]]) -> None:
        """Entries and removals that were just committed."""
        now = asyncio.get_running_loop().time()
        for ladder, improved in entries.items():
            self._since.setdefault(ladder, now)
            held = self._pending.setdefault(ladder, {})
            for entry in improved:
                before = held.get(entry.number)
                held[entry.number] = entry if before is None else prevailing(before, entry)
        if self._watch is not None:
            self._watch.put(entries)
        self._idle.clear()
        self._wake.set()

    async def flush(self) -> None:
        """Wait until what was put before is on the boards, but not for long: a reader sees its own writes where Redis
        keeps up, and the boards as they are where it does not."""
        if self._idle.is_set():
            return
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            pass

    async def run(self) -> None:
        """Apply what is put, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                pending, self._pending = self._pending, {}
                since, self._since = self._since, {}
                self._applying = since
                begun, outcome = asyncio.get_running_loop().time(), "failed"
                if self._watch is not None:
                    self._watch.taken(pending)
                try:
                    await self._apply({ladder: list(entries.values()) for ladder, entries in pending.items()}, since)
                    outcome = "ok"
                except StoreUnavailable as error:
                    # Dropped here: the cursor still stands before them, so the next sweep that succeeds finds them.
                    self._report(error)
                finally:
                    self._applying = {}
                    seconds = asyncio.get_running_loop().time() - begun
                    self._report_applied(seconds)
                    if self._watch is not None:
                        self._watch.projected(pending, seconds, outcome)
            self._idle.set()

    async def sweep_for_ever(self) -> None:
        """Sweep every second, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.sweep()
            except StoreUnavailable as error:
                self._report(error)

    async def sweep(self) -> None:
        """Bring every board up to what PostgreSQL holds now, building those that Redis does not have. Nothing is done
        where another node has done so since this one looked last: of many it is enough that one does."""
        ladders = self._current_ladders()
        cursors = await self._boards.cursors(ladders)
        unreached = ladders - cursors.keys()
        for ladder, cursor in cursors.items():
            if cursor is None or self._went_back(ladder, cursor):
                await self.rebuild(ladder)
        held = {ladder: cursor for ladder, cursor in cursors.items() if cursor is not None}
        if held:
            oldest = min(cursor.at for cursor in held.values())
            moved_on = self._oldest is not None and oldest > self._oldest
            self._oldest = oldest
            if moved_on and self._healthy and not unreached and len(held) == len(cursors):
                return
            horizon = await self._ladders.horizon()
            if oldest < horizon:
                unreached |= await self._catch_up(oldest, horizon, cursors, unreached)
                # One that was rebuilt meanwhile, here or by another node, has an epoch and a cursor of its own.
                held = {ladder: cursor for ladder, cursor in held.items() if ladder not in unreached}
                await self._boards.advance(held, horizon)
                self._oldest = horizon
                # Those that were not reached keep theirs: what comes back may be a replica.
                kept = {ladder: cursor for ladder, cursor in self._advanced.items() if ladder in ladders}
                self._advanced = kept | {ladder: Cursor(cursor.epoch, horizon) for ladder, cursor in held.items()}
        if unreached:
            self._report(StoreUnavailable("a part of Redis does not answer"))
        elif not self._healthy:
            self._healthy = True
            self._log.info("the boards are up to date again")
            # What was applied by a call that was never answered has been told to nobody.
            self._changed(ladders)

    async def _catch_up(
        self, since: int, horizon: int, cursors: Mapping[str, Cursor | None], unreached: Collection[str]
    ) -> set[str]:
        """Apply the changes in between, but for ladders that were not reached before; gives those that were not reached
        now."""
        lost: set[str] = set()
        outdated: set[str] = set()
        async for chunk in self._ladders.changes(since, horizon):
            there = {ladder: entries for ladder, entries in chunk.items() if ladder not in unreached}
            # A ladder of the past that Redis has forgotten stays forgotten until somebody asks for it.
            done = await self._boards.reconcile(there, cursors)
            self._changed(done.changed)
            outdated |= done.barred
            lost |= done.unreached
        for ladder in outdated:
            # PostgreSQL shows a player whom Redis keeps out: put back by an operator, perhaps on another node.
            await self.rebuild(ladder)
        return lost

    async def put_back(self, ladders: Collection[str]) -> None:
        """Show now, rather than at the next sweep, that PostgreSQL has somebody back on these ladders. Those of the
        past are left to the sweep, of which some may be in Redis still."""
        # What took the player off has to be there before, or it would be applied to the new ladder.
        await self.flush()
        for ladder in self._current_ladders().intersection(ladders):
            await self.rebuild(ladder)

    async def rebuild(self, ladder: str) -> bool:
        """Make a ladder anew from PostgreSQL. False where that was under way already: then it was waited for, and what
        was committed after it had begun may be missing."""
        lock = self._rebuilding.setdefault(ladder, asyncio.Lock())
        waited = lock.locked()
        try:
            async with lock:
                if waited:
                    return False
                horizon = await self._ladders.horizon()
                entries = self._ladders.entries(ladder)
                await self._boards.rebuild(ladder, horizon, entries, has_period=has_period(ladder))
                self._changed([ladder])
                return True
        finally:
            self._rebuilding.pop(ladder, None)

    async def _apply(self, entries: Mapping[str, Sequence[Entry | Removal]], since: Mapping[str, float]) -> None:
        done = await self._boards.apply(entries)
        self._changed(done.changed, {ladder: since[ladder] for ladder in done.changed})
        if done.unreached:
            # As in `run`: their cursors still stand before these entries.
            self._report(StoreUnavailable("a part of Redis does not answer"))
        for ladder in done.missing:
            # The entries are committed, so a rebuild that begins now brings them along. A removal alone, perhaps from
            # each day of a year, is no reason for one.
            if any(isinstance(entry, Entry) for entry in entries[ladder]) and not await self.rebuild(ladder):
                self._changed((await self._boards.apply({ladder: entries[ladder]})).changed)

    def _went_back(self, ladder: str, cursor: Cursor) -> bool:
        """Redis has lost what it had applied: a replica that was behind has taken over, or a disk. The entries would
        be found again, but versions would be given out twice, so the ladder needs a new epoch. Another node, which had
        done nothing that was lost, may have moved the cursor on before this one looks: this node's own mark stays."""
        last = self._advanced.get(ladder)
        return last is not None and last.epoch == cursor.epoch and cursor.own < last.at

    def _current_ladders(self) -> set[str]:
        # Those of a moment ago too: at midnight the last entries of a day may still be on their way.
        now = self._clock()
        return {board.ladder(at) for board in BOARDS.values() for at in (now, now - timedelta(seconds=30))}

    def _report(self, error: StoreUnavailable) -> None:
        if self._healthy:
            self._healthy = False
            self._behind_since = asyncio.get_running_loop().time()
            self._log.warning("the boards fall behind until the stores are back", reason=str(error))
