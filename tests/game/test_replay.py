"""A log that the rules have written replays to where it led; whatever is wrong with one is named, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from game.ranking import better, entry_of, ladders_of
from game.replay import Fault, Problem, Replay, command_of, replay, unlike, with_known_seed
from game.session import (
    NEVER_PLAYED,
    TRANSITIONS,
    Action,
    Cancel,
    Close,
    Command,
    Complete,
    Deal,
    Judged,
    PlayerState,
    Session,
    Start,
    Status,
    Verdict,
    phase_of,
    step,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Event:
    key: str
    action: Action
    score: int | None
    state: PlayerState
    at: datetime
    judged: Judged | None = None


def logged(state: PlayerState, command: Command, at: datetime = NOON) -> Event:
    after = step(state, command, at)
    assert isinstance(after, PlayerState)
    score, judged = (command.score, command.judged) if isinstance(command, Complete | Close) else (None, None)
    return Event(f"key {after.version}", command.action, score, after, at, judged)


def run(*commands: Command) -> list[Event]:
    events: list[Event] = []
    for command in commands:
        events.append(logged(events[-1].state if events else NEVER_PLAYED, command))
    return events


@st.composite
def runs(draw: st.DrawFn) -> list[Event]:
    """Whatever players may do, in any order that the rules allow, judged or not, at times in no order."""
    events: list[Event] = []
    for version in range(1, draw(st.integers(1, 25)) + 1):
        state = events[-1].state if events else NEVER_PLAYED
        session = state.session
        dealt = session is not None and session.dealt_at is not None
        allowed = sorted(set(TRANSITIONS[phase_of(session)]) - ({Action.DEAL} if dealt else set()))
        action = draw(st.sampled_from(allowed))
        score = draw(st.sampled_from((0, 0, 1, 5)))
        said = draw(st.booleans()) if dealt else False
        command: Command
        match action:
            case Action.START:
                command = Start(UUID(int=version), draw(st.integers(1, 3)), draw(st.integers(0, 1)), seed=version)
            case Action.DEAL:
                command = Deal()
            case Action.COMPLETE:
                command = Complete(score, Judged("{}", Verdict.PASSED) if said else None)
            case Action.CLOSE:
                late = Verdict.LATE if score == 0 else Verdict.FAILED
                command = Close(score, Judged("{}", late) if said else None)
            case Action.CANCEL:
                command = Cancel()
        at = NOON + timedelta(days=draw(st.sampled_from((0, 1, 7))), milliseconds=draw(st.integers(0, 2)))
        events.append(logged(state, command, at))
    return events


@settings(max_examples=50)
@given(runs())
def test_log_written_by_the_rules_replays_to_where_it_led(events: list[Event]) -> None:
    played, problems = replay(7, events)
    assert problems == []
    assert played.state == events[-1].state
    assert played.events == len(events)
    counting = [event.state.session for event in events if event.state.session and event.state.session.counts]
    assert set(played.best) == {ladder for session in counting for ladder in ladders_of(session)}
    for ladder, best in played.best.items():
        on_it = [(entry_of(7, session), session.session_id) for session in counting if ladder in ladders_of(session)]
        for entry, _ in on_it:
            assert better(best.entry, entry) == best.entry
        assert best.session_id == next(session_id for entry, session_id in on_it if entry == best.entry)


@settings(max_examples=40)
@given(runs(), st.data())
def test_missing_events_are_one_problem(events: list[Event], data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, len(events) - 1))
    _, problems = replay(7, events[:lost] + events[lost + 1 :])
    if lost == len(events) - 1:
        assert problems == []  # The end of a log says nothing of what came after it: the player's row does.
    else:
        (problem,) = problems
        assert problem == Problem(lost + 2, Fault.MISSING, f"versions {lost + 1} to {lost + 1} are missing")


@settings(max_examples=40)
@given(runs(), st.data())
def test_event_that_comes_twice_is_found(events: list[Event], data: st.DataObject) -> None:
    twice = data.draw(st.integers(0, len(events) - 1))
    played, problems = replay(7, events[: twice + 1] + events[twice:])
    assert [(problem.version, problem.fault) for problem in problems] == [(twice + 1, Fault.REPEATED)]
    assert played.state == events[-1].state


@settings(max_examples=40)
@given(runs().filter(lambda events: len(events) > 1), st.data())
def test_key_that_stands_twice_is_found(events: list[Event], data: st.DataObject) -> None:
    second = data.draw(st.integers(1, len(events) - 1))
    events[second] = replace(events[second], key=events[0].key)
    _, problems = replay(7, events)
    assert [(problem.version, problem.fault) for problem in problems] == [(second + 1, Fault.KEY_TWICE)]


_CHANGES: dict[str, Callable[[Any], Any]] = {
    "total_score": lambda score: score + 1,
    "stage": lambda stage: stage + 1,
    "stage_count": lambda count: count + 1,
    "difficulty": lambda difficulty: difficulty + 2,
    "started_at": lambda at: at + timedelta(milliseconds=1),
    "ended_at": lambda at: NOON + timedelta(seconds=1) if at is None else None,
    "dealt_at": lambda at: NOON + timedelta(seconds=1) if at is None else None,
    "session_id": lambda identity: UUID(int=identity.int + 1000),
    "status": lambda status: Status.CANCELED if status is not Status.CANCELED else Status.FAILED,
    "seed": lambda seed: seed + 1000,
}


@pytest.mark.parametrize("name", _CHANGES)
@settings(max_examples=15)
@given(events=runs(), data=st.data())
def test_state_that_its_step_does_not_give_is_found(name: str, events: list[Event], data: st.DataObject) -> None:
    # The last one, so that what follows is not told apart from it.
    last = events[-1]
    session = last.state.session
    assert session is not None
    changed = session._replace(**{name: _CHANGES[name](getattr(session, name))})
    events[-1] = replace(last, state=last.state._replace(session=changed))
    _, problems = replay(7, events)
    # These a start chooses freely, so nothing can be wrong with them there.
    if last.action is Action.START and name in ("stage_count", "difficulty", "session_id", "seed"):
        assert problems == []
    else:
        (problem,) = problems
        assert problem.fault is Fault.STATE
        assert problem.what.startswith(name)
        assert str(changed.seed) not in problem.what or name != "seed"


def test_damage_in_the_middle_is_not_blamed_on_what_follows() -> None:
    events = run(Start(UUID(int=1), 3), Complete(5), Complete(5), Complete(5))
    first, rest = events[:1], events[1:]
    higher = [replace(event, state=_with(event.state, lambda s: {"total_score": s.total_score + 1})) for event in rest]
    _, problems = replay(7, first + higher)
    assert [(problem.version, problem.what) for problem in problems] == [(2, "total_score is 6, not 5")]


def _with(state: PlayerState, change: Callable[[Session], dict[str, Any]]) -> PlayerState:
    assert state.session is not None
    return state._replace(session=state.session._replace(**change(state.session)))


_BEGUN = run(Start(UUID(int=1), 2, seed=9))
_DEALT = run(Start(UUID(int=1), 2, seed=9), Deal())


@pytest.mark.parametrize(
    ("before", "event", "fault", "what"),
    [
        ([], Event("k", Action.COMPLETE, 3, _BEGUN[0].state, NOON), Fault.REFUSED, "complete: no_session"),
        (_DEALT, logged(_BEGUN[0].state, Deal()), Fault.REPEATED, "version 2 comes after version 2"),
        (_BEGUN, replace(logged(_BEGUN[0].state, Complete(3)), score=None), Fault.ARGUMENT, "score None"),
        (_BEGUN, logged(_BEGUN[0].state, Close(-1)), Fault.ARGUMENT, "score -1"),
        (
            _BEGUN,
            replace(logged(_BEGUN[0].state, Cancel()), score=1),
            Fault.ARGUMENT,
            "cancel with a score or a verdict",
        ),
        ([], logged(NEVER_PLAYED, Start(UUID(int=1), 0)), Fault.ARGUMENT, "0 stages at difficulty 0"),
        ([], logged(NEVER_PLAYED, Start(UUID(int=1), 3, 10)), Fault.ARGUMENT, "3 stages at difficulty 10"),
        (
            [],
            replace(logged(NEVER_PLAYED, Start(UUID(int=1), 3)), state=PlayerState(1, None)),
            Fault.ARGUMENT,
            "it leaves no session",
        ),
        (
            _DEALT,
            logged(_DEALT[-1].state, Complete(3, Judged("{}", Verdict.LATE))),
            Fault.JUDGED,
            "complete, found to be late",
        ),
        (
            _DEALT,
            logged(_DEALT[-1].state, Close(3, Judged("{}", Verdict.LATE))),
            Fault.JUDGED,
            "an answer that was late has a score",
        ),
        (
            _BEGUN,
            logged(_BEGUN[0].state, Complete(3, Judged("{}", Verdict.PASSED))),
            Fault.JUDGED,
            "an answer to a stage that was not dealt",
        ),
    ],
)
def test_event_that_cannot_be_is_named(before: list[Event], event: Event, fault: Fault, what: str) -> None:
    _, problems = replay(7, [*before, replace(event, key="another")])
    assert problems == [Problem(event.state.version, fault, what)]


def test_stage_that_was_dealt_is_not_dealt_again() -> None:
    again = Event("k", Action.DEAL, None, _DEALT[-1].state._replace(version=3), NOON)
    _, problems = replay(7, [*_DEALT, again])
    assert problems == [Problem(3, Fault.REFUSED, "deal: the current stage was dealt before")]


@settings(max_examples=40)
@given(runs(), st.data())
def test_events_without_a_seed_go_with_those_that_have_one(events: list[Event], data: st.DataObject) -> None:
    """As nodes of an older version write them, and as sessions that were in progress then have them later."""
    without = data.draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events)))
    mixed = [
        replace(event, state=_with(event.state, lambda _: {"seed": 0})) if bare else event
        for event, bare in zip(events, without, strict=True)
    ]
    played, problems = replay(7, mixed)
    assert problems == []
    assert unlike(*with_known_seed(played.state, events[-1].state)) == ""


def test_states_are_told_apart_in_words() -> None:
    begun, dealt = _BEGUN[0].state, _DEALT[-1].state
    assert unlike(begun, begun) == ""
    assert unlike(begun, dealt) == "version is 2, not 1"
    assert unlike(begun, dealt._replace(version=1)) == "dealt_at is 2026-11-23T12:00:00.000+00:00, not None"
    assert unlike(begun, NEVER_PLAYED._replace(version=1)) == "one of them has no session"
    assert unlike(begun, _with(begun, lambda _: {"status": Status.FAILED})) == "status is 2, not 0"


@settings(max_examples=50)
@given(runs())
def test_command_of_an_event_is_the_one_that_was_given(events: list[Event]) -> None:
    state = NEVER_PLAYED
    for event in events:
        assert step(state, command_of(event), event.at) == event.state
        state = event.state


def test_replay_can_be_asked_in_between() -> None:
    played = Replay(7)
    for event in run(Start(UUID(int=1), 1), Complete(5)):
        assert played.add(event) == []
    assert {ladder: best.entry.total_score for ladder, best in played.best.items()}["all-time"] == 5
    (entry,) = {best.entry for best in played.best.values()}
    assert (entry.number, entry.passed_all_games, entry.achieved_at) == (7, True, NOON)
