"""Everything a client may send: one closed union, told apart by `type`."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Field, WithJsonSchema

from protocol.fields import Difficulty, Email, FollowedLimit, Key, Password, RequestId, Score, Username, Wire
from protocol.stages import answer_schemas

#: Longest text that is read as a token, refresh token or board name; every real one is shorter.
MAX_TOKEN_CHARACTERS: Final = 4096


class NoData(Wire):
    """For messages that carry nothing."""


class RegisterData(Wire):
    """A new account."""

    email: Email
    username: Username
    password: Password


class LoginData(Wire):
    """Credentials as typed; they are compared, not checked against the rules for new ones."""

    email: Annotated[str, Field(max_length=MAX_TOKEN_CHARACTERS)]
    password: Annotated[str, Field(max_length=MAX_TOKEN_CHARACTERS)]


class ResumeData(Wire):
    """An access token."""

    token: Annotated[str, Field(max_length=MAX_TOKEN_CHARACTERS)]


class RefreshData(Wire):
    """A refresh token; it is used up by this."""

    refresh_token: Annotated[str, Field(max_length=MAX_TOKEN_CHARACTERS)]


class StartData(Wire):
    """A new session."""

    difficulty: Difficulty = 0
    key: Key | None = None


class ScoreData(Wire):
    """The points of the stage that ends with this."""

    score: Score
    key: Key | None = None


class CancelData(Wire):
    """Giving up."""

    key: Key | None = None


class AnswerData(Wire):
    """The answer to the puzzle that was dealt."""

    # What it looks like depends on the game; the handler reads it (protocol/stages.py).
    answer: Annotated[dict[str, Any], WithJsonSchema({"type": "object", "anyOf": answer_schemas()})]
    key: Key | None = None


class BoardData(Wire):
    """One board."""

    # Looked up by the handler, so that an unknown one has its own error.
    board: Annotated[str, Field(max_length=64)] = "all-time"
    """`all-time`, `weekly` or `daily`, or one difficulty of it: `daily:3`."""


class GetBoardData(BoardData):
    """A window of a board: from `offset` on, or around the caller's own entry."""

    limit: Annotated[int, Field(ge=1, le=100)] = 10
    offset: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    """Rows that are left out at the top; not together with `around`."""
    around: Literal["me"] | None = None
    """The caller's own entry in the middle; the top where there is none."""


class Since(Wire):
    """The state a subscriber holds already."""

    epoch: Annotated[str, Field(max_length=64)]
    version: Annotated[int, Field(ge=0)]


class SubscribeData(BoardData):
    """How many rows to follow, and what is held already."""

    limit: FollowedLimit = 10
    since: Since | None = None
    """Where it is the newest state, the reply's `entries` are null."""


class RevokeLoginData(Wire):
    """Which login ends: an `id` from `logins`."""

    id: Annotated[str, Field(min_length=1, max_length=64)]


class PasswordData(Wire):
    """The password as it is, and as it shall be."""

    password: Annotated[str, Field(max_length=MAX_TOKEN_CHARACTERS)]
    new_password: Password


Picture = Annotated[str, Field(min_length=1, json_schema_extra={"format": "picture"})]


class CompareData(Wire):
    """Two pictures: PNG, JPEG, WebP or GIF in base64, with or without `data:…;base64,` in front."""

    original_image: Picture
    drawn_image: Picture


class _Request(Wire):
    id: RequestId


class AuthRegister(_Request):
    """Create an account and log in."""

    type: Literal["auth.register"]
    data: RegisterData


class AuthLogin(_Request):
    """Log in."""

    type: Literal["auth.login"]
    data: LoginData


class AuthResume(_Request):
    """Go on with a login on this socket."""

    type: Literal["auth.resume"]
    data: ResumeData


class AuthRefresh(_Request):
    """Exchange a refresh token for new tokens."""

    type: Literal["auth.refresh"]
    data: RefreshData


class AuthLogout(_Request):
    """End this login everywhere."""

    type: Literal["auth.logout"]
    data: NoData = NoData()


class UserMe(_Request):
    """Who am I."""

    type: Literal["user.me"]
    data: NoData = NoData()


class UserPassword(_Request):
    """Change the password; every other login of the account ends."""

    type: Literal["user.password"]
    data: PasswordData


class UserDelete(_Request):
    """Delete the account: its name leaves every board, and email and name are free again."""

    type: Literal["user.delete"]
    data: NoData = NoData()


class LoginsList(_Request):
    """Where the account is logged in."""

    type: Literal["logins.list"]
    data: NoData = NoData()


class LoginsRevoke(_Request):
    """End a login, on all of its sockets."""

    type: Literal["logins.revoke"]
    data: RevokeLoginData


class SessionStart(_Request):
    """Start a session; one in progress is canceled."""

    type: Literal["session.start"]
    data: StartData = StartData()


class SessionLast(_Request):
    """The last session."""

    type: Literal["session.last"]
    data: NoData = NoData()


class SessionComplete(_Request):
    """The current stage was passed."""

    type: Literal["session.complete"]
    data: ScoreData


class SessionClose(_Request):
    """The current stage was not passed; the session has failed."""

    type: Literal["session.close"]
    data: ScoreData


class SessionCancel(_Request):
    """Give the session up."""

    type: Literal["session.cancel"]
    data: CancelData = CancelData()


class StageDeal(_Request):
    """Deal the current stage: its clock runs from the first time on, and the puzzle stays the same."""

    type: Literal["stage.deal"]
    data: NoData = NoData()


class StageAnswer(_Request):
    """Answer the stage that was dealt: the server gives the score, and the session goes on or has failed."""

    type: Literal["stage.answer"]
    data: AnswerData


class LeaderboardGet(_Request):
    """Read a window of a board."""

    type: Literal["leaderboard.get"]
    data: GetBoardData = GetBoardData()


class LeaderboardSubscribe(_Request):
    """Follow the top of a board."""

    type: Literal["leaderboard.subscribe"]
    data: SubscribeData = SubscribeData()


class LeaderboardUnsubscribe(_Request):
    """Stop following a board."""

    type: Literal["leaderboard.unsubscribe"]
    data: BoardData = BoardData()


class ImagesCompare(_Request):
    """How unlike two drawings are."""

    type: Literal["images.compare"]
    data: CompareData


class Ping(_Request):
    """Is the server there."""

    type: Literal["ping"]
    data: NoData = NoData()


ClientMessage = Annotated[
    AuthRegister
    | AuthLogin
    | AuthResume
    | AuthRefresh
    | AuthLogout
    | UserMe
    | UserPassword
    | UserDelete
    | LoginsList
    | LoginsRevoke
    | SessionStart
    | SessionLast
    | SessionComplete
    | SessionClose
    | SessionCancel
    | StageDeal
    | StageAnswer
    | LeaderboardGet
    | LeaderboardSubscribe
    | LeaderboardUnsubscribe
    | ImagesCompare
    | Ping,
    Field(discriminator="type"),
]

_MODELS: tuple[type[_Request], ...] = get_args(get_args(ClientMessage)[0])
#: Every message a client may send, by its type.
CLIENT_MODELS: Final = {get_args(model.model_fields["type"].annotation)[0]: model for model in _MODELS}
CLIENT_TYPES: Final = frozenset(CLIENT_MODELS)
