"""The contract's table of requests, line by line, against the union of messages."""

from __future__ import annotations

import pytest

from protocol.client_messages import (
    CLIENT_TYPES,
    MAX_TOKEN_CHARACTERS,
    AuthLogin,
    ClientMessage,
    LeaderboardGet,
    LeaderboardSubscribe,
    LeaderboardUnsubscribe,
    Ping,
    SessionCancel,
    SessionComplete,
    SessionStart,
    Since,
)
from protocol.codec import UndecodableError, decode
from tests.protocol.examples import REQUESTS, Json, longest, request, shortest, text_of

OPTIONAL = [(kind, name) for kind, fields in REQUESTS.items() for name in fields.optional]
REQUIRED = [(kind, name) for kind, fields in REQUESTS.items() for name in fields.required]


def received(kind: str, **data: object) -> ClientMessage:
    return decode(text_of(request(kind, **data)))


def refused(envelope: Json) -> dict[str, str]:
    """The fields that the server names, with what is wrong with them."""
    with pytest.raises(UndecodableError) as caught:
        decode(text_of(envelope))
    assert caught.value.error.code == "invalid"
    return {field.path: field.message for field in caught.value.error.fields}


def on_wire(message: ClientMessage) -> Json:
    """What the message says, by the names of the wire."""
    return message.model_dump(mode="json")


def test_client_may_send_the_types_of_the_contract_and_no_others() -> None:
    assert REQUESTS.keys() == CLIENT_TYPES
    assert len(CLIENT_TYPES) == 22


@pytest.mark.parametrize("kind", REQUESTS)
def test_client_sends_what_is_required_and_nothing_else(kind: str) -> None:
    message = decode(text_of(shortest(kind)))
    assert (message.type, message.id) == (kind, "c7")
    data = on_wire(message)["data"]
    assert {name: data[name] for name in REQUESTS[kind].required} == REQUESTS[kind].required


@pytest.mark.parametrize("kind", REQUESTS)
def test_client_sends_everything_the_contract_names(kind: str) -> None:
    assert on_wire(decode(text_of(longest(kind)))) == {"data": {}} | longest(kind)


@pytest.mark.parametrize(("kind", "name"), OPTIONAL)
def test_client_may_leave_out_what_is_optional(kind: str, name: str) -> None:
    envelope = longest(kind)
    del envelope["data"][name]
    assert decode(text_of(envelope)).type == kind


@pytest.mark.parametrize(("kind", "name"), OPTIONAL)
def test_client_may_send_any_optional_field_alone(kind: str, name: str) -> None:
    value = REQUESTS[kind].optional[name]
    message = received(kind, **REQUESTS[kind].required, **{name: value})
    assert on_wire(message)["data"][name] == value


@pytest.mark.parametrize(("kind", "name"), REQUIRED)
def test_client_is_told_what_is_missing(kind: str, name: str) -> None:
    envelope = longest(kind)
    del envelope["data"][name]
    assert refused(envelope) == {name: "required"}


@pytest.mark.parametrize("kind", [kind for kind, fields in REQUESTS.items() if fields.required])
def test_client_cannot_leave_out_data_that_is_required(kind: str) -> None:
    assert refused({"type": kind, "id": 1}) == {"data": "required"}
    assert refused({"type": kind, "id": 1, "data": {}}) == dict.fromkeys(REQUESTS[kind].required, "required")


@pytest.mark.parametrize("kind", [kind for kind, fields in REQUESTS.items() if not fields.required])
def test_client_may_leave_out_data_that_would_be_empty(kind: str) -> None:
    assert decode(text_of({"type": kind, "id": 1})) == decode(text_of({"type": kind, "id": 1, "data": {}}))


@pytest.mark.parametrize("kind", REQUESTS)
def test_client_is_told_the_name_of_an_unknown_field(kind: str) -> None:
    envelope = longest(kind)
    envelope["data"] = {**envelope.get("data", {}), "stranger": 1}
    assert refused(envelope) == {"stranger": "unknown field"}


@pytest.mark.parametrize("kind", REQUESTS)
def test_client_is_told_that_its_id_is_missing(kind: str) -> None:
    envelope = longest(kind)
    del envelope["id"]
    assert refused(envelope) == {"id": "required"}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name in OPTIONAL + REQUIRED if name != name.lower()])
def test_client_is_refused_with_a_name_that_is_not_camel_case(kind: str, name: str) -> None:
    # "Keys are camelCase": another spelling of a field is an unknown field, as it is over HTTP.
    snake_case = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    envelope = longest(kind)
    envelope["data"][snake_case] = envelope["data"].pop(name)
    assert refused(envelope) == {name: "required", snake_case: "unknown field"}


# What is meant where nothing is said


def test_session_starts_with_difficulty_0_unless_said() -> None:
    message = received("session.start")
    assert isinstance(message, SessionStart)
    assert (message.data.difficulty, message.data.key) == (0, None)


def test_action_without_a_key_has_none() -> None:
    complete, cancel = received("session.complete", score=5), received("session.cancel")
    assert isinstance(complete, SessionComplete)
    assert isinstance(cancel, SessionCancel)
    assert (complete.data.key, cancel.data.key) == (None, None)


def test_board_is_that_of_all_time_and_its_first_10_unless_said() -> None:
    got, subscribed, left = map(received, ("leaderboard.get", "leaderboard.subscribe", "leaderboard.unsubscribe"))
    assert isinstance(got, LeaderboardGet)
    assert isinstance(subscribed, LeaderboardSubscribe)
    assert isinstance(left, LeaderboardUnsubscribe)
    assert (got.data.board, got.data.limit, got.data.offset, got.data.around) == ("all-time", 10, None, None)
    assert (subscribed.data.board, subscribed.data.limit, subscribed.data.since) == ("all-time", 10, None)
    assert left.data.board == "all-time"


