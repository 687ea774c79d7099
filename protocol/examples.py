"""One message of each type as it is on the wire: in the published contracts, in the reference, and for the authors of
clients to test against (docs/contracts/examples)."""

from __future__ import annotations

from typing import Any, Final

from protocol.client_messages import CLIENT_MODELS
from protocol.server_messages import SERVER_MODELS

Json = dict[str, Any]

_TOKEN: Final = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMSJ9.c2lnbmF0dXJl"
_REFRESH_TOKEN: Final = "q1b4lLz0Vw2m5rTjYk8sXcN6hPfD3aGuEoI7tRvB9eM"
_KEY: Final = "7f6d2c1e-level-2"
_USER: Final[Json] = {
    "id": "0b9f3a52-6f0e-4a2b-9d3c-8f2f6f0f6c11",
    "username": "Ada",
    "email": "ada@example.test",
    "number": 7,
}
_SESSION: Final[Json] = {
    "sessionId": "5c1f9b1e-3c53-4a7e-8a40-0f6f3f1f9a77",
    "sessionStatus": 0,
    "sessionStage": 1,
    "sessionTotalScore": 120,
    "sessionDifficulty": 3,
    "sessionStageCount": 3,
    "sessionStartedAt": "2026-11-23T13:20:46.123Z",
    "sessionVersion": 12,
}
_ADA: Final[Json] = {
    "number": 7,
    "username": "Ada",
    "totalScore": 420,
    "passedAllGames": True,
    "achievedAt": "2026-11-23T13:24:02.007Z",
}
_BOB: Final[Json] = {
    "number": 3,
    "username": "Боб",
    "totalScore": 980,
    "passedAllGames": False,
    "achievedAt": "2026-11-22T08:00:00.000Z",
}
_BOARD: Final[Json] = {"board": "daily:3", "epoch": "9f1c0a7be2d4435a"}
_PICTURE: Final = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
_AUTHENTICATED: Final[Json] = {
    "token": _TOKEN,
    "tokenExpiresAt": "2026-11-23T14:20:46.000Z",
    "refreshToken": _REFRESH_TOKEN,
    "user": _USER,
    "session": _SESSION,
}

_REQUESTS: Final[dict[str, list[Json | None]]] = {
    "auth.register": [{"email": "ada@example.test", "username": "Ada", "password": "correct horse"}],
    "auth.login": [{"email": "ada@example.test", "password": "correct horse"}],
    "auth.resume": [{"token": _TOKEN}],
    "auth.refresh": [{"refreshToken": _REFRESH_TOKEN}],
    "auth.logout": [None],
    "user.me": [None],
    "user.password": [{"password": "correct horse", "newPassword": "battery staple"}],
    "user.delete": [None],
    "logins.list": [None],
    "logins.revoke": [{"id": "c0ffee00-0000-4000-8000-00000000cafe"}],
    "session.start": [None, {"difficulty": 3, "key": _KEY}],
    "session.last": [None],
    "session.complete": [{"score": 120}, {"score": 120, "key": _KEY}],
    "session.close": [{"score": 30, "key": _KEY}],
    "session.cancel": [None, {"key": _KEY}],
    "stage.deal": [None],
    "stage.answer": [
        {"answer": {"rounds": [[4, 0, 8], [4, 0, 8, 2]]}, "key": _KEY},
        {"answer": {"results": [9, None, 13]}},
        {"answer": {"strokes": [[120, 80, 880, 80, 500, 900, 120, 80], [500, 300]]}, "key": _KEY},
    ],
    "leaderboard.get": [None, {"board": "daily:3", "limit": 25, "offset": 50}, {"board": "weekly", "around": "me"}],
    "leaderboard.subscribe": [
        None,
        {"board": "daily:3", "limit": 25, "since": {"epoch": "9f1c0a7be2d4435a", "version": 41}},
    ],
    "leaderboard.unsubscribe": [{"board": "daily:3"}],
    "images.compare": [{"originalImage": _PICTURE, "drawnImage": _PICTURE}],
    "ping": [None],
}

_LIMITS: Final[Json] = {
    "maxMessageBytes": 65536,
    "maxPlayerMessageBytes": 4194304,
    "maxStageScore": 1000000,
    "stages": 3,
    "scoring": "reported",
    "boardHz": 10.0,
    "idleSeconds": 15.0,
    "pingSeconds": 20.0,
}
_WELCOME: Final[Json] = {
    "protocol": 1,
    "server": "braingame/0.4.0",
    "connectionId": "3b7c1d9e-54c1-4d1c-9a55-0c2f3f9e1a20",
    "role": "spectator",
    "user": None,
    "session": None,
    "serverTime": "2026-11-23T13:20:46.123Z",
    "limits": _LIMITS,
}

