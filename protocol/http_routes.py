"""Every HTTP route, in one table: what server/http.py serves and /openapi.json publishes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import RootModel

from protocol.admin_messages import (
    ActedData,
    ActsBeforeData,
    ActsData,
    FiguresData,
    FindPlayersData,
    FoundPlayersData,
    PlayerDetailsData,
    ReasonData,
    SessionStepsData,
)
from protocol.client_messages import (
    AnswerData,
    CancelData,
    CompareData,
    GetBoardData,
    LoginData,
    NoData,
    PasswordData,
    RefreshData,
    RegisterData,
    ScoreData,
    StartData,
)
from protocol.errors import ErrorCode
from protocol.fields import Wire
from protocol.http_messages import BoardRowData, HealthData, TokensData
from protocol.server_messages import DistanceData, LoginsData, SessionData, StageData, UserData


class BoardRows(RootModel[dict[str, BoardRowData]]):
    """Rows by position: "1" is the first."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    `who` may use it: `player` needs an access token, `admin` an operator's, `either` shows more with one. A `keyed`
    route takes the header Idempotency-Key. `answer` is None where there is no body, or a media type where it is not
    JSON. `errors` are those of this route's own; what every route of its kind can answer is added by `all_errors`.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    operation: str
    summary: str
    who: Literal["anyone", "player", "admin", "either"]
    status: int = 200
    body: type[Wire] | None = None
    query: type[Wire] | None = None
    answer: type[Wire] | type[BoardRows] | str | None = None
    keyed: bool = False
    errors: tuple[ErrorCode, ...] = ()
    #: Further answers that are no errors, by status.
    more: Mapping[int, type[Wire]] | None = None

    @property
    def body_required(self) -> bool:
        """Whether an empty body is refused."""
        return self.body is not None and any(field.is_required() for field in self.body.model_fields.values())

    def all_errors(self) -> set[ErrorCode]:
        """Every code that this route may answer with."""
        found = set(self.errors)
        if self.operation in _WITHOUT_STORES:
            return found
        found |= {ErrorCode.UNAVAILABLE, ErrorCode.INTERNAL}
        if self.body is not None or self.keyed:
            found |= {
                ErrorCode.MALFORMED,
                ErrorCode.INVALID,
                ErrorCode.UNSUPPORTED_MEDIA_TYPE,
                ErrorCode.TOO_LARGE,
            }
        if self.query is not None:
            found.add(ErrorCode.INVALID)
        if self.who == "admin":
            found.add(ErrorCode.FORBIDDEN)
        if self.who != "anyone":
            found |= {ErrorCode.UNAUTHENTICATED, ErrorCode.TOKEN_EXPIRED, ErrorCode.TOKEN_REVOKED}
            # What a player may ask for in a second is limited over all routes.
            found.add(ErrorCode.RATE_LIMITED)
        return found


_WITHOUT_STORES: Final = frozenset({"live", "ready", "metrics", "openapi", "asyncapi", "docs"})
_SESSION_ERRORS: Final = (ErrorCode.NO_SESSION, ErrorCode.SESSION_NOT_ACTIVE, ErrorCode.KEY_REUSED)
_JSON_DOCUMENT: Final = "application/json"

