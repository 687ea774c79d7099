"""Everything the server may send: replies, errors and pushes, one closed union told apart by `type`."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Field, WithJsonSchema

from game.ranking import Entry
from game.session import PlayerState, Session, Verdict
from game.stages.catalog import STAGES
from game.standings import Row
from protocol.errors import ErrorCode, RequestError
from protocol.fields import RequestId, Timestamp, Wire, is_none
from protocol.stages import puzzle_schemas


class OkData(Wire):
    """Done, nothing more to say."""


class UserData(Wire):
    """An account as its owner sees it. `number` is the registration number, shown as `name#number`."""

    id: str
    username: str
    email: str
    number: int


class OpenLoginData(Wire):
    """One place where an account is logged in. `lastUsedAt` is when its tokens were last renewed; `current` marks the
    login that asks."""

    id: str
    created_at: Timestamp
    last_used_at: Timestamp
    current: bool


class LoginsData(Wire):
    """The logins of an account that have not ended, the newest first."""

    logins: list[OpenLoginData]


class SessionData(Wire):
    """A player's last session; all null when there is none. `sessionVersion` goes up with each applied action."""

    session_id: str | None
    session_status: int | None
    """0 in progress, 1 finished, 2 failed, 3 canceled."""
    session_stage: int | None
    """Counts from 0; stays on the last stage when the session ends."""
    session_total_score: int | None
    session_difficulty: int | None
    session_stage_count: int | None
    session_started_at: Timestamp | None
    session_version: int | None
    """Counts the player's applied actions over all sessions: the state with the higher version is the newer."""
    replayed: Literal[True] | None = Field(default=None, exclude_if=is_none)
    """The action was applied before, under the same key; this is what it led to then."""
    stage_score: int | None = Field(default=None, exclude_if=is_none)
    """In the reply to `stage.answer`: what the stage was worth."""
    verdict: Verdict | None = Field(default=None, exclude_if=is_none)
    """In the reply to `stage.answer`: `passed`, `failed` (the session has failed) or `late` (it has failed, without
    points for this stage)."""

    @classmethod
    def of(
        cls,
        state: PlayerState,
        *,
        replayed: bool = False,
        stage_score: int | None = None,
        verdict: Verdict | None = None,
    ) -> SessionData:
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
            stage_score=stage_score,
            verdict=verdict,
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


class StageData(Wire):
    """A stage that was dealt. The same until it is answered, on every socket of the player."""

    session_id: str
    stage: int
    """Counts from 0."""
    game: Annotated[str, WithJsonSchema({"type": "string", "examples": list(STAGES)})]
    """`sequence`, `sums`, `drawing`; there may be more."""
    puzzle: Annotated[dict[str, Any], WithJsonSchema({"type": "object", "anyOf": puzzle_schemas()})]
    dealt_at: Timestamp
    time_limit_ms: int
    """From `dealtAt` on, by the server's clock."""


class AuthenticatedData(Wire):
    """A login. `session` is the player's last one, so a client that comes back knows at once what was applied."""

    token: str
    """For `auth.resume` and the header Authorization, until it expires."""
    token_expires_at: Timestamp
    refresh_token: str | None = Field(default=None, exclude_if=is_none)
    """Good for one `auth.refresh`. Used twice, it ends the login. Not given by `auth.resume`."""
    user: UserData
    session: SessionData | None


class LimitsData(Wire):
    """What this server allows. A message of a socket without a login has at most `maxMessageBytes`; players, who send
    pictures, may go up to `maxPlayerMessageBytes`."""

    max_message_bytes: int
    max_player_message_bytes: int
    max_stage_score: int
    stages: int
    scoring: Literal["reported", "judged"]
    """`judged`: points come from `stage.answer` alone."""
    board_hz: float
    """At most so many deltas a second for one board."""
    idle_seconds: float
    """A socket that has neither logged in nor subscribed by then is closed."""
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
    """Versions of two epochs have nothing to do with each other."""
    version: int
    total: int
    """Entries of the whole board."""
    entries: list[RankedEntryData] | None
    stale: Literal[True] | None = Field(default=None, exclude_if=is_none)
    """Only while the server cannot tell whether this is the newest state, because a store does not answer."""


class LeaderboardDeltaData(Wire):
    """How to get from version `from` to `version`: drop the removals, put the upserts in by `number`, sort (passed all
    games first, then the higher score, then who was earlier, then the smaller number), keep the first `limit`. A client
    that holds another version or epoch subscribes again."""

    board: str
    epoch: str
    from_: int = Field(alias="from")
    version: int
    total: int
    upserts: list[EntryData]
    removals: list[int]


class LeaderboardPlaceData(Wire):
    """Where the receiver stands on a board, counted from 1; `position` is null without an entry."""

    board: str
    epoch: str
    version: int
    total: int
    position: int | None


class LeaderboardStaleData(Wire):
    """Whether a followed board may lack what was achieved meanwhile, because a store does not answer. When it is so no
    more, what was missing has been sent before."""

    board: str
    stale: bool


class DistanceData(Wire):
    """How unlike two drawings are: 0 for the same, at most 100."""

    distance: Annotated[int, Field(ge=0, le=100)]


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
    """Its place inside `data`, dots between the parts."""
    message: str


class ErrorData(Wire):
    """Why a request was not done."""

    code: ErrorCode
    message: str
    """For a person."""
    retryable: bool
    """The same request may succeed later; send an action again with the same key."""
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


class Logins(ServerMessageBase):
    """Reply: where the account is logged in."""

    type: Literal["logins"] = "logins"
    data: LoginsData


class SessionMessage(ServerMessageBase):
    """Reply, or push when the session changed on another socket of the player."""

    type: Literal["session"] = "session"
    data: SessionData


class StageMessage(ServerMessageBase):
    """Reply: the current stage."""

    type: Literal["stage"] = "stage"
    data: StageData


class Leaderboard(ServerMessageBase):
    """Reply, or push that replaces what a subscriber holds."""

    type: Literal["leaderboard"] = "leaderboard"
    data: LeaderboardData


class LeaderboardDelta(ServerMessageBase):
    """Push: the board has changed."""

    type: Literal["leaderboard.delta"] = "leaderboard.delta"
    data: LeaderboardDeltaData


class LeaderboardPlace(ServerMessageBase):
    """Push: the receiver stands somewhere else on a board that it follows."""

    type: Literal["leaderboard.place"] = "leaderboard.place"
    data: LeaderboardPlaceData


class LeaderboardStale(ServerMessageBase):
    """Push: a followed board may be out of date from now on, or is up to date again."""

    type: Literal["leaderboard.stale"] = "leaderboard.stale"
    data: LeaderboardStaleData


class ImagesDistance(ServerMessageBase):
    """Reply: how unlike two drawings are."""

    type: Literal["images.distance"] = "images.distance"
    data: DistanceData


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
    | Logins
    | SessionMessage
    | StageMessage
    | Leaderboard
    | LeaderboardDelta
    | LeaderboardPlace
    | LeaderboardStale
    | ImagesDistance
    | Pong
    | AuthExpiring
    | ServerDraining
    | Error,
    Field(discriminator="type"),
]

_MODELS: tuple[type[ServerMessageBase], ...] = get_args(get_args(ServerMessage)[0])
#: Every message a server may send, by its type.
SERVER_MODELS: Final = {str(model.model_fields["type"].default): model for model in _MODELS}
