"""Players' sessions in memory: a cache of committed states, and the way from a command to its durable outcome."""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from game.ranking import Entry, entry_of
from game.session import Close, Command, Complete, Deal, Judged, PlayerState, Refusal, Start, step
from protocol.errors import ErrorCode, RequestError
from server.clock import Clock
from server.turn import Turn
from storage.commits import Applied, Change, Commits, Conflict, Replayed, new_key
from storage.commits import Outcome as Committed
from storage.postgres import StoreUnavailable
from storage.sessions import Event, SessionStore

#: Players whose state is kept in memory, about 500 bytes each. Others cost one read at their next action.
MAX_CACHED: Final = 50_000
#: How long an action is tried again when another node is faster each time.
PATIENCE_SECONDS: Final = 1.5
#: The longest pause between two tries: two nodes that act for one player in turn get out of each other's way.
_LONGEST_PAUSE_SECONDS: Final = 0.03

Improved = Callable[[dict[str, list[Entry]]], None]


class Outcome(NamedTuple):
    """The state that an action led to. `replayed`: it was applied before, under the same key. `score` and `judged` are
    those of a stage that ended with it."""

    state: PlayerState
    replayed: bool
    score: int | None = None
    judged: Judged | None = None


class Request(Protocol):
    """What a player wants done."""

    async def command(self, state: PlayerState, now: datetime) -> Command:
        """The command that this comes to in that state. A RequestError is believed only of a state just read."""

    def is_what(self, event: Event) -> bool:
        """Whether the log's event is this request's outcome."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A request that is the same command in each state."""

    wanted: Command

    async def command(self, state: PlayerState, now: datetime) -> Command:
        """The command."""
        return self.wanted

    def is_what(self, event: Event) -> bool:
        """Same action, same arguments."""
        if event.action is not self.wanted.action or event.judged is not None:
            return False
        if isinstance(self.wanted, Start):
            session = event.state.session
            return session is not None and session.difficulty == self.wanted.difficulty
        return event.score == _score_of(self.wanted)


@dataclass(slots=True)
class _Player:
    state: PlayerState | None = None
    turn: Turn = field(default_factory=Turn)
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

    def act_at_once(
        self, number: int, command: Command, key: str | None, settled: Callable[[Outcome | Exception | None], None]
    ) -> bool:
        """Apply a command without a task of its own, which is what nearly all actions of a player who plays come to.

        False where that cannot be done: another action is under way, or the state has to be read. Otherwise `settled`
        is told, once, what `act` would return or raise; or None where nothing was done and it is for `act` to look
        again.
        """
        player = self._players.get(number)
        if player is None or player.state is None or not player.turn.take_at_once():
            return False
        now = self._clock()
        state = step(player.state, command, now)
        if not isinstance(state, PlayerState):
            # Refused only on a state that was just read.
            player.turn.give_back()
            return False
        self._players.move_to_end(number)
        player.users += 1
        begun = time.monotonic()
        score = _score_of(command)

        def tell(committed: Committed | Exception) -> None:
            seconds = time.monotonic() - begun
            player.state = None
            outcome: Outcome | Exception | None = None
            if type(committed) is Applied:
                self._applied(seconds)
                player.state = state
                self._announce(number, state, committed.improved)
                outcome = Outcome(state, False, score)
            elif isinstance(committed, Replayed):
                try:
                    outcome = _replay(committed.event, Plain(command), replayed=key is not None)
                except RequestError as refused:
                    outcome = refused
            elif isinstance(committed, Conflict):
                # Two patiences one after the other would be more than is promised.
                if seconds > PATIENCE_SECONDS / 3:
                    outcome = StoreUnavailable("another node was faster")
            elif isinstance(committed, Exception):
                outcome = committed
            self._committed(seconds)
            player.users -= 1
            player.turn.give_back()
            settled(outcome)

        self._commits.put(Change(number, command.action, score, state, now, key or new_key()), tell)
        return True

    async def act(self, number: int, command: Command, key: str | None) -> Outcome:
        """Apply a command; returns after it is durable. Raises RequestError (`no_session`, `session_not_active`,
        `key_reused`) when nothing was done, StoreUnavailable when that could not be learned in time."""
        return await self._in_turn(number, Plain(command), key)

    async def deal(self, number: int) -> Outcome:
        """Deal the player's current stage, once: asked again, its state is given as it is. Errors as from `act`."""
        return await self._in_turn(number, Plain(Deal()), None)

    async def answer(self, number: int, answer: Request, key: str | None) -> Outcome:
        """Answer the stage that was dealt. Errors as from `act`, and whatever `answer` raises."""
        return await self._in_turn(number, answer, key)

    async def _in_turn(self, number: int, request: Request, key: str | None) -> Outcome:
        player = self._enter(number)
        try:
            await player.turn.take()
            try:
                return await self._act(number, player, request, key)
            except BaseException:
                # Whatever happened, the next action starts from what PostgreSQL says.
                player.state = None
                raise
            finally:
                player.turn.give_back()
        finally:
            player.users -= 1

    async def _act(self, number: int, player: _Player, request: Request, key: str | None) -> Outcome:
        own_key = key or new_key()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_SECONDS
        while True:
            fresh = player.state is None
            base = player.state if player.state is not None else await self._store.state(number)
            now = self._clock()
            state: PlayerState | Refusal | RequestError
            try:
                command = await request.command(base, now)
                state = step(base, command, now)
            except RequestError as error:
                state = error
            if not isinstance(state, PlayerState):
                if not fresh:
                    player.state = None
                    continue
                if state is Refusal.DEALT:
                    player.state = base
                    return Outcome(base, replayed=True)
                # An action that was applied before may well be refused now: its key tells.
                event = await self._store.event_by_key(number, own_key)
                if event is not None:
                    return _replay(event, request, replayed=key is not None)
                raise state if isinstance(state, RequestError) else _refused(state, base)
            judged = command.judged if isinstance(command, Complete | Close) else None
            change = Change(number, command.action, _score_of(command), state, now, own_key, judged)
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
                    return Outcome(state, False, change.score, judged)
                case Replayed(event):
                    player.state = None
                    return _replay(event, request, replayed=key is not None)
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


def _replay(event: Event, request: Request, *, replayed: bool) -> Outcome:
    if not request.is_what(event):
        raise RequestError(ErrorCode.KEY_REUSED)
    return Outcome(event.state, replayed, event.score, event.judged)


def _refused(refusal: Refusal, state: PlayerState) -> RequestError:
    if refusal is Refusal.NO_SESSION:
        return RequestError(ErrorCode.NO_SESSION)
    return RequestError(ErrorCode.SESSION_NOT_ACTIVE, session=state)
