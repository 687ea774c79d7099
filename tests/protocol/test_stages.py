"""Puzzles and answers on the wire."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from game.stages.catalog import STAGES
from game.stages.stage import Stage, dealt
from protocol.errors import ErrorCode, RequestError
from protocol.examples import client_examples
from protocol.stages import answer_schemas, answer_text, puzzle_data, puzzle_schemas, read_answer
from tests.game.stages.answers import perfect
from tests.protocol.examples import values

every_stage = pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)


def problems(stage: Stage, answer: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(RequestError) as caught:
        read_answer(stage, answer)
    assert caught.value.code is ErrorCode.INVALID
    return [(field.path, field.message) for field in caught.value.fields]


@every_stage
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), difficulty=st.integers(0, 9))
def test_puzzle_is_what_the_published_schema_says(stage: Stage, seed: int, difficulty: int) -> None:
    data = puzzle_data(stage, dealt(stage, seed, 0, difficulty))
    text = json.dumps(data)
    fitting = [schema for schema in puzzle_schemas() if jsonschema.Draft202012Validator(schema).is_valid(data)]
    assert [schema["description"].split("`")[1] for schema in fitting] == [stage.name]
    assert "_" not in text  # camelCase


@every_stage
def test_answer_arrives_as_it_was_sent(stage: Stage) -> None:
    answer = perfect(stage, dealt(stage, 1, 0, 0))
    name = next(iter(answer.__dataclass_fields__))
    sent = {name: json.loads(json.dumps(getattr(answer, name)))}
    assert getattr(read_answer(stage, sent), name) == getattr(answer, name)
    fitting = [schema for schema in answer_schemas() if jsonschema.Draft202012Validator(schema).is_valid(sent)]
    assert [schema["description"].split("`")[1] for schema in fitting] == [stage.name]


def test_wrong_answer_is_told_where_it_is_wrong() -> None:
    sequence, sums, drawing = STAGES.values()
    assert problems(sequence, {}) == [("answer.rounds", "required")]
    assert problems(sequence, {"rounds": [], "x": 1}) == [("answer.x", "unknown field")]
    assert [path for path, _ in problems(sequence, {"rounds": [[1, "2"]]})] == ["answer.rounds.0.1"]
    assert [path for path, _ in problems(sums, {"results": [1, 2.5]})] == ["answer.results.1"]
    assert problems(drawing, {"strokes": [[1, 2, 3]]}) == [("answer", "a stroke is x0, y0, x1, y1, …")]


@every_stage
@settings(max_examples=200, deadline=None)
@given(answer=st.dictionaries(st.sampled_from(["rounds", "results", "strokes", "x"]), values, max_size=2))
def test_any_answer_is_read_or_refused(stage: Stage, answer: dict[str, Any]) -> None:
    try:
        read = read_answer(stage, answer)
    except RequestError as error:
        refusal: RequestError | None = error
    else:
        refusal = None
        assert isinstance(read, stage.answer_class)
    assert refusal is None or 1 <= len(refusal.fields) <= 5


def test_same_answer_has_the_same_text_in_whatever_order_it_came() -> None:
    assert answer_text({"b": [1], "a": None}) == answer_text({"a": None, "b": [1]}) == '{"a":null,"b":[1]}'


@every_stage
def test_examples_in_the_contract_are_answers_to_its_games(stage: Stage) -> None:
    name = next(iter(stage.answer_class.__dataclass_fields__))
    answers = [message["data"]["answer"] for message in client_examples("stage.answer")]
    (answer,) = [answer for answer in answers if name in answer]
    assert isinstance(read_answer(stage, answer), stage.answer_class)


@pytest.mark.parametrize("tile", [-9, -1, 9, 10**4000])
def test_tile_that_is_not_on_the_board_is_no_answer(tile: int) -> None:
    sequence = STAGES["sequence"]
    assert problems(sequence, {"rounds": [[0, 8], [tile]]})[0][0].startswith("answer")


@pytest.mark.parametrize("result", [10**9, -(10**9), 10**4000])
def test_result_of_more_than_nine_digits_is_no_answer(result: int) -> None:
    sums = STAGES["sums"]
    assert read_answer(sums, {"results": [10**9 - 1, 1 - 10**9, None]}).results[0] == 10**9 - 1
    assert problems(sums, {"results": [None, result]})[0][0].startswith("answer")


@every_stage
def test_unknown_field_of_a_long_name_is_named_in_short(stage: Stage) -> None:
    name = next(iter(stage.answer_class.__dataclass_fields__))
    assert problems(stage, {name: [], "x" * 3_000_000: 1}) == [("answer." + "x" * 64, "unknown field")]
