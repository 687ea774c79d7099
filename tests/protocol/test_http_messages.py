"""Bodies of HTTP answers that no message of the socket has."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from game.session import NEVER_PLAYED
from protocol.codec import encode_data
from protocol.errors import ERRORS, ErrorCode, FieldProblem, RequestError
from protocol.http_messages import BoardRowData, ErrorBody, TokensData, encode_http_error
from tests.protocol.examples import MOMENT, MOMENT_TEXT, NO_SESSION_JSON, STATE_JSON, state


def body(error: RequestError) -> Any:
    return json.loads(encode_http_error(error))


@pytest.mark.parametrize("code", ErrorCode)
def test_caller_reads_message_and_code_and_an_empty_payload(code: ErrorCode) -> None:
    assert body(RequestError(code)) == {"error": ERRORS[code].message, "code": code.value, "payload": {}}


def test_caller_reads_which_fields_are_wrong() -> None:
    problems = [FieldProblem("email", "required"), FieldProblem("stranger", "unknown field")]
    assert body(RequestError(ErrorCode.INVALID, fields=problems))["payload"] == {
        "fields": [
            {"path": "email", "message": "required"},
            {"path": "stranger", "message": "unknown field"},
        ]
    }


@pytest.mark.parametrize("wait", [0, 1, 1500])
def test_caller_reads_when_to_try_again(wait: int) -> None:
    assert body(RequestError(ErrorCode.UNAVAILABLE, retry_after_ms=wait))["payload"] == {"retryAfterMs": wait}


def test_caller_reads_the_session_that_is_not_active() -> None:
    assert body(RequestError(ErrorCode.SESSION_NOT_ACTIVE, session=state()))["payload"] == {"session": STATE_JSON}
    assert body(RequestError(ErrorCode.NO_SESSION, session=NEVER_PLAYED))["payload"] == {"session": NO_SESSION_JSON}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(ErrorCode),
    st.text(),
    st.lists(st.builds(FieldProblem, st.text(), st.text()), max_size=3),
    st.none() | st.integers(0, 10**6),
)
def test_any_error_is_a_body_that_reads_back(
    code: ErrorCode, text: str, problems: list[FieldProblem], wait: int | None
) -> None:
    error = RequestError(code, text, fields=problems, retry_after_ms=wait)
    assert ErrorBody.model_validate_json(encode_http_error(error)) == ErrorBody.of(error)


def test_caller_reads_its_tokens() -> None:
    tokens = TokensData(token="a.b.c", token_expires_at=MOMENT, refresh_token="r")
    assert json.loads(encode_data(tokens)) == {
        "token": "a.b.c",
        "tokenExpiresAt": MOMENT_TEXT,
        "refreshToken": "r",
    }


@pytest.mark.parametrize("email", [None, "ada@example.test"])
def test_email_of_a_row_is_null_or_the_callers_own(email: str | None) -> None:
    row = BoardRowData(username="Ada", email=email, total_score=420, passed_all_games=True, number=12)
    assert json.loads(encode_data(row)) == {
        "username": "Ada",
        "email": email,
        "totalScore": 420,
        "passedAllGames": True,
        "number": 12,
    }
