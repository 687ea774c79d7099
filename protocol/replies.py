"""What answers what: the reply to each request, who may send it, and which messages come unasked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from protocol.server_messages import (
    Authenticated,
    AuthExpiring,
    ImagesDistance,
    Leaderboard,
    LeaderboardDelta,
    LeaderboardPlace,
    LeaderboardStale,
    Logins,
    Ok,
    Pong,
    ServerDraining,
    ServerMessageBase,
    SessionMessage,
    StageMessage,
    User,
    Welcome,
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request's reply where it is not an `error`. `either`: anyone may ask, but some of it is for players."""

    reply: type[ServerMessageBase]
    who: Literal["anyone", "player", "either"]


EXCHANGES: Final[dict[str, Exchange]] = {
    "auth.register": Exchange(Authenticated, "anyone"),
    "auth.login": Exchange(Authenticated, "anyone"),
    "auth.resume": Exchange(Authenticated, "anyone"),
    "auth.refresh": Exchange(Authenticated, "anyone"),
    "auth.logout": Exchange(Ok, "player"),
    "user.me": Exchange(User, "player"),
    "user.password": Exchange(Ok, "player"),
    "user.delete": Exchange(Ok, "player"),
    "logins.list": Exchange(Logins, "player"),
    "logins.revoke": Exchange(Ok, "player"),
    "session.start": Exchange(SessionMessage, "player"),
    "session.last": Exchange(SessionMessage, "player"),
    "session.complete": Exchange(SessionMessage, "player"),
    "session.close": Exchange(SessionMessage, "player"),
    "session.cancel": Exchange(SessionMessage, "player"),
    "stage.deal": Exchange(StageMessage, "player"),
    "stage.answer": Exchange(SessionMessage, "player"),
    "leaderboard.get": Exchange(Leaderboard, "either"),
    "leaderboard.subscribe": Exchange(Leaderboard, "anyone"),
    "leaderboard.unsubscribe": Exchange(Ok, "anyone"),
    "images.compare": Exchange(ImagesDistance, "player"),
    "ping": Exchange(Pong, "anyone"),
}

#: Messages that come without having been asked for.
PUSHES: Final[tuple[type[ServerMessageBase], ...]] = (
    Welcome,
    SessionMessage,
    Leaderboard,
    LeaderboardDelta,
    LeaderboardPlace,
    LeaderboardStale,
    AuthExpiring,
    ServerDraining,
)
