"""What a client reads: names, nulls, absences and times of every message the server may send."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from game.ranking import Entry
from game.session import NEVER_PLAYED, PlayerState, Session, Status, Verdict
from game.standings import Row
from protocol.codec import decode_server_message, encode, encode_session
from protocol.errors import ErrorCode, FieldProblem, RequestError
from protocol.server_messages import (
    NO_SESSION,
    Authenticated,
    AuthenticatedData,
    AuthExpiring,
    AuthExpiringData,
    DistanceData,
    DrainingData,
    EntryData,
    Error,
    ErrorData,
    ImagesDistance,
    Leaderboard,
    LeaderboardData,
    LeaderboardDelta,
    LeaderboardDeltaData,
    LeaderboardPlace,
    LeaderboardPlaceData,
    LeaderboardStale,
    LeaderboardStaleData,
    LimitsData,
    Logins,
    LoginsData,
    Ok,
    OkData,
    OpenLoginData,
    Pong,
    PongData,
    RankedEntryData,
    ServerDraining,
    ServerMessage,
    ServerMessageBase,
    SessionData,
    SessionMessage,
    StageData,
    StageMessage,
    User,
    UserData,
    Welcome,
    WelcomeData,
)
from tests.protocol.examples import MOMENT, MOMENT_TEXT, NO_SESSION_JSON, STATE_JSON, Json, state

thorough = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

ROW = Row(Entry(12, True, 420, MOMENT), "Ada")
ENTRY_JSON: Json = {
    "number": 12,
    "username": "Ada",
    "totalScore": 420,
    "passedAllGames": True,
    "achievedAt": MOMENT_TEXT,
}
USER = UserData(id="u-1", username="Ada", email="ada@example.test", number=12)
USER_JSON: Json = {"id": "u-1", "username": "Ada", "email": "ada@example.test", "number": 12}
LIMITS = LimitsData(
    max_message_bytes=65536,
    max_player_message_bytes=4_194_304,
    max_stage_score=1_000_000,
    scoring="reported",
    stages=3,
    board_hz=10.0,
    idle_seconds=15.0,
    ping_seconds=20.0,
)
LIMITS_JSON: Json = {
    "maxMessageBytes": 65536,
    "maxPlayerMessageBytes": 4_194_304,
    "maxStageScore": 1_000_000,
    "stages": 3,
    "scoring": "reported",
    "boardHz": 10.0,
    "idleSeconds": 15.0,
    "pingSeconds": 20.0,
}


def welcome(user: UserData | None, session: SessionData | None) -> Welcome:
    return Welcome(
        data=WelcomeData(
            server="brain-game/1",
            connection_id="c-1",
            role="spectator" if user is None else "player",
            user=user,
            session=session,
            server_time=MOMENT,
            limits=LIMITS,
        )
    )


def welcome_json(role: str, user: Json | None, session: Json | None) -> Json:
    return {
        "type": "welcome",
        "data": {
            "protocol": 1,
            "server": "brain-game/1",
            "connectionId": "c-1",
            "role": role,
            "user": user,
            "session": session,
            "serverTime": MOMENT_TEXT,
            "limits": LIMITS_JSON,
        },
    }


def authenticated(refresh_token: str | None, session: SessionData | None) -> Authenticated:
    data = AuthenticatedData(
        token="a.b.c", token_expires_at=MOMENT, refresh_token=refresh_token, user=USER, session=session
    )
    return Authenticated(re="c7", data=data)


def leaderboard(re: str | None, entries: list[RankedEntryData] | None) -> Leaderboard:
    return Leaderboard(re=re, data=LeaderboardData(board="daily:3", epoch="e", version=9, total=1, entries=entries))


def error(request_error: RequestError, re: str | int | None = "c7") -> Error:
    return Error(re=re, data=ErrorData.of(request_error))


#: Every message in every form that the contract tells apart, with all that a client reads.
MESSAGES: dict[str, tuple[ServerMessage, Json]] = {
    "logins": (
        Logins(
            re="c7",
            data=LoginsData(logins=[OpenLoginData(id="l", created_at=MOMENT, last_used_at=MOMENT, current=True)]),
        ),
        {
            "type": "logins",
            "re": "c7",
            "data": {
                "logins": [{"id": "l", "createdAt": MOMENT_TEXT, "lastUsedAt": MOMENT_TEXT, "current": True}],
            },
        },
    ),
    "leaderboard.place, without an entry": (
        LeaderboardPlace(data=LeaderboardPlaceData(board="daily", epoch="e", version=3, total=9, position=None)),
        {
            "type": "leaderboard.place",
            "data": {"board": "daily", "epoch": "e", "version": 3, "total": 9, "position": None},
        },
    ),
    "leaderboard.stale": (
        LeaderboardStale(data=LeaderboardStaleData(board="daily", stale=False)),
        {"type": "leaderboard.stale", "data": {"board": "daily", "stale": False}},
    ),
    "leaderboard, stale": (
        Leaderboard(
            re="c7", data=LeaderboardData(board="daily", epoch="e", version=3, total=0, entries=[], stale=True)
        ),
        {
            "type": "leaderboard",
            "re": "c7",
            "data": {"board": "daily", "epoch": "e", "version": 3, "total": 0, "entries": [], "stale": True},
        },
    ),
    "images.distance": (
        ImagesDistance(re="c7", data=DistanceData(distance=12)),
        {"type": "images.distance", "re": "c7", "data": {"distance": 12}},
    ),
    "welcome, spectator": (welcome(None, None), welcome_json("spectator", None, None)),
    "welcome, player who never played": (welcome(USER, None), welcome_json("player", USER_JSON, None)),
    "welcome, player": (welcome(USER, SessionData.of(state())), welcome_json("player", USER_JSON, STATE_JSON)),
    "authenticated, login": (
        authenticated("r", SessionData.of(state())),
        {
            "type": "authenticated",
            "re": "c7",
            "data": {
                "token": "a.b.c",
                "tokenExpiresAt": MOMENT_TEXT,
                "refreshToken": "r",
                "user": USER_JSON,
                "session": STATE_JSON,
            },
        },
    ),
    "authenticated, resume of who never played": (
        authenticated(None, None),
        {
            "type": "authenticated",
            "re": "c7",
            "data": {"token": "a.b.c", "tokenExpiresAt": MOMENT_TEXT, "user": USER_JSON, "session": None},
        },
    ),
    "ok": (Ok(re=7, data=OkData()), {"type": "ok", "re": 7, "data": {}}),
    "user": (User(re="c7", data=USER), {"type": "user", "re": "c7", "data": USER_JSON}),
    "session, reply": (
        SessionMessage(re="c7", data=SessionData.of(state())),
        {"type": "session", "re": "c7", "data": STATE_JSON},
    ),
    "session, replayed": (
        SessionMessage(re="c7", data=SessionData.of(state(), replayed=True)),
        {"type": "session", "re": "c7", "data": {**STATE_JSON, "replayed": True}},
    ),
    "session, answered": (
        SessionMessage(re="c7", data=SessionData.of(state(), stage_score=640, verdict=Verdict.PASSED)),
        {"type": "session", "re": "c7", "data": {**STATE_JSON, "stageScore": 640, "verdict": "passed"}},
    ),
    "stage": (
        StageMessage(
            re="c7",
            data=StageData(
                session_id="s",
                stage=1,
                game="sums",
                puzzle={"levels": [["1 + 2"]], "firstLevel": 0, "raiseAfter": 3, "penaltyMs": 2000},
                dealt_at=MOMENT,
                time_limit_ms=60_000,
            ),
        ),
        {
            "type": "stage",
            "re": "c7",
            "data": {
                "sessionId": "s",
                "stage": 1,
                "game": "sums",
                "puzzle": {"levels": [["1 + 2"]], "firstLevel": 0, "raiseAfter": 3, "penaltyMs": 2000},
                "dealtAt": MOMENT_TEXT,
                "timeLimitMs": 60_000,
            },
        },
    ),
    "session, push": (SessionMessage(data=SessionData.of(state())), {"type": "session", "data": STATE_JSON}),
    "session, none yet": (
        SessionMessage(re="c7", data=NO_SESSION),
        {"type": "session", "re": "c7", "data": NO_SESSION_JSON},
    ),
    "leaderboard, reply": (
        leaderboard("c7", [RankedEntryData.at(1, ROW)]),
        {
            "type": "leaderboard",
            "re": "c7",
            "data": {
                "board": "daily:3",
                "epoch": "e",
                "version": 9,
                "total": 1,
                "entries": [{"position": 1, **ENTRY_JSON}],
            },
        },
    ),
    "leaderboard, empty push": (
        leaderboard(None, []),
        {"type": "leaderboard", "data": {"board": "daily:3", "epoch": "e", "version": 9, "total": 1, "entries": []}},
    ),
    "leaderboard, held already": (
        leaderboard("c7", None),
        {
            "type": "leaderboard",
            "re": "c7",
            "data": {"board": "daily:3", "epoch": "e", "version": 9, "total": 1, "entries": None},
        },
    ),
    "leaderboard.delta": (
        LeaderboardDelta(
            data=LeaderboardDeltaData(
                board="daily:3", epoch="e", from_=8, version=9, total=2, upserts=[EntryData.of(ROW)], removals=[3]
            )
        ),
        {
            "type": "leaderboard.delta",
            "data": {
                "board": "daily:3",
                "epoch": "e",
                "from": 8,
                "version": 9,
                "total": 2,
                "upserts": [ENTRY_JSON],
                "removals": [3],
            },
        },
    ),
    "pong": (
        Pong(re=0, data=PongData(server_time=MOMENT)),
        {"type": "pong", "re": 0, "data": {"serverTime": MOMENT_TEXT}},
    ),
    "auth.expiring": (
        AuthExpiring(data=AuthExpiringData(token_expires_at=MOMENT)),
        {"type": "auth.expiring", "data": {"tokenExpiresAt": MOMENT_TEXT}},
    ),
    "server.draining": (
        ServerDraining(data=DrainingData(reconnect_after_ms=750)),
        {"type": "server.draining", "data": {"reconnectAfterMs": 750}},
    ),
    "error, nothing more": (
        error(RequestError(ErrorCode.NO_SESSION)),
        {
            "type": "error",
            "re": "c7",
            "data": {"code": "no_session", "message": "There is no session yet.", "retryable": False},
        },
    ),
    "error, without the id of the request": (
        error(RequestError(ErrorCode.MALFORMED), None),
        {
            "type": "error",
            "data": {
                "code": "malformed",
                "message": "This is not a JSON object with a type.",
                "retryable": False,
            },
        },
    ),
    "error, fields": (
        error(RequestError(ErrorCode.INVALID, fields=[FieldProblem("since.version", "required")])),
        {
            "type": "error",
            "re": "c7",
            "data": {
                "code": "invalid",
                "message": "Some fields are not as they should be.",
                "retryable": False,
                "fields": [{"path": "since.version", "message": "required"}],
            },
        },
    ),
    "error, later": (
        error(RequestError(ErrorCode.RATE_LIMITED, retry_after_ms=250)),
        {
            "type": "error",
            "re": "c7",
            "data": {
                "code": "rate_limited",
                "message": "Too many requests; please wait.",
                "retryable": True,
                "retryAfterMs": 250,
            },
        },
    ),
    "error, session": (
        error(RequestError(ErrorCode.SESSION_NOT_ACTIVE, session=state(Status.FINISHED))),
        {
            "type": "error",
            "re": "c7",
            "data": {
                "code": "session_not_active",
                "message": "The last session is not in progress.",
                "retryable": False,
                "session": {**STATE_JSON, "sessionStatus": 1},
            },
        },
    ),
}

every_message = pytest.mark.parametrize(("message", "expected"), MESSAGES.values(), ids=MESSAGES)


@every_message
def test_client_reads_exactly_what_the_contract_says(message: ServerMessage, expected: Json) -> None:
    assert json.loads(encode(message)) == expected


@every_message
def test_client_takes_every_message_back_to_an_equal_one(message: ServerMessage, expected: Json) -> None:
    taken = decode_server_message(encode(message))
    assert taken == message
    assert type(taken) is type(message)
    assert decode_server_message(json.dumps(expected)) == message


@every_message
def test_push_has_no_re_and_a_reply_has_one(message: ServerMessage, expected: Json) -> None:
    assert ("re" in json.loads(encode(message))) is ("re" in expected)
    assert message.re == expected.get("re")
    as_push = json.loads(encode(message.model_copy(update={"re": None})))
    assert "re" not in as_push


@every_message
def test_message_is_one_line_of_utf_8(message: ServerMessage, expected: Json) -> None:
    text = encode(message)
    assert b"\n" not in text
    assert json.loads(text.decode()) == expected


def test_examples_show_every_type_the_server_sends() -> None:
    models = get_args(get_args(ServerMessage)[0])
    types = {model.model_fields["type"].default for model in models}
    assert {expected["type"] for _, expected in MESSAGES.values()} == types
    assert types == {
        *("welcome", "authenticated", "ok", "user", "session", "leaderboard", "leaderboard.delta", "pong"),
        *("auth.expiring", "server.draining", "error", "logins", "leaderboard.place", "images.distance", "stage"),
        "leaderboard.stale",
    }
    assert all(issubclass(model, ServerMessageBase) for model in models)


@pytest.mark.parametrize(
    "re", ["c7", "x" * 64, "😀" * 64, '"\\\n\0\u2028', " ", "7", 0, -7, 2**53 + 1, 2**64, -(10**40)]
)
def test_client_reads_its_id_verbatim(re: str | int) -> None:
    echoed = json.loads(encode(Ok(re=re, data=OkData())))["re"]
    assert echoed == re
    assert type(echoed) is type(re)


def test_email_is_in_no_row_of_a_board() -> None:
    for row in (RankedEntryData.at(1, ROW), EntryData.of(ROW)):
        assert "email" not in row.model_dump_json()


# Sessions


@pytest.mark.parametrize("status", Status)
def test_session_has_the_number_of_its_status(status: Status) -> None:
    data = json.loads(encode(SessionMessage(data=SessionData.of(state(status)))))["data"]
    assert data == {
        **STATE_JSON,
        "sessionStatus": {"IN_PROGRESS": 0, "FINISHED": 1, "FAILED": 2, "CANCELED": 3}[status.name],
    }


def test_player_who_never_played_has_a_session_of_nulls() -> None:
    assert SessionData.of(NEVER_PLAYED) == NO_SESSION
    assert json.loads(NO_SESSION.model_dump_json()) == NO_SESSION_JSON


def test_replayed_is_true_or_absent() -> None:
    assert json.loads(SessionData.of(state(), replayed=True).model_dump_json())["replayed"] is True
    assert "replayed" not in json.loads(SessionData.of(state()).model_dump_json())


moments = st.integers(0, 10**13).map(lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms))
counts = st.integers(0, 2**63 - 1)
names = st.text(min_size=1, max_size=32)
sessions = st.builds(
    Session,
    st.integers(0, 2**128 - 1).map(lambda number: UUID(int=number)),
    st.sampled_from(Status),
    counts,
    counts,
    counts,
    st.integers(0, 9),
    moments,
    st.none() | moments,
)
states = st.builds(PlayerState, counts, sessions)
rows = st.builds(Row, st.builds(Entry, counts, st.booleans(), counts, moments), names)
ids = st.none() | st.text(min_size=1, max_size=64) | st.integers()


@thorough
@given(ids, states, st.booleans())
def test_any_session_arrives_as_it_was_sent(re: str | int | None, sent: PlayerState, replayed: bool) -> None:
    message = SessionMessage(re=re, data=SessionData.of(sent, replayed=replayed))
    assert decode_server_message(encode(message)) == message
    data = json.loads(encode(message))["data"]
    assert sent.session is not None
    assert data["sessionId"] == str(sent.session.session_id)
    assert data["sessionTotalScore"] == sent.session.total_score
    assert data["sessionVersion"] == sent.version
    if not replayed:
        assert encode_session(re, sent.session, sent.version) == encode(message)


@thorough
@given(ids, st.lists(rows, max_size=5), counts, st.text())
def test_any_leaderboard_arrives_as_it_was_sent(
    re: str | int | None, held: list[Row], version: int, epoch: str
) -> None:
    entries = [RankedEntryData.at(position, row) for position, row in enumerate(held, start=1)]
    data = LeaderboardData(board="weekly", epoch=epoch, version=version, total=len(held), entries=entries)
    message = Leaderboard(re=re, data=data)
    assert decode_server_message(encode(message)) == message
    read = json.loads(encode(message))["data"]["entries"]
    assert [entry["position"] for entry in read] == list(range(1, len(held) + 1))
    assert [(entry["number"], entry["username"]) for entry in read] == [
        (row.entry.number, row.username) for row in held
    ]


@thorough
@given(st.lists(rows, max_size=5), st.lists(counts, max_size=5), counts)
def test_any_delta_arrives_as_it_was_sent(upserts: list[Row], removals: list[int], version: int) -> None:
    data = LeaderboardDeltaData(
        board="weekly",
        epoch="e",
        from_=version,
        version=version + 1,
        total=5,
        upserts=[EntryData.of(row) for row in upserts],
        removals=removals,
    )
    message = LeaderboardDelta(data=data)
    assert decode_server_message(encode(message)) == message
    assert not any("position" in upsert for upsert in json.loads(encode(message))["data"]["upserts"])


@thorough
@given(
    ids,
    st.sampled_from(ErrorCode),
    st.text(),
    st.lists(st.builds(FieldProblem, st.text(), st.text()), max_size=3),
    st.none() | counts,
    st.none() | states,
)
def test_any_error_arrives_as_it_was_sent(
    re: str | int | None,
    code: ErrorCode,
    text: str,
    problems: list[FieldProblem],
    retry_after_ms: int | None,
    held: PlayerState | None,
) -> None:
    request_error = RequestError(code, text, fields=problems, retry_after_ms=retry_after_ms, session=held)
    message = error(request_error, re)
    assert decode_server_message(encode(message)) == message
    data = json.loads(encode(message))["data"]
    assert (data["code"], data["message"], data["retryable"]) == (code, text, code in ("rate_limited", "unavailable"))
    assert data.keys() - {"code", "message", "retryable"} == {
        *(["fields"] if problems else []),
        *(["retryAfterMs"] if retry_after_ms is not None else []),
        *(["session"] if held is not None else []),
    }


@thorough
@given(rows, st.integers(1, 999))
def test_time_is_cut_to_milliseconds_and_never_rounded_up(row: Row, microseconds: int) -> None:
    late = replace(
        row, entry=row.entry._replace(achieved_at=row.entry.achieved_at + timedelta(microseconds=microseconds))
    )
    assert json.loads(EntryData.of(late).model_dump_json()) == json.loads(EntryData.of(row).model_dump_json())


@pytest.mark.parametrize("missing", ["session", "user", "serverTime", "limits"])
def test_message_without_a_field_that_the_contract_names_is_none(missing: str) -> None:
    _, expected = MESSAGES["welcome, spectator"]
    data = {name: value for name, value in expected["data"].items() if name != missing}
    with pytest.raises(ValidationError, match=missing):
        decode_server_message(json.dumps({**expected, "data": data}))
