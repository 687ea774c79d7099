"""The session machine against the contract's words, which are written down here a second time."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from game.session import (
    MAX_DIFFICULTY,
    NEVER_PLAYED,
    TRANSITIONS,
    Action,
    Cancel,
    Close,
    Command,
    Complete,
    Deal,
    Judged,
    Phase,
    PlayerState,
    Refusal,
    Session,
    Start,
    Status,
    Verdict,
    phase_of,
    step,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)
SOME_ID = UUID(int=1)
OTHER_ID = UUID(int=2)

thorough = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
brief = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])

moments = st.integers(0, 10**9).map(lambda seconds: NOON + timedelta(seconds=seconds))
scores = st.one_of(st.integers(0, 10), st.integers(0, 2**63 - 1))
stage_counts = st.integers(1, 6)
difficulties = st.integers(0, 9)

session_ids = st.integers(0, 2**128 - 1).map(lambda number: UUID(int=number))
starts = st.builds(Start, session_ids, stage_counts, difficulties, st.integers(0, 2**63 - 1))
commands_of: dict[Action, st.SearchStrategy[Command]] = {
    Action.START: starts,
    Action.COMPLETE: st.builds(Complete, scores),
    Action.CLOSE: st.builds(Close, scores),
    Action.CANCEL: st.just(Cancel()),
    Action.DEAL: st.just(Deal()),
}
commands: st.SearchStrategy[Command] = st.one_of(*commands_of.values())

STATUS_OF = {
    Phase.PLAYING: Status.IN_PROGRESS,
    Phase.LAST_STAGE: Status.IN_PROGRESS,
    Phase.FINISHED: Status.FINISHED,
    Phase.FAILED: Status.FAILED,
    Phase.CANCELED: Status.CANCELED,
}


@st.composite
def states_in(draw: st.DrawFn, phase: Phase) -> PlayerState:
    """Any state of a player who stands in that phase."""
    if phase is Phase.NONE:
        return NEVER_PLAYED
    stage_count = draw(st.integers(2, 6) if phase is Phase.PLAYING else stage_counts)
    last = stage_count - 1
    if phase in (Phase.LAST_STAGE, Phase.FINISHED):
        stage = last
    else:
        stage = draw(st.integers(0, last - 1 if phase is Phase.PLAYING else last))
    started_at = draw(moments)
    status = STATUS_OF[phase]
    session = Session(
        session_id=draw(session_ids),
        status=status,
        stage=stage,
        stage_count=stage_count,
        total_score=draw(scores),
        difficulty=draw(difficulties),
        started_at=started_at,
        ended_at=None if status is Status.IN_PROGRESS else started_at + timedelta(seconds=draw(st.integers(0, 10**6))),
        seed=draw(st.integers(0, 2**63 - 1)),
    )
    return PlayerState(draw(st.integers(1, 10**6)), session)


@dataclass(frozen=True)
class Outcome:
    """What the contract says about an action that is not a start."""

    status: Status
    stages_up: int
    adds_score: bool
    deals: bool = False


# "complete: adds the score; on the last stage the session is finished, otherwise the stage goes up by one."
# "stage.deal: the clock of the stage runs from now on."
# "close: adds the score; the session is failed. cancel: the session is canceled."
OUTCOMES: dict[tuple[Phase, Action], Outcome] = {
    (Phase.PLAYING, Action.COMPLETE): Outcome(Status.IN_PROGRESS, 1, adds_score=True),
    (Phase.LAST_STAGE, Action.COMPLETE): Outcome(Status.FINISHED, 0, adds_score=True),
    (Phase.PLAYING, Action.CLOSE): Outcome(Status.FAILED, 0, adds_score=True),
    (Phase.LAST_STAGE, Action.CLOSE): Outcome(Status.FAILED, 0, adds_score=True),
    (Phase.PLAYING, Action.CANCEL): Outcome(Status.CANCELED, 0, adds_score=False),
    (Phase.LAST_STAGE, Action.CANCEL): Outcome(Status.CANCELED, 0, adds_score=False),
    (Phase.PLAYING, Action.DEAL): Outcome(Status.IN_PROGRESS, 0, adds_score=False, deals=True),
    (Phase.LAST_STAGE, Action.DEAL): Outcome(Status.IN_PROGRESS, 0, adds_score=False, deals=True),
}
# "Not in progress: error `session_not_active`; none at all: `no_session`."
REFUSALS: dict[tuple[Phase, Action], str] = {
    **{(Phase.NONE, action): "no_session" for action in Action if action is not Action.START},
    **{
        (phase, action): "session_not_active"
        for phase in (Phase.FINISHED, Phase.FAILED, Phase.CANCELED)
        for action in (Action.COMPLETE, Action.CLOSE, Action.CANCEL, Action.DEAL)
    },
}
STARTS: set[tuple[Phase, Action]] = {(phase, Action.START) for phase in Phase}


def applied(outcome: PlayerState | Refusal) -> Session:
    assert isinstance(outcome, PlayerState)
    assert outcome.session is not None
    return outcome.session


def play(*commands: Command, state: PlayerState = NEVER_PLAYED, now: datetime = NOON) -> PlayerState:
    """The state after commands that are all allowed."""
    for command in commands:
        outcome = step(state, command, now)
        assert isinstance(outcome, PlayerState)
        state = outcome
    return state


def test_contract_and_table_speak_of_every_phase_and_action() -> None:
    assert OUTCOMES.keys() | REFUSALS.keys() | STARTS == set(itertools.product(Phase, Action))
    assert len(OUTCOMES) + len(REFUSALS) + len(STARTS) == len(Phase) * len(Action) == 30
    table = {(phase, action) for phase, row in TRANSITIONS.items() for action in row}
    assert table == OUTCOMES.keys() | STARTS
    assert TRANSITIONS.keys() == set(Phase)  # dead ends are written out


@pytest.mark.parametrize("phase", Phase)
@brief
@given(data=st.data())
def test_player_stands_in_the_phase_its_session_is_in(phase: Phase, data: st.DataObject) -> None:
    assert phase_of(data.draw(states_in(phase)).session) is phase


@pytest.mark.parametrize("phase", Phase)
@brief
@given(data=st.data(), command=starts, now=moments)
def test_start_begins_at_stage_0_with_score_0_in_every_phase(
    phase: Phase, data: st.DataObject, command: Start, now: datetime
) -> None:
    before = data.draw(states_in(phase))
    assert step(before, command, now) == PlayerState(
        before.version + 1,
        Session(
            session_id=command.session_id,
            status=Status.IN_PROGRESS,
            stage=0,
            stage_count=command.stage_count,
            total_score=0,
            difficulty=command.difficulty,
            started_at=now,
            ended_at=None,
            seed=command.seed,
        ),
    )


@pytest.mark.parametrize(("phase", "action"), OUTCOMES)
@brief
@given(data=st.data(), now=moments)
def test_allowed_action_gives_exactly_the_state_of_the_contract(
    phase: Phase, action: Action, data: st.DataObject, now: datetime
) -> None:
    before = data.draw(states_in(phase))
    command = data.draw(commands_of[action])
    held = before.session
    assert held is not None
    expected = OUTCOMES[phase, action]
    added = command.score if expected.adds_score and isinstance(command, Complete | Close) else 0
    assert step(before, command, now) == PlayerState(
        before.version + 1,
        Session(
            session_id=held.session_id,
            status=expected.status,
            stage=held.stage + expected.stages_up,
            stage_count=held.stage_count,
            total_score=held.total_score + added,
            difficulty=held.difficulty,
            started_at=held.started_at,
            ended_at=None if expected.status is Status.IN_PROGRESS else now,
            seed=held.seed,
            dealt_at=now if expected.deals else None,
        ),
    )


@pytest.mark.parametrize(("phase", "action"), REFUSALS)
@brief
@given(data=st.data(), now=moments)
def test_refused_action_says_why(phase: Phase, action: Action, data: st.DataObject, now: datetime) -> None:
    outcome = step(data.draw(states_in(phase)), data.draw(commands_of[action]), now)
    assert isinstance(outcome, Refusal)
    assert outcome.value == REFUSALS[phase, action]


@pytest.mark.parametrize(("phase", "action"), list(itertools.product(Phase, Action)))
@brief
@given(data=st.data(), now=moments)
def test_state_passed_in_is_never_changed(phase: Phase, action: Action, data: st.DataObject, now: datetime) -> None:
    before = data.draw(states_in(phase))
    command = data.draw(commands_of[action])
    kept, asked = copy.deepcopy(before), copy.deepcopy(command)
    first = step(before, command, now)
    assert before == kept
    assert command == asked
    assert step(before, command, now) == first  # and nothing was remembered elsewhere


@dataclass
class Player:
    """The contract's paragraph about sessions, as plainly as it can be written; it shares no code with the machine."""

    actions: int = 0
    status: str = ""
    stage: int = 0
    stages: int = 0
    difficulty: int = 0
    dealt: datetime | None = None
    points: list[int] = field(default_factory=list)
    name: UUID | None = None
    began: datetime | None = None
    ended: datetime | None = None

    def start(self, command: Start, now: datetime) -> None:
        self.actions += 1
        self.name, self.stages, self.difficulty = command.session_id, command.stage_count, command.difficulty
        self.status, self.stage, self.points, self.began, self.ended = "playing", 0, [], now, None
        self.dealt = None

    def act(self, command: Command, now: datetime) -> str:
        """Done, or the error's code."""
        if isinstance(command, Start):
            self.start(command, now)
            return "done"
        if self.name is None:
            return "no_session"
        if self.status != "playing":
            return "session_not_active"
        if isinstance(command, Deal):
            if self.dealt is not None:
                return "the current stage was dealt before"
            self.actions += 1
            self.dealt = now
            return "done"
        self.actions += 1
        self.dealt = None
        if isinstance(command, Cancel):
            self.status, self.ended = "canceled", now
            return "done"
        self.points.append(command.score)
        if isinstance(command, Close):
            self.status, self.ended = "failed", now
        elif self.stage + 1 == self.stages:
            self.status, self.ended = "finished", now
        else:
            self.stage += 1
        return "done"

    def is_shown_by(self, state: PlayerState) -> bool:
        session = state.session
        if session is None:
            return self.name is None and state.version == self.actions == 0
        words = {0: "playing", 1: "finished", 2: "failed", 3: "canceled"}
        return (
            state.version == self.actions
            and words[int(session.status)] == self.status
            and (session.stage, session.stage_count) == (self.stage, self.stages)
            and session.total_score == sum(self.points)
            and (session.session_id, session.difficulty) == (self.name, self.difficulty)
            and (session.started_at, session.ended_at) == (self.began, self.ended)
            and session.dealt_at == self.dealt
            and session.counts == (self.status in ("finished", "failed"))
        )


