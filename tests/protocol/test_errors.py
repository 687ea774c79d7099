"""The table of errors against the contract's, which is written down here a second time."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from protocol.errors import ERRORS, CloseCode, ErrorCode, FieldProblem, RequestError, invalid
from tests.protocol.examples import state

#: The contract's line of codes by HTTP status.
STATUSES = {
    "image_unreadable": 400,
    "malformed": 400,
    "unknown_type": 400,
    "invalid": 400,
    "unauthenticated": 401,
    "invalid_credentials": 401,
    "token_expired": 401,
    "token_revoked": 401,
    "forbidden": 403,
    "origin_not_allowed": 403,
    "not_found": 404,
    "unknown_board": 404,
    "score_not_accepted": 403,
    "no_session": 404,
    "method_not_allowed": 405,
    "email_taken": 409,
    "username_taken": 409,
    "session_not_active": 409,
    "key_reused": 409,
    "not_dealt": 409,
    "too_fast": 409,
    "too_large": 413,
    "unsupported_media_type": 415,
    "upgrade_required": 426,
    "rate_limited": 429,
    "internal": 500,
    "unavailable": 503,
}


def test_codes_are_those_of_the_contract() -> None:
    assert {code.value for code in ErrorCode} == STATUSES.keys()


def test_table_has_every_code() -> None:
    assert ERRORS.keys() == set(ErrorCode)


@pytest.mark.parametrize("code", ErrorCode)
def test_code_has_the_http_status_of_the_contract(code: ErrorCode) -> None:
    assert ERRORS[code].status == STATUSES[code]
    assert RequestError(code).status is HTTPStatus(STATUSES[code])


@pytest.mark.parametrize("code", ErrorCode)
def test_trying_again_helps_only_where_the_contract_says(code: ErrorCode) -> None:
    assert RequestError(code).retryable is (code in ("rate_limited", "unavailable"))


@pytest.mark.parametrize("code", ErrorCode)
def test_message_is_a_sentence_for_a_person(code: ErrorCode) -> None:
    message = ERRORS[code].message
    assert message.endswith(".")
    assert message[0].isupper()
    assert code.value not in message or "_" not in code.value
    assert RequestError(code).message == str(RequestError(code)) == message


def test_messages_can_be_told_apart() -> None:
    assert len({kind.message for kind in ERRORS.values()}) == len(ERRORS)


def test_close_codes_are_those_of_the_contract() -> None:
    contract = {1001, 1003, 1007, 1009, 4400, 4401, 4408, 4429, 4508}
    # RFC 6455 section 7.4.1: a normal closure and an unexpected condition need no word in the contract.
    assert {int(code) for code in CloseCode} == contract | {1000, 1011}


@pytest.mark.parametrize(
    ("code", "number"),
    [
        (CloseCode.NORMAL, 1000),
        (CloseCode.GOING_AWAY, 1001),
        (CloseCode.BINARY_FRAME, 1003),
        (CloseCode.NOT_UTF8, 1007),
        (CloseCode.TOO_BIG, 1009),
        (CloseCode.INTERNAL_ERROR, 1011),
        (CloseCode.MALFORMED, 4400),
        (CloseCode.UNAUTHENTICATED, 4401),
        (CloseCode.IDLE, 4408),
        (CloseCode.FLOODING, 4429),
        (CloseCode.STUCK_READER, 4508),
    ],
)
def test_close_code_has_its_number(code: CloseCode, number: int) -> None:
    assert code == number


def test_error_carries_what_it_was_raised_with() -> None:
    problems = [FieldProblem("score", "required")]
    error = RequestError(ErrorCode.RATE_LIMITED, "Slow down.", fields=problems, retry_after_ms=250, session=state())
    assert (error.code, error.message, str(error)) == (ErrorCode.RATE_LIMITED, "Slow down.", "Slow down.")
    assert error.fields == (FieldProblem("score", "required"),)
    assert (error.retry_after_ms, error.session) == (250, state())


def test_error_without_more_carries_nothing() -> None:
    error = RequestError(ErrorCode.INTERNAL)
    assert (error.fields, error.retry_after_ms, error.session) == ((), None, None)


def test_empty_message_is_kept() -> None:
    assert RequestError(ErrorCode.INTERNAL, "").message == ""


def test_invalid_names_the_field_and_what_is_wrong() -> None:
    error = invalid("around", "log in first")
    assert error.code is ErrorCode.INVALID
    assert error.fields == (FieldProblem("around", "log in first"),)
