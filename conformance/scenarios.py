"""Every scenario: a short text for the author of a client, and the script."""

from __future__ import annotations

import json
from typing import Final

from conformance.steps import (
    ANYTHING,
    COME_BACK,
    ENTER,
    SUBSCRIBE,
    Ask,
    Change,
    Cut,
    EndLogin,
    FallSilent,
    Gather,
    Handling,
    Holds,
    Json,
    NewEpoch,
    Push,
    Quiet,
    Refuse,
    Release,
    Resend,
    Return,
    Scenario,
)
from conformance.world import ACTIONS, World, expiring
from protocol import codec
from protocol.errors import CloseCode, ErrorCode
from protocol.server_messages import DrainingData, LeaderboardPlace, LeaderboardPlaceData, ServerDraining

_REFRESH: Final = ("auth.refresh",)
_TOKENS: Final = ("auth.resume", "auth.refresh")
_START: Final = ("session.start",)
_COMPLETE: Final = ("session.complete",)

_ENTERS: Final = Ask(ENTER, "auth.register or auth.login")
_STARTS: Final = Ask(_START, "session.start with a key")
_COMPLETES: Final = Ask(_COMPLETE, "session.complete with a key of its own")
_LOGS_IN_AGAIN: Final = Ask(COME_BACK, "a login before anything else: auth.resume with the token", handshake=True)
_SUBSCRIBES: Final = Ask(SUBSCRIBE, "leaderboard.subscribe")
_RETURNS: Final = Return("a new connection")
_NO_MORE_ACTIONS: Final = Quiet(ACTIONS, "the action is not sent once more, nor another one")
_REPEATS: Final = "the same session.complete with the same key"


def _session(world: World) -> Json:
    return _json(codec.encode(world.session()))


def _expiring(_world: World) -> Json:
    return _json(codec.encode(expiring()))


def _draining(_world: World) -> Json:
    return _json(codec.encode(ServerDraining(data=DrainingData(reconnect_after_ms=300))))


def _place(world: World) -> Json:
    board = world.board.now
    data = LeaderboardPlaceData(
        board="all-time", epoch=board.epoch, version=board.version, total=board.total, position=1
    )
    return _json(codec.encode(LeaderboardPlace(data=data)))


def _unheard_of(_world: World) -> Json:
    return {"type": "conformance.unheard-of", "data": {"score": "not what you think"}}


def _bare(_world: World) -> Json:
    return {"type": "conformance.bare"}


def _json(text: bytes) -> Json:
    message: Json = json.loads(text)
    return message