@thorough
@given(st.lists(st.tuples(commands, moments), max_size=20))
def test_player_sending_anything_is_where_a_plain_model_says(script: Sequence[tuple[Command, datetime]]) -> None:
    state, player = NEVER_PLAYED, Player()
    for command, now in script:
        outcome = step(state, command, now)
        said = player.act(command, now)
        if isinstance(outcome, Refusal):
            assert outcome.value == said
        else:
            assert said == "done"
            state = outcome
        assert player.is_shown_by(state)


@thorough
@given(st.lists(commands, max_size=20))
def test_version_counts_exactly_the_applied_commands(script: Sequence[Command]) -> None:
    state, applied_commands = NEVER_PLAYED, 0
    for command in script:
        outcome = step(state, command, NOON)
        if isinstance(outcome, PlayerState):
            applied_commands += 1
            state = outcome
        assert state.version == applied_commands


@thorough
@given(st.integers(1, 8), st.data())
def test_scores_of_a_session_played_to_its_end_add_up_exactly(stage_count: int, data: st.DataObject) -> None:
    points = data.draw(st.lists(scores, min_size=stage_count, max_size=stage_count))
    session = play(Start(SOME_ID, stage_count), *map(Complete, points)).session
    assert session is not None
    assert session.status is Status.FINISHED
    assert session.stage == stage_count - 1
    assert session.total_score == sum(points)
    assert session.counts