def test_subscriber_says_what_it_holds() -> None:
    message = received("leaderboard.subscribe", since={"epoch": "e", "version": 0})
    assert isinstance(message, LeaderboardSubscribe)
    assert message.data.since == Since(epoch="e", version=0)


# Bounds


@pytest.mark.parametrize("limit", [1, 2, 10, 99, 100])
def test_reader_may_ask_for_1_to_100_rows(limit: int) -> None:
    assert on_wire(received("leaderboard.get", limit=limit))["data"]["limit"] == limit


@pytest.mark.parametrize("limit", [-1, 0, 101, 10**30])
def test_reader_may_not_ask_for_more_or_fewer_rows(limit: int) -> None:
    assert list(refused(request("leaderboard.get", limit=limit))) == ["limit"]


@pytest.mark.parametrize("limit", [10, 25, 50, 100])
def test_subscriber_may_follow_10_25_50_or_100_rows(limit: int) -> None:
    assert on_wire(received("leaderboard.subscribe", limit=limit))["data"]["limit"] == limit


@pytest.mark.parametrize("limit", [-10, 0, 1, 9, 11, 20, 99, 101, 1000])
def test_subscriber_may_not_follow_another_number_of_rows(limit: int) -> None:
    assert list(refused(request("leaderboard.subscribe", limit=limit))) == ["limit"]


@pytest.mark.parametrize(("offset", "fits"), [(-1, False), (0, True), (2**31 - 1, True), (2**31, False)])
def test_offset_counts_from_0_and_is_bounded(offset: int, fits: bool) -> None:
    if fits:
        assert on_wire(received("leaderboard.get", offset=offset))["data"]["offset"] == offset
    else:
        assert list(refused(request("leaderboard.get", offset=offset))) == ["offset"]


@pytest.mark.parametrize("around", ["you", "", "ME", 1, True, ["me"]])
def test_reader_may_look_around_itself_only(around: object) -> None:
    assert list(refused(request("leaderboard.get", around=around))) == ["around"]


@pytest.mark.parametrize("kind", ["leaderboard.get", "leaderboard.subscribe", "leaderboard.unsubscribe"])
def test_unknown_board_is_left_to_its_own_error(kind: str) -> None:
    assert on_wire(received(kind, board="monthly"))["data"]["board"] == "monthly"
    assert on_wire(received(kind, board=""))["data"]["board"] == ""
    assert list(refused(request(kind, board="x" * 65))) == ["board"]


@pytest.mark.parametrize(
    ("since", "paths"),
    [
        ({}, ["since.epoch", "since.version"]),
        ({"epoch": "e"}, ["since.version"]),
        ({"version": 1}, ["since.epoch"]),
        ({"epoch": "e", "version": -1}, ["since.version"]),
        ({"epoch": 1, "version": 1}, ["since.epoch"]),
        ({"epoch": "e" * 65, "version": 1}, ["since.epoch"]),
        ({"epoch": "e", "version": 1, "stranger": 1}, ["since.stranger"]),
        ("e", ["since"]),
        ([], ["since"]),
    ],
)
def test_subscriber_is_told_what_is_wrong_with_what_it_holds(since: object, paths: list[str]) -> None:
    assert list(refused(request("leaderboard.subscribe", since=since))) == paths


@pytest.mark.parametrize("kind", ["session.start", "session.complete", "session.close", "session.cancel"])
@pytest.mark.parametrize("key", ["", "1234567", "x" * 65, "1234567\n", 12345678])
def test_player_is_refused_with_a_key_that_is_none(kind: str, key: object) -> None:
    assert list(refused(request(kind, **{**REQUESTS[kind].required, "key": key}))) == ["key"]


@pytest.mark.parametrize("kind", ["session.complete", "session.close"])
@pytest.mark.parametrize("score", [-1, 2**63, 10**100, 0.5, "5", None])
def test_player_is_refused_with_a_score_that_is_none(kind: str, score: object) -> None:
    assert list(refused(request(kind, score=score))) == ["score"]


def test_new_account_is_checked_field_by_field() -> None:
    problems = refused(request("auth.register", email="ada", username="\u202e", password="short"))
    assert problems == {
        "email": "this is not an email address",
        "username": "no control characters",
        "password": "at least 8 characters",
    }


def test_credentials_are_compared_and_not_checked_against_the_rules_for_new_ones() -> None:
    message = received("auth.login", email="ADA ", password="\0")
    assert isinstance(message, AuthLogin)
    assert (message.data.email, message.data.password) == ("ADA ", "\0")


@pytest.mark.parametrize(
    ("kind", "name"),
    [("auth.login", "email"), ("auth.login", "password"), ("auth.resume", "token"), ("auth.refresh", "refreshToken")],
)
def test_texts_that_are_looked_up_are_bounded(kind: str, name: str) -> None:
    longest_text = "x" * MAX_TOKEN_CHARACTERS
    assert received(kind, **{**REQUESTS[kind].required, name: longest_text}).type == kind
    assert list(refused(request(kind, **{**REQUESTS[kind].required, name: f"{longest_text}x"}))) == [name]


def test_message_can_be_made_by_names_of_python() -> None:
    assert Ping(id=1, type="ping") == decode(b'{"type": "ping", "id": 1}')
