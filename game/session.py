"""The session state machine: pure values and one visible table.

A player has at most one session that counts as *the* session: the last one started. `step` applies a command to
it and gives the next state, or the reason why the command is refused. It reads no clock and draws no random
number; whoever calls it passes both in.

Versions count a player's applied commands over all of its sessions (1 for the first start). A store that keeps
the state at a version can therefore tell whether somebody else was faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum, StrEnum
from typing import Final, NamedTuple
from uuid import UUID

MAX_DIFFICULTY: Final = 9


class Status(IntEnum):
    """What became of a session; the numbers are those of the wire and of the tables."""

    IN_PROGRESS = 0
    FINISHED = 1
    FAILED = 2
    CANCELED = 3


class Action(IntEnum):
    """What a player can do to its session; the numbers are those of the event log."""

    START = 0
    COMPLETE = 1
    CLOSE = 2
    CANCEL = 3
    DEAL = 4


class Phase(Enum):
    """Where a player stands, as far as the table below has to tell apart."""

    # Each is one object, so what it is tells it apart; Enum's own hash, of the name, is Python code.
    __hash__ = object.__hash__

    NONE = "no session yet"
    PLAYING = "in progress, more stages to come"
    LAST_STAGE = "in progress, on the last stage"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELED = "canceled"

    # A member is what it is: Enum's own hash, that of the name, is computed in Python at each look into the table.
    __hash__ = object.__hash__


class Effect(Enum):
    """What an allowed command does."""

    __hash__ = object.__hash__  # as in Phase

    BEGIN = "a new session at stage 0 with score 0; one in progress is canceled by it"
    ADVANCE = "add the score, go up one stage"
    FINISH = "add the score, the session is finished"
    FAIL = "add the score, the session is failed"
    CANCEL = "the session is canceled and never counts"
    DEAL = "the current stage's puzzle is shown and its clock runs"

    __hash__ = object.__hash__


class Refusal(Enum):
    """Why a command changes nothing."""

    NO_SESSION = "no_session"
    NOT_ACTIVE = "session_not_active"
    DEALT = "the current stage was dealt before"


#: Every phase and every action it allows. A missing action is a refusal.
TRANSITIONS: Final[dict[Phase, dict[Action, Effect]]] = {
    Phase.NONE: {
        Action.START: Effect.BEGIN,
    },
    Phase.PLAYING: {
        Action.START: Effect.BEGIN,
        Action.DEAL: Effect.DEAL,
        Action.COMPLETE: Effect.ADVANCE,
        Action.CLOSE: Effect.FAIL,
        Action.CANCEL: Effect.CANCEL,
    },
    Phase.LAST_STAGE: {
        Action.START: Effect.BEGIN,
        Action.DEAL: Effect.DEAL,
        Action.COMPLETE: Effect.FINISH,
        Action.CLOSE: Effect.FAIL,
        Action.CANCEL: Effect.CANCEL,
    },
    Phase.FINISHED: {
        Action.START: Effect.BEGIN,
    },
    Phase.FAILED: {
        Action.START: Effect.BEGIN,
    },
    Phase.CANCELED: {
        Action.START: Effect.BEGIN,
    },
}

_ENDS: Final = {
    Effect.FINISH: Status.FINISHED,
    Effect.FAIL: Status.FAILED,
    Effect.CANCEL: Status.CANCELED,
}
_ENDED_PHASES: Final = {
    Status.FINISHED: Phase.FINISHED,
    Status.FAILED: Phase.FAILED,
    Status.CANCELED: Phase.CANCELED,
}


# Tuples, since each action makes one of both, and a frozen dataclass takes four times as long to make.
class Session(NamedTuple):
    """One run through the stages. `stage` counts from 0 and stays on the last stage played when the session ends.

    `seed` is what the puzzles of its stages are made from, known to the server alone. `dealt_at` is when the current
    stage was dealt; None before that, and when the session has ended.
    """

    session_id: UUID
    status: Status
    stage: int
    stage_count: int
    total_score: int
    difficulty: int
    started_at: datetime
    ended_at: datetime | None
    seed: int = 0
    dealt_at: datetime | None = None

    @property
    def counts(self) -> bool:
        """Whether the session counts for leaderboards: it was played to its end or failed."""
        return self.status in (Status.FINISHED, Status.FAILED)


class PlayerState(NamedTuple):
    """A player's last session (None before the first) after `version` applied commands."""

    version: int
    session: Session | None


NEVER_PLAYED: Final = PlayerState(0, None)


@dataclass(frozen=True, slots=True)
class Start:
    """Begin a session. The caller draws `session_id` and `seed`; `stage_count` is at least 1, `difficulty` 0 to 9."""

    session_id: UUID
    stage_count: int
    difficulty: int = 0
    seed: int = 0
    action = Action.START


@dataclass(frozen=True, slots=True)
class Deal:
    """Show the current stage's puzzle; its clock runs from now on."""

    action = Action.DEAL


class Verdict(StrEnum):
    """What the server says of an answer to a stage."""

    PASSED = "passed"
    FAILED = "failed"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Judged:
    """Where a score comes from if the server gave it: the answer, as JSON, and what it was found to be."""

    answer: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Complete:
    """The current stage was passed with `score` (0 or more). `judged` is None where the client reports its score."""

    score: int
    judged: Judged | None = None
    action = Action.COMPLETE


@dataclass(frozen=True, slots=True)
class Close:
    """The current stage was not passed; `score` (0 or more) still counts. `judged` as in Complete."""

    score: int
    judged: Judged | None = None
    action = Action.CLOSE


@dataclass(frozen=True, slots=True)
class Cancel:
    """The player gives the session up."""

    action = Action.CANCEL


Command = Start | Deal | Complete | Close | Cancel


def phase_of(session: Session | None) -> Phase:
    """The row of the table that a player's last session stands in."""
    if session is None:
        return Phase.NONE
    if session.status is Status.IN_PROGRESS:
        return Phase.PLAYING if session.stage + 1 < session.stage_count else Phase.LAST_STAGE
    return _ENDED_PHASES[session.status]


def step(state: PlayerState, command: Command, now: datetime) -> PlayerState | Refusal:
    """Apply `command` at `now`: the next state, one version up, or the reason for a refusal that changed nothing."""
    phase = phase_of(state.session)
    effect = TRANSITIONS[phase].get(command.action)
    if effect is None:
        return Refusal.NO_SESSION if phase is Phase.NONE else Refusal.NOT_ACTIVE
    if effect is Effect.DEAL and state.session is not None and state.session.dealt_at is not None:
        return Refusal.DEALT
    return PlayerState(state.version + 1, _apply(effect, state.session, command, now))


def _apply(effect: Effect, session: Session | None, command: Command, now: datetime) -> Session:
    if isinstance(command, Start):
        return Session(
            session_id=command.session_id,
            status=Status.IN_PROGRESS,
            stage=0,
            stage_count=command.stage_count,
            total_score=0,
            difficulty=command.difficulty,
            started_at=now,
            ended_at=None,
            seed=command.seed,
        )
    assert session is not None, "the table refuses every other command without a session"  # noqa: S101
    if effect is Effect.DEAL:
        return session._replace(dealt_at=now)
    total = session.total_score + (command.score if isinstance(command, (Complete, Close)) else 0)
    ended = _ENDS.get(effect)
    # By position, since `_replace` takes five times as long.
    return Session(
        session.session_id,
        session.status if ended is None else ended,
        session.stage + 1 if ended is None else session.stage,
        session.stage_count,
        total,
        session.difficulty,
        session.started_at,
        None if ended is None else now,
        session.seed,
        dealt_at=None,
    )