_ALL: Final = (
    Scenario(
        "play",
        "Register (or log in), start a session, complete its three stages.",
        "The plain way: envelope, ids, no unknown fields, and a key of 8 to 64 characters on each action, a "
        "new one each.",
        (_ENTERS, _STARTS, _COMPLETES, _COMPLETES, _COMPLETES, _NO_MORE_ACTIONS),
    ),
    Scenario(
        "duplicate",
        "Register, start, complete a stage. The reply is lost with the connection: connect, log in with "
        "auth.resume, send the "
        "same action with the same key once. Its reply says replayed.",
        "The action was applied. With a new key it would be applied twice; not sent again, its outcome stays unknown.",
        (
            _ENTERS,
            _STARTS,
            Ask(_COMPLETE, "session.complete with a key of its own", Handling.LOSE),
            Cut(),
            _RETURNS,
            _LOGS_IN_AGAIN,
            Ask(_COMPLETE, _REPEATS, again=True),
            _NO_MORE_ACTIONS,
        ),
    ),
    Scenario(
        "unavailable",
        "Register, start, complete a stage. It is refused with unavailable and retryAfterMs 200: send it "
        "again with the same "
        "key, not earlier.",
        "A store may be down for a moment. The action may have been applied all the same, so its key must stay.",
        (
            _ENTERS,
            _STARTS,
            Ask(_COMPLETE, "session.complete with a key of its own", Refuse(ErrorCode.UNAVAILABLE, 200)),
            Ask(_COMPLETE, f"{_REPEATS}, 200 ms later or more", wait_ms=200, again=True),
            _NO_MORE_ACTIONS,
        ),
    ),
    Scenario(
        "gap",
        "Subscribe to a board and stay. A delta is missing: subscribe again, with or without since.",
        "Whoever applies a delta that does not fit shows a board that never was, for as long as nobody reloads.",
        (
            _SUBSCRIBES,
            Change(5, 1250),
            Holds("the state after the first delta"),
            Change(8, 1300, lost=True),
            Change(3, 1400),
            Ask(SUBSCRIBE, "leaderboard.subscribe again: from is not the version held"),
            Holds("the state that it was sent"),
        ),
    ),
    Scenario(
        "duplicate-delta",
        "Subscribe to a board and stay. An old delta comes once more: ignore it or subscribe again.",
        "Its from is not the version held any more; applied, it would bring an old score back.",
        (
            _SUBSCRIBES,
            Change(5, 1250),
            Change(5, 1350),
            Resend(-2),
            Holds("the newest state, not that of the repeated delta"),
            Change(12, 1500),
            Holds("the state after the last delta"),
        ),
    ),
    Scenario(
        "epoch",
        "Subscribe to a board and stay. A whole board of a new epoch replaces what you hold; then a delta of "
        "the old epoch "
        "comes: subscribe again.",
        "Versions of two epochs have nothing to do with each other: this delta's from is the version held, by chance.",
        (
            _SUBSCRIBES,
            Change(5, 1250),
            Change(6, 1260, lost=True),
            NewEpoch(42),
            Holds("the state of the new epoch"),
            Resend(-1),
            Ask(SUBSCRIBE, "leaderboard.subscribe again: the delta is of another epoch"),
            Holds("the state of the new epoch still"),
        ),
    ),
    Scenario(
        "entries-null",
        "Subscribe to a board and stay. The connection breaks: connect, subscribe with since {epoch, "
        "version} of what you "
        "hold. The reply has entries null: go on with what you hold; the next delta fits.",
        "It spares everybody the whole board after a short break. Null does not mean empty.",
        (
            _SUBSCRIBES,
            Change(5, 1250),
            Holds("the state after the delta"),
            Cut(),
            _RETURNS,
            Ask(SUBSCRIBE, "leaderboard.subscribe with since: the epoch and version held", since=True),
            Change(6, 1260),
            Holds("the state after the next delta, without another subscription", steady=True),
        ),
    ),
    Scenario(
        "drain",
        "Register (or log in) and stay. server.draining says reconnectAfterMs 300, and the socket closes "
        "with 1001: come back, "
        "not earlier than 300 ms after the push, and log in.",
        "All clients of a server that stops would otherwise come back in the same moment.",
        (
            _ENTERS,
            Push(_draining),
            Cut(CloseCode.GOING_AWAY),
            Return("a new connection, 300 ms after server.draining or more", wait_ms=300),
            _LOGS_IN_AGAIN,
        ),
    ),
    Scenario(
        "expiry",
        "Register (or log in) and stay. On auth.expiring send auth.refresh on the same socket; twice, each "
        "time with the "
        "newest refresh token.",
        "Otherwise the socket is closed in the middle of a game. A refresh token that is used twice ends the login.",
        (
            _ENTERS,
            Push(_expiring),
            Ask(_REFRESH, "auth.refresh with the refresh token, on the same socket"),
            Push(_expiring),
            Ask(_REFRESH, "auth.refresh with the new refresh token, on the same socket"),
            Quiet(_REFRESH, "no further auth.refresh", stay=True),
        ),
    ),
    Scenario(
        "expired",
        "Register (or log in) and stay. The socket is closed with 4401: come back, be told token_expired if "
        "you offer the old "
        "token, and send auth.refresh once.",
        "After a night in standby the access token is old, but the login is not.",
        (
            _ENTERS,
            EndLogin(ErrorCode.TOKEN_EXPIRED),
            Cut(CloseCode.UNAUTHENTICATED),
            _RETURNS,
            Ask(_REFRESH, "auth.refresh with the refresh token"),
            Quiet(_REFRESH, "no further auth.refresh"),
        ),
    ),
    Scenario(
        "revoked",
        "Register (or log in) and stay. On auth.expiring send auth.refresh; it is refused with token_revoked "
        "and the socket is "
        "closed with 4401: do not offer these tokens again.",
        "Somebody has logged out elsewhere. Tokens do not come back, and trying for ever is a load on everybody.",
        (
            _ENTERS,
            Push(_expiring),
            Ask(_REFRESH, "auth.refresh with the refresh token", Refuse(ErrorCode.TOKEN_REVOKED)),
            EndLogin(ErrorCode.TOKEN_REVOKED),
            Cut(CloseCode.UNAUTHENTICATED),
            Quiet(_TOKENS, "the tokens are not offered any more"),
        ),
    ),
    Scenario(
        "slow",
        "Register, start, complete two stages, each when the one before has its reply. The first reply takes "
        "3 s, and pushes "
        "come before it.",
        "A reply is known by its re, not by its type or its turn: this push has the type of the reply.",
        (
            _ENTERS,
            _STARTS,
            Ask(_COMPLETE, "session.complete with a key of its own", Handling.HOLD),
            Push(_session),
            Push(_place),
            Quiet(ACTIONS, "no action while the first is not answered", "slow", stay=True),
            Release(),
            _COMPLETES,
        ),
    ),
    Scenario(
        "unknown-push",
        "Register, start, complete two stages. Pushes of unknown types come, and unknown fields in all "
        "messages: ignore them.",
        "The server grows: new types and optional fields come without a new version of the contract.",
        (
            Ask(ENTER, "auth.register or auth.login", Handling.EXTRAS),
            Push(_unheard_of),
            Push(_bare),
            Ask(_START, "session.start with a key", Handling.EXTRAS),
            Push(_session, extras=True),
            Push(_unheard_of, extras=True),
            Ask(_COMPLETE, "session.complete with a key of its own", Handling.EXTRAS),
            _COMPLETES,
        ),
    ),
    Scenario(
        "order",
        "Without waiting send three requests that need no login, such as ping, leaderboard.get and ping, "
        "with three ids. When "
        "all three are answered, send any fourth.",
        'Several requests may be under way at once. Ids come back as they were sent: 1 is not "1".',
        (
            Gather(3, "three requests at once, each with its own id"),
            Release(1),
            Quiet(ANYTHING, "no fourth request before all three are answered", 0.05, stay=True),
            Push(_unheard_of),
            Release(1),
            Quiet(ANYTHING, "no fourth request before the last is answered", 0.05, stay=True),
            Release(1),
            Ask(ANYTHING, "a fourth request"),
        ),
    ),
    Scenario(
        "silence",
        "Log in or subscribe, and stay. The server falls silent without closing: notice it by pings of your "
        "own, and connect "
        "anew within 60 s.",
        "A dead network says nothing. Without a ping the client shows an old board for ever.",
        (
            Ask((*ENTER, *SUBSCRIBE), "a login or a subscription"),
            FallSilent(),
            Return("a new connection, though nobody closed the old one"),
        ),
    ),
    Scenario(
        "flood",
        "Register and start a session. It is refused twice with rate_limited and retryAfterMs 250: wait so "
        "long, then send it "
        "again with its key.",
        "Whoever tries faster stays refused, and is thrown out in the end (4429).",
        (
            _ENTERS,
            Ask(_START, "session.start with a key", Refuse(ErrorCode.RATE_LIMITED, 250)),
            Ask(
                _START,
                "the same session.start, 250 ms later or more",
                Refuse(ErrorCode.RATE_LIMITED, 250),
                wait_ms=250,
                again=True,
            ),
            Ask(_START, "the same session.start, 250 ms later or more", wait_ms=250, again=True),
            _NO_MORE_ACTIONS,
        ),
    ),
)

SCENARIOS: Final = {scenario.name: scenario for scenario in _ALL}