ROUTES: Final = (
    Route(
        "POST",
        "/register",
        "register",
        "Create an account",
        "anyone",
        status=201,
        body=RegisterData,
        answer=UserData,
        errors=(ErrorCode.EMAIL_TAKEN, ErrorCode.USERNAME_TAKEN, ErrorCode.RATE_LIMITED),
    ),
    Route(
        "POST",
        "/login",
        "log_in",
        "Log in",
        "anyone",
        body=LoginData,
        answer=TokensData,
        errors=(ErrorCode.INVALID_CREDENTIALS, ErrorCode.RATE_LIMITED),
    ),
    Route(
        "POST",
        "/refresh",
        "refresh",
        "Exchange a refresh token, which is used up, for new tokens",
        "anyone",
        body=RefreshData,
        answer=TokensData,
        errors=(ErrorCode.UNAUTHENTICATED, ErrorCode.TOKEN_REVOKED),
    ),
    Route("POST", "/logout", "log_out", "End this login everywhere", "player", status=204, body=NoData),
    Route("GET", "/api/users/me", "me", "Who am I", "player", answer=UserData),
    Route(
        "POST",
        "/api/users/me/password",
        "change_password",
        "Change the password; every other login of the account ends",
        "player",
        status=204,
        body=PasswordData,
        errors=(ErrorCode.INVALID_CREDENTIALS, ErrorCode.RATE_LIMITED),
    ),
    Route(
        "DELETE",
        "/api/users/me",
        "delete_me",
        "Delete the account: its name leaves every board, email and name are free again",
        "player",
        status=204,
        body=NoData,
    ),
    Route("GET", "/api/logins", "list_logins", "Where the account is logged in", "player", answer=LoginsData),
    Route(
        "DELETE",
        "/api/logins/{id}",
        "revoke_login",
        "End a login, on all of its sockets",
        "player",
        status=204,
        body=NoData,
        errors=(ErrorCode.NOT_FOUND, ErrorCode.INVALID),
    ),
    Route(
        "GET", "/api/sessions/last", "last", "The last session; all null if there is none", "player", answer=SessionData
    ),
    Route(
        "POST",
        "/api/sessions",
        "start",
        "Start a session; one in progress is canceled",
        "player",
        status=201,
        body=StartData,
        answer=SessionData,
        keyed=True,
        errors=(ErrorCode.KEY_REUSED,),
    ),
    Route(
        "POST",
        "/api/sessions/last/complete",
        "complete",
        "The current stage was passed",
        "player",
        body=ScoreData,
        answer=SessionData,
        keyed=True,
        errors=(*_SESSION_ERRORS, ErrorCode.SCORE_NOT_ACCEPTED),
    ),
    Route(
        "POST",
        "/api/sessions/last/close",
        "close",
        "The current stage was not passed; the session has failed",
        "player",
        body=ScoreData,
        answer=SessionData,
        keyed=True,
        errors=(*_SESSION_ERRORS, ErrorCode.SCORE_NOT_ACCEPTED),
    ),
    Route(
        "POST",
        "/api/sessions/last/cancel",
        "cancel",
        "Give the session up",
        "player",
        body=CancelData,
        answer=SessionData,
        keyed=True,
        errors=_SESSION_ERRORS,
    ),
    Route(
        "POST",
        "/api/sessions/last/stage",
        "deal",
        "Deal the current stage; its clock runs from the first time on",
        "player",
        body=NoData,
        answer=StageData,
        errors=(ErrorCode.NO_SESSION, ErrorCode.SESSION_NOT_ACTIVE),
    ),
    Route(
        "POST",
        "/api/sessions/last/stage/answer",
        "answer",
        "Answer the stage that was dealt; the server gives the score",
        "player",
        body=AnswerData,
        answer=SessionData,
        keyed=True,
        errors=(*_SESSION_ERRORS, ErrorCode.NOT_DEALT, ErrorCode.TOO_FAST, ErrorCode.RATE_LIMITED),
    ),
    Route(
        "GET",
        "/api/leaderboard",
        "leaderboard",
        "A window of a board, by position",
        "either",
        query=GetBoardData,
        answer=BoardRows,
        errors=(ErrorCode.UNKNOWN_BOARD,),
    ),
    Route(
        "POST",
        "/api/images/compare",
        "compare",
        "How unlike two drawings are",
        "player",
        body=CompareData,
        answer=DistanceData,
        errors=(ErrorCode.IMAGE_UNREADABLE, ErrorCode.RATE_LIMITED),
    ),
    Route("GET", "/api/admin/figures", "admin_figures", "What this node does", "admin", answer=FiguresData),
    Route(
        "GET",
        "/api/admin/players",
        "admin_find_players",
        "Find players by number, name or email",
        "admin",
        query=FindPlayersData,
        answer=FoundPlayersData,
    ),
    Route(
        "GET",
        "/api/admin/players/{number}",
        "admin_player",
        "A player with logins, sessions and entries",
        "admin",
        answer=PlayerDetailsData,
        errors=(ErrorCode.NOT_FOUND,),
    ),
    Route(
        "GET",
        "/api/admin/players/{number}/sessions/{sessionId}",
        "admin_session",
        "A session, step by step",
        "admin",
        answer=SessionStepsData,
        errors=(ErrorCode.NOT_FOUND,),
    ),
    Route(
        "POST",
        "/api/admin/players/{number}/take-off-boards",
        "admin_take_off_boards",
        "Take a player off every board, from now on too",
        "admin",
        body=ReasonData,
        answer=ActedData,
        errors=(ErrorCode.NOT_FOUND,),
    ),
    Route(
        "POST",
        "/api/admin/players/{number}/put-back-on-boards",
        "admin_put_back_on_boards",
        "Show a player on the boards again, with all that was played meanwhile",
        "admin",
        body=ReasonData,
        answer=ActedData,
        errors=(ErrorCode.NOT_FOUND,),
    ),
    Route(
        "POST",
        "/api/admin/players/{number}/revoke-logins",
        "admin_revoke_logins",
        "End every login of a player",
        "admin",
        body=ReasonData,
        answer=ActedData,
        errors=(ErrorCode.NOT_FOUND,),
    ),
    Route(
        "GET",
        "/api/admin/acts",
        "admin_acts",
        "What operators have done",
        "admin",
        query=ActsBeforeData,
        answer=ActsData,
    ),
    Route("GET", "/healthz", "live", "Is the process there", "anyone", answer=HealthData),
    Route(
        "GET",
        "/readyz",
        "ready",
        "Can it serve; 503 names the stores that do not answer",
        "anyone",
        answer=HealthData,
        more={503: HealthData},
    ),
    Route("GET", "/metrics", "metrics", "What the server counts, for Prometheus", "anyone", answer="text/plain"),
    Route("GET", "/openapi.json", "openapi", "This document", "anyone", answer=_JSON_DOCUMENT),
    Route("GET", "/asyncapi.json", "asyncapi", "The messages of the socket", "anyone", answer=_JSON_DOCUMENT),
    Route("GET", "/docs", "docs", "Both, to be read by people", "anyone", answer="text/html"),
)


def answer_model(route: Route) -> Any:
    """The model of the answer's body; None where there is none or it is no JSON of ours."""
    return None if route.answer is None or isinstance(route.answer, str) else route.answer