@thorough
@given(st.integers(1, 8), st.data())
def test_score_of_the_stage_that_failed_is_added_and_the_stage_stays(stage_count: int, data: st.DataObject) -> None:
    passed = data.draw(st.lists(scores, max_size=stage_count - 1))
    last = data.draw(scores)
    session = play(Start(SOME_ID, stage_count), *map(Complete, passed), Close(last)).session
    assert session is not None
    assert session.status is Status.FAILED
    assert session.stage == len(passed)
    assert session.total_score == sum(passed) + last
    assert session.counts


@thorough
@given(st.lists(commands, max_size=20))
def test_canceled_session_never_counts(script: Sequence[Command]) -> None:
    state = NEVER_PLAYED
    for command in [*script, Cancel()]:
        outcome = step(state, command, NOON)
        if isinstance(outcome, Refusal):
            continue
        state = outcome
        session = applied(outcome)
        assert session.counts == (session.status in (Status.FINISHED, Status.FAILED))
        if isinstance(command, Cancel):
            assert session.status is Status.CANCELED
            assert not session.counts


def test_canceled_session_cannot_be_brought_back() -> None:
    canceled = play(Start(SOME_ID, 3), Complete(5), Cancel())
    for command in (Complete(1), Close(1), Cancel()):
        assert step(canceled, command, LATER) is Refusal.NOT_ACTIVE


