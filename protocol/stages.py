"""Puzzles and answers on the wire: the dataclasses of game/stages, in camelCase, closed, nothing converted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass

from game.stages.catalog import STAGES
from game.stages.stage import Stage
from protocol.errors import ErrorCode, FieldProblem, RequestError

_WIRE: Final = ConfigDict(
    alias_generator=to_camel,
    validate_by_name=False,
    validate_by_alias=True,
    serialize_by_alias=True,
    strict=True,
    extra="forbid",
)
#: An error names at most this many places of an answer.
_MAX_FIELDS_NAMED: Final = 5
#: Of the name of a field that is not there: what is sent back is no larger for a longer one.
MAX_NAME_ECHOED: Final = 64


def _adapter(values: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(dataclass(values, config=_WIRE, frozen=True))


_PUZZLES: Final = {name: _adapter(stage.puzzle_class) for name, stage in STAGES.items()}
_ANSWERS: Final = {name: _adapter(stage.answer_class) for name, stage in STAGES.items()}


def puzzle_data(stage: Stage, puzzle: Any) -> dict[str, Any]:
    """A puzzle as JSON values."""
    fields: dict[str, Any] = _PUZZLES[stage.name].dump_python(puzzle, mode="json")
    return fields


def read_answer(stage: Stage, answer: Mapping[str, Any]) -> Any:
    """An answer to a puzzle of this stage; raises RequestError with `invalid`."""
    try:
        # From text: a JSON array stands for a tuple there.
        return _ANSWERS[stage.name].validate_json(answer_text(answer))
    except ValidationError as error:
        problems = [_problem(each) for each in error.errors()[:_MAX_FIELDS_NAMED]]
        raise RequestError(ErrorCode.INVALID, fields=problems) from None


def answer_text(answer: Mapping[str, Any]) -> str:
    """An answer as the log keeps it; two answers are the same when their texts are."""
    return json.dumps(answer, sort_keys=True, separators=(",", ":"))


def puzzle_schemas() -> list[dict[str, Any]]:
    """JSON Schemas of every stage's puzzles."""
    found = [
        _described(stage, stage.puzzle_class, _PUZZLES[name].json_schema(mode="serialization"))
        for name, stage in STAGES.items()
    ]
    for schema in found:
        del schema["additionalProperties"]  # clients have to bear fields that are new
    return found


def answer_schemas() -> list[dict[str, Any]]:
    """JSON Schemas of every stage's answers."""
    return [_described(stage, stage.answer_class, _ANSWERS[name].json_schema()) for name, stage in STAGES.items()]


def _described(stage: Stage, values: type[Any], schema: dict[str, Any]) -> dict[str, Any]:
    return schema | {"description": f"`{stage.name}`: {' '.join((values.__doc__ or '').split())}"}


def _problem(error: Any) -> FieldProblem:
    path = ".".join(["answer", *(str(part)[:MAX_NAME_ECHOED] for part in error["loc"])])
    message = {"unexpected_keyword_argument": "unknown field", "missing": "required"}.get(error["type"], error["msg"])
    return FieldProblem(path, message.removeprefix("Value error, "))
