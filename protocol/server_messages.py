"""Everything the server may send: replies, errors and pushes, one closed union told apart by `type`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from game.ranking import Entry
from game.session import PlayerState, Session
from game.standings import Row
from protocol.errors import ErrorCode, RequestError
from protocol.fields import RequestId, Timestamp, Wire, is_none


class OkData(Wire):
    """Done, nothing more to say."""


class UserData(Wire):
    """An account as its owner sees it. `number` is the registration number, shown as `name#number`."""

    id: str
    username: str
    email: str
    number: int


class SessionData(Wire):
    """A player's last session; all null when there is none. `sessionVersion` goes up with each applied action."""

    session_id: str | None
    session_status: int | None
    session_stage: int | None
    session_total_score: int | None
    session_difficulty: int | None
    session_stage_count: int | None
    session_started_at: Timestamp | None
    session_version: int | None
    replayed: Literal[True] | None = Field(default=None, exclude_if=is_none)

    @classmethod
    def of(cls, state: PlayerState, *, replayed: bool = False) -> SessionData:
        """The wire form of a player's state."""
        session: Session | None = state.session
        if session is None:
            return NO_SESSION
        return cls(
            session_id=str(session.session_id),
            session_status=int(session.status),
            session_stage=session.stage,
            session_total_score=session.total_score,
            session_difficulty=session.difficulty,
            session_stage_count=session.stage_count,
            session_started_at=session.started_at,
            session_version=state.version,
            replayed=True if replayed else None,
        )


NO_SESSION = SessionData(
    session_id=None,
    session_status=None,
    session_stage=None,
    session_total_score=None,
    session_difficulty=None,
    session_stage_count=None,
    session_started_at=None,
    session_version=None,
)


class AuthenticatedData(Wire):
    """A login. `session` is the player's last one, so a client that comes back knows at once what was applied."""

    token: str
    token_expires_at: Timestamp
    refresh_token: str | None = Field(default=None, exclude_if=is_none)
    user: UserData
    session: SessionData | None


class LimitsData(Wire):
    """What this server allows."""

    max_message_bytes: int
    max_stage_score: int
    stages: int
    board_hz: float
    idle_seconds: float
    ping_seconds: float


class WelcomeData(Wire):
    """First message on every socket."""

    protocol: Literal[1] = 1
    server: str
    connection_id: str
    role: Literal["spectator", "player"]
    user: UserData | None
    session: SessionData | None
    server_time: Timestamp
    limits: LimitsData


class EntryData(Wire):
    """One row of a board without its position."""

    number: int
    username: str
    total_score: int
    passed_all_games: bool
    achieved_at: Timestamp

    @classmethod
    def of(cls, row: Row) -> EntryData:
        """The wire form of a row."""
        entry: Entry = row.entry
        return cls(
            number=entry.number,
            username=row.username,
            total_score=entry.total_score,
            passed_all_games=entry.passed_all_games,
            achieved_at=entry.achieved_at,
        )


class RankedEntryData(EntryData):
    """One row of a board; `position` counts from 1."""

    position: int

    @classmethod
    def at(cls, position: int, row: Row) -> RankedEntryData:
        """The wire form of the row at that position."""
        entry: Entry = row.entry
        return cls(
            position=position,
            number=entry.number,
            username=row.username,
            total_score=entry.total_score,
            passed_all_games=entry.passed_all_games,
            achieved_at=entry.achieved_at,
        )


class LeaderboardData(Wire):
    """A full state of the top of a board, or a window of it. `entries` is null when the subscriber holds it already."""

    board: str
    epoch: str
    version: int
    total: int
    entries: list[RankedEntryData] | None


class LeaderboardDeltaData(Wire):
    """How to get from version `from` to `version`: drop removals, put upserts in by number, sort, keep the first
    `limit`."""

    board: str
    epoch: str
    from_: int = Field(alias="from")
    version: int
    total: int
    upserts: list[EntryData]
    removals: list[int]


class PongData(Wire):
    """The server's clock."""

    server_time: Timestamp


class AuthExpiringData(Wire):
    """When the socket will be closed unless its token is renewed."""

    token_expires_at: Timestamp


class DrainingData(Wire):
    """When to come back after the server has closed the socket."""

    reconnect_after_ms: int


class FieldData(Wire):
    """One wrong field."""

    path: str
    message: str


class ErrorData(Wire):
    """Why a request was not done."""

    code: ErrorCode
    message: str
    retryable: bool
    retry_after_ms: int | None = Field(default=None, exclude_if=is_none)
    fields_: list[FieldData] | None = Field(default=None, alias="fields", exclude_if=is_none)
    session: SessionData | None = Field(default=None, exclude_if=is_none)

    @classmethod
    def of(cls, error: RequestError) -> ErrorData:
        """The wire form of an error."""
        return cls(
            code=error.code,
            message=error.message,
            retryable=error.retryable,
            retry_after_ms=error.retry_after_ms,
            fields_=[FieldData(path=field.path, message=field.message) for field in error.fields] or None,
            session=None if error.session is None else SessionData.of(error.session),
        )


class ServerMessageBase(Wire):
    """A reply carries the request's `id` as `re`; a push has no `re`."""

    re: RequestId | None = Field(default=None, exclude_if=is_none)


class Welcome(ServerMessageBase):
    """Push: the socket is open."""

    type: Literal["welcome"] = "welcome"
    data: WelcomeData


class Authenticated(ServerMessageBase):
    """Reply: the socket belongs to a player now."""

    type: Literal["authenticated"] = "authenticated"
    data: AuthenticatedData


class Ok(ServerMessageBase):
    """Reply: done."""

    type: Literal["ok"] = "ok"
    data: OkData


class User(ServerMessageBase):
    """Reply: the caller's account."""

    type: Literal["user"] = "user"
    data: UserData


class SessionMessage(ServerMessageBase):
    """Reply, or push when the session changed on another socket of the player."""

    type: Literal["session"] = "session"
    data: SessionData


class Leaderboard(ServerMessageBase):
    """Reply, or push that replaces what a subscriber holds."""

    type: Literal["leaderboard"] = "leaderboard"
    data: LeaderboardData


class LeaderboardDelta(ServerMessageBase):
    """Push: the board has changed."""

    type: Literal["leaderboard.delta"] = "leaderboard.delta"
    data: LeaderboardDeltaData


class Pong(ServerMessageBase):
    """Reply to `ping`."""

    type: Literal["pong"] = "pong"
    data: PongData


class AuthExpiring(ServerMessageBase):
    """Push: the token ends soon."""

    type: Literal["auth.expiring"] = "auth.expiring"
    data: AuthExpiringData


class ServerDraining(ServerMessageBase):
    """Push: this server stops; come back."""

    type: Literal["server.draining"] = "server.draining"
    data: DrainingData


class Error(ServerMessageBase):
    """Reply: the request was not done."""

    type: Literal["error"] = "error"
    data: ErrorData


ServerMessage = Annotated[
    Welcome
    | Authenticated
    | Ok
    | User
    | SessionMessage
    | Leaderboard
    | LeaderboardDelta
    | Pong
    | AuthExpiring
    | ServerDraining
    | Error,
    Field(discriminator="type"),
]
