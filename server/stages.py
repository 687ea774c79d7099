"""The stages that the server deals and scores: puzzles from a session's seed, answers judged off the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from game.session import Close, Command, Complete, Judged, PlayerState, Session, Status, Verdict
from game.stages.catalog import stage_at
from game.stages.stage import Judgement, TooFast, dealt, judged
from images.strokes import stroke_distance
from protocol.errors import ErrorCode, RequestError
from protocol.server_messages import StageData
from protocol.stages import answer_text, puzzle_data, read_answer
from storage.sessions import Event

T = TypeVar("T")


class Eyes(Protocol):
    """Where comparing drawings does not hold up anybody else."""

    async def run(self, work: Callable[[], T], whose: int) -> T:
        """Do a piece of a player's work. Raises what it raises, and RequestError with `rate_limited`."""


@dataclass(frozen=True, slots=True)
class Judging:
    """One answer to be judged."""

    session: Session
    answer: Any
    at: datetime

    def __call__(self) -> Judgement:
        """Raises TooFast."""
        session = self.session
        assert session.dealt_at is not None  # noqa: S101
        return judged(
            stage_at(session.stage),
            session.seed,
            session.stage,
            session.difficulty,
            self.answer,
            self.at - session.dealt_at,
            stroke_distance,
        )


@dataclass(frozen=True, slots=True)
class Answering:
    """The request of a player, by number, to answer the stage that was dealt. A score is at most `max_score`."""

    number: int
    answer: Mapping[str, Any]
    max_score: int
    eyes: Eyes

    async def command(self, state: PlayerState, now: datetime) -> Command:
        """A complete or a close, with the score that the server gives. Raises RequestError: `not_dealt`, `invalid`,
        `too_fast`, `rate_limited`."""
        session = state.session
        if session is None or session.status is not Status.IN_PROGRESS:
            return Close(0)  # which the rules refuse
        if session.dealt_at is None:
            raise RequestError(ErrorCode.NOT_DEALT)
        stage = stage_at(session.stage)
        judging = Judging(session, read_answer(stage, self.answer), now)
        try:
            judgement = await self.eyes.run(judging, self.number) if stage.compares_drawings else judging()
        except TooFast:
            raise RequestError(ErrorCode.TOO_FAST) from None
        score = min(judgement.score, self.max_score)
        said = Judged(answer_text(self.answer), judgement.verdict)
        return Complete(score, said) if judgement.verdict is Verdict.PASSED else Close(score, said)

    def is_what(self, event: Event) -> bool:
        """The same answer was judged."""
        return event.judged is not None and event.judged.answer == answer_text(self.answer)


def stage_data(session: Session) -> StageData:
    """A stage that was dealt, as its player sees it."""
    assert session.dealt_at is not None  # noqa: S101
    stage = stage_at(session.stage)
    return StageData(
        session_id=str(session.session_id),
        stage=session.stage,
        game=stage.name,
        puzzle=puzzle_data(stage, dealt(stage, session.seed, session.stage, session.difficulty)),
        dealt_at=session.dealt_at,
        time_limit_ms=int(stage.time_limit(session.difficulty).total_seconds() * 1000),
    )
