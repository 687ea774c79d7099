"""One valid message of each type, and values that are of no use in most places."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from game.session import PlayerState, Session, Status

Json = dict[str, Any]

#: A moment with milliseconds, and how it is written on the wire.
MOMENT = datetime(2026, 11, 23, 13, 20, 46, 123000, tzinfo=UTC)
MOMENT_TEXT = "2026-11-23T13:20:46.123Z"


@dataclass(frozen=True)
class Fields:
    """What the contract says about a request's data: names with a valid value for each."""

    required: Json = field(default_factory=dict)
    optional: Json = field(default_factory=dict)


_KEY = {"key": "a1b2c3d4"}

#: The contract's table of requests.
REQUESTS: dict[str, Fields] = {
    "auth.register": Fields({"email": "ada@example.test", "username": "Ada", "password": "correct horse"}),
    "auth.login": Fields({"email": "ada@example.test", "password": "correct horse"}),
    "auth.resume": Fields({"token": "a.b.c"}),
    "auth.refresh": Fields({"refreshToken": "r"}),
    "auth.logout": Fields(),
    "user.me": Fields(),
    "user.password": Fields({"password": "correct horse", "newPassword": "battery staple"}),
    "user.delete": Fields(),
    "logins.list": Fields(),
    "logins.revoke": Fields({"id": "c0ffee00-0000-4000-8000-00000000cafe"}),
    "session.start": Fields(optional={"difficulty": 3, **_KEY}),
    "session.last": Fields(),
    "session.complete": Fields({"score": 120}, _KEY),
    "session.close": Fields({"score": 120}, _KEY),
    "session.cancel": Fields(optional=_KEY),
    "stage.deal": Fields(),
    "stage.answer": Fields({"answer": {"results": [9, None, 13]}}, _KEY),
    "leaderboard.get": Fields(optional={"board": "daily:3", "limit": 7, "offset": 20, "around": "me"}),
    "leaderboard.subscribe": Fields(
        optional={"board": "weekly", "limit": 50, "since": {"epoch": "e", "version": 12}},
    ),
    "leaderboard.unsubscribe": Fields(optional={"board": "weekly"}),
    "images.compare": Fields({"originalImage": "R0lGOD", "drawnImage": "data:image/gif;base64,R0lGOD"}),
    "ping": Fields(),
}


def request(kind: str, request_id: object = "c7", **data: object) -> Json:
    """An envelope; its data is left out where it would be empty."""
    return {"type": kind, "id": request_id} | ({"data": data} if data else {})


def shortest(kind: str) -> Json:
    return request(kind, **REQUESTS[kind].required)


def longest(kind: str) -> Json:
    return request(kind, **REQUESTS[kind].required, **REQUESTS[kind].optional)


def text_of(envelope: object) -> bytes:
    """Any value as JSON text, UTF-8."""
    return json.dumps(envelope, ensure_ascii=False).encode()


def state(status: Status = Status.IN_PROGRESS, *, version: int = 5) -> PlayerState:
    """A player's state, and below it on the wire."""
    ended_at = None if status is Status.IN_PROGRESS else MOMENT
    return PlayerState(version, Session(UUID(int=1), status, 1, 3, 420, 4, MOMENT, ended_at))


STATE_JSON: Json = {
    "sessionId": "00000000-0000-0000-0000-000000000001",
    "sessionStatus": 0,
    "sessionStage": 1,
    "sessionTotalScore": 420,
    "sessionDifficulty": 4,
    "sessionStageCount": 3,
    "sessionStartedAt": MOMENT_TEXT,
    "sessionVersion": 5,
}
NO_SESSION_JSON: Json = dict.fromkeys(STATE_JSON)

scalars: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
)
#: Any JSON value, small.
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)