def test_start_over_a_session_in_progress_takes_nothing_along() -> None:
    state = play(Start(SOME_ID, 3, 4), Complete(100), Start(OTHER_ID, 2))
    session = applied(state)
    assert (session.session_id, session.total_score, session.stage) == (OTHER_ID, 0, 0)
    assert (session.stage_count, session.difficulty) == (2, 0)
    assert state.version == 3


def test_session_of_one_stage_begins_on_its_last_stage() -> None:
    state = play(Start(SOME_ID, 1))
    assert phase_of(state.session) is Phase.LAST_STAGE
    assert applied(step(state, Complete(7), LATER)).status is Status.FINISHED


def test_times_of_a_session_are_those_of_its_start_and_its_end() -> None:
    begun = play(Start(SOME_ID, 2))
    assert applied(begun).ended_at is None
    advanced = step(begun, Complete(1), LATER)
    assert applied(advanced).ended_at is None
    assert isinstance(advanced, PlayerState)
    ended = applied(step(advanced, Complete(1), LATER))
    assert (ended.started_at, ended.ended_at) == (NOON, LATER)


def test_status_numbers_are_those_of_the_wire() -> None:
    assert [(status.name, int(status)) for status in Status] == [
        ("IN_PROGRESS", 0),
        ("FINISHED", 1),
        ("FAILED", 2),
        ("CANCELED", 3),
    ]


def test_second_deal_of_a_stage_changes_nothing_and_the_next_stage_has_its_own() -> None:
    dealt = play(Start(SOME_ID, 3), Deal())
    assert step(dealt, Deal(), LATER) is Refusal.DEALT
    assert applied(dealt).dealt_at == NOON
    second = play(Complete(5), Deal(), state=dealt, now=LATER)
    assert (applied(second).stage, applied(second).dealt_at) == (1, LATER)


def test_answer_that_was_judged_moves_the_session_as_a_reported_score_does() -> None:
    dealt = play(Start(SOME_ID, 3), Deal())
    judged = Judged("{}", Verdict.PASSED)
    assert step(dealt, Complete(5, judged), LATER) == step(dealt, Complete(5), LATER)
    assert step(dealt, Close(5, judged), LATER) == step(dealt, Close(5), LATER)


def test_action_numbers_are_those_of_the_event_log() -> None:
    assert [(action.name, int(action)) for action in Action] == [
        ("START", 0),
        ("COMPLETE", 1),
        ("CLOSE", 2),
        ("CANCEL", 3),
        ("DEAL", 4),
    ]


def test_refusals_are_the_codes_of_the_contract() -> None:
    assert {refusal.value for refusal in Refusal if refusal is not Refusal.DEALT} == {
        "no_session",
        "session_not_active",
    }


def test_difficulties_are_0_to_9_and_0_unless_said() -> None:
    assert MAX_DIFFICULTY == 9
    assert Start(SOME_ID, 3).difficulty == 0