#: By type: whether the message answers a request, and its data.
_ANSWERS: Final[dict[str, list[tuple[bool, Json]]]] = {
    "welcome": [(False, _WELCOME), (False, {**_WELCOME, "role": "player", "user": _USER, "session": _SESSION})],
    "authenticated": [
        (True, _AUTHENTICATED),
        (True, {name: value for name, value in _AUTHENTICATED.items() if name != "refreshToken"} | {"session": None}),
    ],
    "ok": [(True, {})],
    "user": [(True, _USER)],
    "logins": [
        (
            True,
            {
                "logins": [
                    {
                        "id": "c0ffee00-0000-4000-8000-00000000cafe",
                        "createdAt": "2026-11-23T13:20:46.123Z",
                        "lastUsedAt": "2026-11-23T13:50:11.480Z",
                        "current": True,
                    }
                ]
            },
        )
    ],
    "session": [
        (True, _SESSION),
        (True, {**_SESSION, "replayed": True}),
        (True, {**_SESSION, "stageScore": 640, "verdict": "passed"}),
        (True, dict.fromkeys(_SESSION)),
        (False, {**_SESSION, "sessionStatus": 1, "sessionStage": 2, "sessionTotalScore": 420, "sessionVersion": 14}),
    ],
    "stage": [
        (
            True,
            {
                "sessionId": _SESSION["sessionId"],
                "stage": 0,
                "game": "sequence",
                "puzzle": {"tiles": [4, 0, 8, 2, 5, 1, 7, 4, 3, 6, 0, 8], "firstLength": 3, "stepMs": 565},
                "dealtAt": "2026-11-23T13:20:50.000Z",
                "timeLimitMs": 120000,
            },
        )
    ],
    "leaderboard": [
        (
            True,
            {
                **_BOARD,
                "version": 41,
                "total": 2,
                "entries": [{"position": 1, **_ADA}, {"position": 2, **_BOB}],
            },
        ),
        (True, {**_BOARD, "version": 41, "total": 2, "entries": None}),
        (False, {**_BOARD, "epoch": "02d4435a9f1c0a7b", "version": 1, "total": 0, "entries": []}),
        (True, {**_BOARD, "version": 41, "total": 1, "entries": [{"position": 1, **_ADA}], "stale": True}),
    ],
    "leaderboard.delta": [
        (False, {**_BOARD, "from": 41, "version": 43, "total": 3, "upserts": [_ADA], "removals": [3]})
    ],
    "leaderboard.place": [
        (False, {**_BOARD, "version": 43, "total": 3, "position": 1}),
        (False, {**_BOARD, "version": 1, "total": 0, "position": None}),
    ],
    "leaderboard.stale": [
        (False, {"board": _BOARD["board"], "stale": True}),
        (False, {"board": _BOARD["board"], "stale": False}),
    ],
    "images.distance": [(True, {"distance": 12})],
    "pong": [(True, {"serverTime": "2026-11-23T13:20:46.123Z"})],
    "auth.expiring": [(False, {"tokenExpiresAt": "2026-11-23T14:20:46.000Z"})],
    "server.draining": [(False, {"reconnectAfterMs": 1250})],
    "error": [
        (
            True,
            {
                "code": "session_not_active",
                "message": "The last session is not in progress.",
                "retryable": False,
                "session": {**_SESSION, "sessionStatus": 2},
            },
        ),
        (
            True,
            {
                "code": "invalid",
                "message": "Some fields are not as they should be.",
                "retryable": False,
                "fields": [{"path": "score", "message": "required"}],
            },
        ),
        (
            True,
            {
                "code": "rate_limited",
                "message": "Too many requests; please wait.",
                "retryable": True,
                "retryAfterMs": 5,
            },
        ),
        (False, {"code": "malformed", "message": "This is not JSON.", "retryable": False}),
    ],
}


def client_examples(kind: str) -> list[Json]:
    """Requests of this type."""
    return [{"type": kind, "id": "c7"} | ({} if data is None else {"data": data}) for data in _REQUESTS[kind]]


def server_examples(kind: str) -> list[Json]:
    """Replies and pushes of this type."""
    return [{"type": kind} | ({"re": "c7"} if reply else {}) | {"data": data} for reply, data in _ANSWERS[kind]]


def all_examples() -> dict[str, list[Json]]:
    """Every example, by file name."""
    found = {f"client/{kind}": client_examples(kind) for kind in CLIENT_MODELS}
    return found | {f"server/{kind}": server_examples(kind) for kind in SERVER_MODELS}
