"""Replaying a player's log: the state and the best entries that its events lead to, and what is wrong with them.

The log says what was done and what came of it, so each event is checked by doing it again. Where one is wrong it is
named, and the replay goes on from the state that was written: one damage is one problem, not a problem of all that
follows.

A `seed` of 0 says that none is known, and goes with every other one: events from before stages were dealt have none,
sessions that were in progress then were given one later, and a node of such a version writes none beside newer nodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from game.ranking import Entry, better, entry_of, ladders_of
from game.session import (
    MAX_DIFFICULTY,
    NEVER_PLAYED,
    Action,
    Cancel,
    Close,
    Command,
    Complete,
    Deal,
    Judged,
    PlayerState,
    Refusal,
    Session,
    Start,
    Verdict,
    step,
)


class Logged(Protocol):
    """One event of a log: what was done at which time, under which key, and the state right after it."""

    @property
    def key(self) -> str:
        """What it was sent under; no other event of the player has it."""

    @property
    def action(self) -> Action:
        """What was done."""

    @property
    def score(self) -> int | None:
        """The score of a stage that ended with it, None for other actions."""

    @property
    def state(self) -> PlayerState:
        """The state it led to."""

    @property
    def at(self) -> datetime:
        """When it was done."""

    @property
    def judged(self) -> Judged | None:
        """The answer that the score was given for, if the server gave it."""


class Fault(StrEnum):
    """What can be wrong with an event."""

    MISSING = "events before it are missing"
    REPEATED = "its version was there before"
    KEY_TWICE = "its key was there before"
    ARGUMENT = "no such command can be given"
    REFUSED = "the rules refuse it"
    JUDGED = "it cannot have been judged so"
    STATE = "the state written is not the one that it leads to"


@dataclass(frozen=True, slots=True)
class Problem:
    """One event that is wrong, by its version. `what` is for people and names no person."""

    version: int
    fault: Fault
    what: str


@dataclass(frozen=True, slots=True)
class Best:
    """A player's best attempt on one ladder, and the session that achieved it first."""

    entry: Entry
    session_id: UUID


#: What goes with a passed stage, and what ends the session.
_VERDICTS: Final = {Action.COMPLETE: (Verdict.PASSED,), Action.CLOSE: (Verdict.FAILED, Verdict.LATE)}


class Replay:
    """One player's log, event by event, in the order of the versions.

    `state` and `best` (by ladder) are what the events so far lead to. Keys are remembered, some 100 bytes each.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.state = NEVER_PLAYED
        self.best: dict[str, Best] = {}
        self.events = 0
        self._keys: set[str] = set()

    def add(self, event: Logged) -> list[Problem]:
        """Do the next event again; gives what is wrong with it. One with an old version is left out."""
        before, written = self.state, event.state
        version = written.version
        self.events += 1
        if version <= before.version:
            return [Problem(version, Fault.REPEATED, f"version {version} comes after version {before.version}")]
        problems = []
        if event.key in self._keys:
            problems.append(Problem(version, Fault.KEY_TWICE, "its key stands at another event too"))
        self._keys.add(event.key)
        if version > before.version + 1:
            what = f"versions {before.version + 1} to {version - 1} are missing"
            problems.append(Problem(version, Fault.MISSING, what))
            self.state = written
        elif (wrong := _wrong_argument(event)) is not None:
            problems.append(Problem(version, Fault.ARGUMENT, wrong))
            self.state = written
        else:
            problems += self._step(before, event)
        self._rank()
        return problems

    def _step(self, before: PlayerState, event: Logged) -> list[Problem]:
        written = event.state
        expected = step(before, command_of(event), event.at)
        if isinstance(expected, Refusal):
            self.state = written
            return [Problem(written.version, Fault.REFUSED, f"{event.action.name.lower()}: {expected.value}")]
        problems = []
        if event.judged is not None and (wrong := _wrong_verdict(before, event, event.judged)) is not None:
            problems.append(Problem(written.version, Fault.JUDGED, wrong))
        known, self.state = with_known_seed(expected, written)
        if known != self.state:
            problems.append(Problem(written.version, Fault.STATE, unlike(known, self.state)))
        return problems

    def _rank(self) -> None:
        session = self.state.session
        if session is None or not session.counts or session.ended_at is None:
            return
        entry = entry_of(self.number, session)
        for ladder in ladders_of(session):
            held = self.best.get(ladder)
            # Of two equal ones the first stays.
            if held is None or (entry != held.entry and better(entry, held.entry) == entry):
                self.best[ladder] = Best(entry, session.session_id)


def replay(number: int, events: Iterable[Logged]) -> tuple[Replay, list[Problem]]:
    """A whole log of one player, and everything that is wrong with it."""
    played = Replay(number)
    return played, [problem for event in events for problem in played.add(event)]


def command_of(event: Logged) -> Command:
    """The command that led to the event. A score that is not there counts as 0."""
    match event.action:
        case Action.START:
            session = event.state.session
            assert session is not None, "every action leaves a session"  # noqa: S101
            return Start(session.session_id, session.stage_count, session.difficulty, session.seed)
        case Action.DEAL:
            return Deal()
        case Action.COMPLETE:
            return Complete(event.score or 0, event.judged)
        case Action.CLOSE:
            return Close(event.score or 0, event.judged)
        case Action.CANCEL:
            return Cancel()


def with_known_seed(one: PlayerState, other: PlayerState) -> tuple[PlayerState, PlayerState]:
    """The same two states, but where one of them knows no seed it has the other's."""
    if one.session is None or other.session is None or one.session.seed == other.session.seed:
        return one, other
    if one.session.seed == 0:
        return one._replace(session=one.session._replace(seed=other.session.seed)), other
    if other.session.seed == 0:
        return one, other._replace(session=other.session._replace(seed=one.session.seed))
    return one, other


def unlike(expected: PlayerState, found: PlayerState) -> str:
    """In which fields two states differ, in words; empty when they do not."""
    if expected.version != found.version:
        return f"version is {found.version}, not {expected.version}"
    if expected.session is None or found.session is None:
        return "" if expected.session is found.session else "one of them has no session"
    return ", ".join(
        # Seeds are the server's secret.
        "seed is another one" if name == "seed" else f"{name} is {_shown(held)}, not {_shown(wanted)}"
        for name, held, wanted in zip(Session._fields, found.session, expected.session, strict=True)
        if held != wanted
    )


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    return str(int(value)) if isinstance(value, int) else str(value)


def _wrong_argument(event: Logged) -> str | None:
    session = event.state.session
    if session is None:
        return "it leaves no session"
    if event.action is Action.START and not (session.stage_count >= 1 and 0 <= session.difficulty <= MAX_DIFFICULTY):
        return f"{session.stage_count} stages at difficulty {session.difficulty}"
    if event.action in _VERDICTS:
        return None if event.score is not None and event.score >= 0 else f"score {event.score}"
    if event.score is not None or event.judged is not None:
        return f"{event.action.name.lower()} with a score or a verdict"
    return None


def _wrong_verdict(before: PlayerState, event: Logged, judged: Judged) -> str | None:
    if judged.verdict not in _VERDICTS[event.action]:
        return f"{event.action.name.lower()}, found to be {judged.verdict.value}"
    if judged.verdict is Verdict.LATE and event.score != 0:
        return "an answer that was late has a score"
    if before.session is not None and before.session.dealt_at is None:
        return "an answer to a stage that was not dealt"
    return None
