"""What holds for every stage, whoever adds one."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from game.session import Verdict
from game.stages.catalog import STAGES
from game.stages.stage import GRACE, MAX_POINTS, Judgement, Stage, TooFast, dealt, judged
from tests.game.stages.answers import nothing, perfect, same_or_other

SECOND = timedelta(seconds=1)
seeds = st.integers(0, 2**63 - 1)
difficulties = st.integers(0, 9)
every_stage = pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
some = settings(max_examples=30, deadline=None)


def judge(stage: Stage, seed: int, difficulty: int, answer: object, elapsed: timedelta) -> Judgement:
    return judged(stage, seed, 0, difficulty, answer, elapsed, same_or_other)


def text_of(puzzle: object) -> str:
    assert dataclasses.is_dataclass(puzzle)
    assert not isinstance(puzzle, type)
    return json.dumps(dataclasses.asdict(puzzle))


@every_stage
@some
@given(seed=seeds, difficulty=difficulties)
def test_player_who_comes_back_gets_the_same_puzzle(stage: Stage, seed: int, difficulty: int) -> None:
    assert text_of(dealt(stage, seed, 3, difficulty)) == text_of(dealt(stage, seed, 3, difficulty))


@every_stage
def test_sessions_and_their_stages_have_puzzles_of_their_own(stage: Stage) -> None:
    puzzles = {text_of(dealt(stage, seed, number, 0)) for seed in range(20) for number in range(2)}
    assert len(puzzles) > 10


@every_stage
@pytest.mark.parametrize("difficulty", range(9))
def test_each_difficulty_differs_from_the_next_in_puzzle_or_points(stage: Stage, difficulty: int) -> None:
    easier, harder = (judge_perfect(stage, each) for each in (difficulty, difficulty + 1))
    assert harder.score > easier.score


@every_stage
def test_puzzles_of_the_hardest_are_not_those_of_the_easiest(stage: Stage) -> None:
    assert any(text_of(dealt(stage, seed, 0, 0)) != text_of(dealt(stage, seed, 0, 9)) for seed in range(5))


def judge_perfect(stage: Stage, difficulty: int, seed: int = 5) -> Judgement:
    puzzle = dealt(stage, seed, 0, difficulty)
    answer = perfect(stage, puzzle)
    return judge(stage, seed, difficulty, answer, stage.least_time(puzzle, answer))


@every_stage
@some
@given(seed=seeds, difficulty=difficulties)
def test_perfect_player_passes_with_nearly_all_points(stage: Stage, seed: int, difficulty: int) -> None:
    judgement = judge_perfect(stage, difficulty, seed)
    assert judgement.verdict is Verdict.PASSED
    most = MAX_POINTS * (10 + difficulty) // 10
    assert 0.95 * most <= judgement.score <= most


@every_stage
def test_empty_answer_fails_without_points(stage: Stage) -> None:
    assert judge(stage, 1, 0, nothing(stage), 30 * SECOND) == Judgement(0, Verdict.FAILED)


@every_stage
def test_late_answer_is_worth_nothing_however_good(stage: Stage) -> None:
    answer, limit = perfect(stage, dealt(stage, 1, 0, 4)), stage.time_limit(4)
    assert judge(stage, 1, 4, answer, limit + GRACE).verdict is Verdict.PASSED
    assert judge(stage, 1, 4, answer, limit + GRACE + SECOND) == Judgement(0, Verdict.LATE)


@every_stage
def test_answer_that_nobody_gives_so_fast_is_refused(stage: Stage) -> None:
    puzzle = dealt(stage, 1, 0, 0)
    answer = perfect(stage, puzzle)
    with pytest.raises(TooFast):
        judge(stage, 1, 0, answer, stage.least_time(puzzle, answer) * 0.8)
    with pytest.raises(TooFast):
        judge(stage, 1, 0, answer, -SECOND)  # the clock of another server


@every_stage
@some
@given(seed=seeds, difficulty=difficulties, data=st.data())
def test_score_is_the_same_whenever_it_is_asked(stage: Stage, seed: int, difficulty: int, data: st.DataObject) -> None:
    answer = data.draw(st.just(perfect(stage, dealt(stage, seed, 0, difficulty))) | st.just(nothing(stage)))
    elapsed = timedelta(milliseconds=data.draw(st.integers(30_000, 70_000)))

    def outcome() -> Judgement | type[TooFast]:
        try:
            return judge(stage, seed, difficulty, answer, elapsed)
        except TooFast:
            return TooFast

    assert outcome() == outcome()


@every_stage
def test_stage_takes_a_minute_or_two(stage: Stage) -> None:
    assert all(60 * SECOND <= stage.time_limit(difficulty) <= 120 * SECOND for difficulty in range(10))
