"""Players' sessions in memory: a cache of committed states, and the way from a command to its durable outcome."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from game.ranking import Entry, entry_of
from game.session import Close, Command, Complete, PlayerState, Refusal, Start, step
from protocol.errors import ErrorCode, RequestError
from server.clock import Clock
from storage.commits import Applied, Change, Commits, Conflict, Replayed, new_key
from storage.postgres import StoreUnavailable
from storage.sessions import Event, SessionStore

#: Players whose state is kept in memory, about 500 bytes each. Others cost one read at their next action.
MAX_CACHED: Final = 50_000
#: How long an action is tried again when another node is faster each time.
PATIENCE_SECONDS: Final = 1.5
#: The longest pause between two tries: two nodes that act for one player in turn get out of each other's way.
_LONGEST_PAUSE_SECONDS: Final = 0.03

Improved = Callable[[dict[str, list[Entry]]], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state that an action led to. `replayed`: it was applied before, under the same key."""

    state: PlayerState
    replayed: bool


@dataclass(slots=True)
class _Player:
    state: PlayerState | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Sessions:
    """Applies commands one at a time for each player, durably, and tells `improved` which entries became better.

    A state in memory may be out of date, since the player may be connected to another node as well. Building on it is
    safe, because the commit checks the version; refusing on it would not be, so a refusal is given only on a state
    that was just read.
    """

    def __init__(
        self,
        store: SessionStore,
        commits: Commits,
        clock: Clock,
        improved: Improved,
        committed: Callable[[float], None] = lambda _seconds: None,
        applied: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        """`committed` is told how long each commit took, in seconds; `applied` only of those that applied an action."""
        self._store = store
        self._commits = commits
        self._clock = clock
        self._improved = improved
        self._committed = committed
        self._applied = applied
        self._players: OrderedDict[int, _Player] = OrderedDict()

    async def last(self, number: int) -> PlayerState:
        """The player's committed state, read afresh."""
        return await self._store.state(number)

    async def last_of(self, numbers: Collection[int]) -> dict[int, PlayerState]:
        """The committed states of several players, read afresh."""
        return await self._store.states(numbers)

    async def act(self, number: int, command: Command, key: str | None) -> Outcome:
        """Apply a command; returns after it is durable. Raises RequestError (`no_session`, `session_not_active`,
        `key_reused`) when nothing was done, StoreUnavailable when that could not be learned in time."""
        player = self._enter(number)
        try:
            async with player.turn:
                try:
                    return await self._act(number, player, command, key)
                except BaseException:
                    # Whatever happened, the next action starts from what PostgreSQL says.
                    player.state = None
                    raise
        finally:
            player.users -= 1

    async def _act(self, number: int, player: _Player, command: Command, key: str | None) -> Outcome:
        own_key = key or new_key()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_SECONDS
        while True:
            fresh = player.state is None
            base = player.state if player.state is not None else await self._store.state(number)
            now = self._clock()
            state = step(base, command, now)
            if isinstance(state, Refusal):
                if not fresh:
                    player.state = None
                    continue
                # An action that was applied before may well be refused now: its key tells.
                event = await self._store.event_by_key(number, own_key)
                if event is not None:
                    return _replay(event, command, replayed=key is not None)
                raise _refused(state, base)
            change = Change(number, command.action, _score_of(command), state, now, own_key)
            begun = loop.time()
            try:
                outcome = await self._commits.commit(change)
            finally:
                self._committed(loop.time() - begun)
            match outcome:
                case Applied(ladders):
                    self._applied(loop.time() - begun)
                    player.state = state
                    self._announce(number, state, ladders)
                    return Outcome(state, replayed=False)
                case Replayed(event):
                    player.state = None
                    return _replay(event, command, replayed=key is not None)
                case Conflict():
                    player.state = None
                    if loop.time() >= deadline:
                        raise StoreUnavailable("another node was faster each time")
                    await asyncio.sleep(random.uniform(0, _LONGEST_PAUSE_SECONDS))  # noqa: S311

    def _announce(self, number: int, state: PlayerState, ladders: tuple[str, ...]) -> None:
        if ladders and state.session is not None:
            entry = entry_of(number, state.session)
            self._improved({ladder: [entry] for ladder in ladders})

    def _enter(self, number: int) -> _Player:
        player = self._players.get(number)
        if player is None:
            player = self._players[number] = _Player()
            self._forget_oldest()
        else:
            self._players.move_to_end(number)
        player.users += 1
        return player

    def _forget_oldest(self) -> None:
        # Someone in the middle of an action must stay, or a second _Player would let two actions run at once.
        while len(self._players) > MAX_CACHED:
            number, oldest = next(iter(self._players.items()))
            if oldest.users:
                self._players.move_to_end(number)
                return
            del self._players[number]


def _score_of(command: Command) -> int | None:
    return command.score if isinstance(command, Complete | Close) else None


def _replay(event: Event, command: Command, *, replayed: bool) -> Outcome:
    same = event.action is command.action
    if isinstance(command, Start):
        session = event.state.session
        same = same and session is not None and session.difficulty == command.difficulty
    else:
        same = same and event.score == _score_of(command)
    if not same:
        raise RequestError(ErrorCode.KEY_REUSED)
    return Outcome(event.state, replayed)


def _refused(refusal: Refusal, state: PlayerState) -> RequestError:
    if refusal is Refusal.NO_SESSION:
        return RequestError(ErrorCode.NO_SESSION)
    return RequestError(ErrorCode.SESSION_NOT_ACTIVE, session=state)
