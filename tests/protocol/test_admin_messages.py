"""Bodies of the operators' routes: their names on the wire, and which reasons are accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol.admin_messages import (
    ActData,
    ActsBeforeData,
    FiguresData,
    FindPlayersData,
    NamedPlayerData,
    ReasonData,
    SampleData,
    StepData,
)
from protocol.codec import decode_data, encode_data
from protocol.errors import ErrorCode, RequestError
from tests.protocol.examples import MOMENT, MOMENT_TEXT


def reason(text: object) -> str:
    return decode_data(ReasonData, json.dumps({"reason": text}).encode()).reason


@pytest.mark.parametrize(
    ("given", "kept"),
    [("x", "x"), ("  two\n lines\t", "two lines"), ("é" * 500, "é" * 500), (" " * 600 + "x", "x"), ("🤖", "🤖")],
)
def test_reason_is_kept_in_one_line(given: str, kept: str) -> None:
    assert reason(given) == kept


@pytest.mark.parametrize("given", ["", "  \n", "x" * 501, "a\0b", "a\x1b[31m", 7, None])
def test_reason_that_says_nothing_or_steers_a_terminal_is_refused(given: object) -> None:
    with pytest.raises(RequestError) as caught:
        reason(given)
    assert caught.value.code is ErrorCode.INVALID
    assert [field.path for field in caught.value.fields] == ["reason"]


def test_reason_has_to_be_given() -> None:
    with pytest.raises(RequestError) as caught:
        decode_data(ReasonData, b"")
    assert caught.value.fields[0].message == "required"


def test_queries_have_defaults_and_bounds() -> None:
    assert decode_data(FindPlayersData, b"").find == ""
    assert decode_data(FindPlayersData, b"", find="#12").find == "#12"
    assert decode_data(ActsBeforeData, b"").before is None
    refused: list[tuple[Any, dict[str, object]]] = [
        (FindPlayersData, {"find": "x" * 255}),
        (ActsBeforeData, {"before": 0}),
        (ActsBeforeData, {"before": "7"}),
        (ActsBeforeData, {"after": 1}),
    ]
    for model, query in refused:
        with pytest.raises(RequestError):
            decode_data(model, b"", **query)


def test_page_reads_the_figures_by_these_names() -> None:
    sample = SampleData(
        at=MOMENT,
        players=1,
        spectators=2,
        actions=3,
        commit_p50_ms=4.5,
        commit_p99_ms=None,
        board_staleness_ms=6.0,
        boards_behind=False,
    )
    assert json.loads(encode_data(FiguresData(samples=[sample]))) == {
        "intervalMs": 1000,
        "samples": [
            {
                "at": MOMENT_TEXT,
                "players": 1,
                "spectators": 2,
                "actions": 3,
                "commitP50Ms": 4.5,
                "commitP99Ms": None,
                "boardStalenessMs": 6.0,
                "boardsBehind": False,
            }
        ],
    }


def test_page_reads_a_step_and_an_act_by_these_names() -> None:
    step = StepData(
        version=2,
        at=MOMENT,
        action="complete",
        score=5,
        verdict="passed",
        answer={"cards": [1, 2]},
        status=0,
        stage=1,
        total_score=5,
        difficulty=3,
    )
    assert json.loads(encode_data(step)) == {
        "version": 2,
        "at": MOMENT_TEXT,
        "action": "complete",
        "score": 5,
        "verdict": "passed",
        "answer": {"cards": [1, 2]},
        "status": 0,
        "stage": 1,
        "totalScore": 5,
        "difficulty": 3,
    }
    gone = NamedPlayerData(number=2, username=None)
    act = ActData(id=9, at=MOMENT, operator=None, act="take_off_boards", player=gone, reason="why")
    assert json.loads(encode_data(act)) == {
        "id": 9,
        "at": MOMENT_TEXT,
        "operator": None,
        "act": "take_off_boards",
        "player": {"number": 2, "username": None},
        "reason": "why",
    }
