"""Every error a client can get: stable code, HTTP status, whether trying again helps, and the close codes.

`message` is for a person. It never holds internals, other players' data or secrets: the texts here are fixed, and
whoever raises `RequestError` may only put in what the caller itself sent or may see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from http import HTTPStatus
from typing import Final

from game.session import PlayerState


class ErrorCode(StrEnum):
    """The closed list of codes that clients program against."""

    MALFORMED = "malformed"
    UNKNOWN_TYPE = "unknown_type"
    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    INVALID_CREDENTIALS = "invalid_credentials"
    TOKEN_EXPIRED = "token_expired"
    TOKEN_REVOKED = "token_revoked"
    EMAIL_TAKEN = "email_taken"
    USERNAME_TAKEN = "username_taken"
    NO_SESSION = "no_session"
    SESSION_NOT_ACTIVE = "session_not_active"
    KEY_REUSED = "key_reused"
    NOT_DEALT = "not_dealt"
    TOO_FAST = "too_fast"
    SCORE_NOT_ACCEPTED = "score_not_accepted"
    UNKNOWN_BOARD = "unknown_board"
    IMAGE_UNREADABLE = "image_unreadable"
    FORBIDDEN = "forbidden"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UPGRADE_REQUIRED = "upgrade_required"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """What is the same for all errors of one code."""

    status: HTTPStatus
    message: str
    retryable: bool = False


ERRORS: Final[dict[ErrorCode, ErrorKind]] = {
    ErrorCode.MALFORMED: ErrorKind(HTTPStatus.BAD_REQUEST, "This is not a JSON object with a type."),
    ErrorCode.UNKNOWN_TYPE: ErrorKind(HTTPStatus.BAD_REQUEST, "There is no message of this type."),
    ErrorCode.INVALID: ErrorKind(HTTPStatus.BAD_REQUEST, "Some fields are not as they should be."),
    ErrorCode.UNAUTHENTICATED: ErrorKind(HTTPStatus.UNAUTHORIZED, "Please log in first."),
    ErrorCode.INVALID_CREDENTIALS: ErrorKind(HTTPStatus.UNAUTHORIZED, "Email or password is wrong."),
    ErrorCode.TOKEN_EXPIRED: ErrorKind(HTTPStatus.UNAUTHORIZED, "This token has expired."),
    ErrorCode.TOKEN_REVOKED: ErrorKind(HTTPStatus.UNAUTHORIZED, "This login has ended."),
    ErrorCode.EMAIL_TAKEN: ErrorKind(HTTPStatus.CONFLICT, "This email is registered already."),
    ErrorCode.USERNAME_TAKEN: ErrorKind(HTTPStatus.CONFLICT, "This name is taken."),
    ErrorCode.NO_SESSION: ErrorKind(HTTPStatus.NOT_FOUND, "There is no session yet."),
    ErrorCode.SESSION_NOT_ACTIVE: ErrorKind(HTTPStatus.CONFLICT, "The last session is not in progress."),
    ErrorCode.KEY_REUSED: ErrorKind(HTTPStatus.CONFLICT, "This key was used for another action."),
    ErrorCode.NOT_DEALT: ErrorKind(HTTPStatus.CONFLICT, "The current stage has not been dealt."),
    ErrorCode.TOO_FAST: ErrorKind(HTTPStatus.CONFLICT, "Nobody answers so fast; this was not counted."),
    ErrorCode.SCORE_NOT_ACCEPTED: ErrorKind(HTTPStatus.FORBIDDEN, "Here the server keeps the score."),
    ErrorCode.UNKNOWN_BOARD: ErrorKind(HTTPStatus.NOT_FOUND, "There is no board of this name."),
    ErrorCode.IMAGE_UNREADABLE: ErrorKind(HTTPStatus.BAD_REQUEST, "This is not a PNG, JPEG, WebP or GIF image."),
    ErrorCode.FORBIDDEN: ErrorKind(HTTPStatus.FORBIDDEN, "This is for operators."),
    ErrorCode.ORIGIN_NOT_ALLOWED: ErrorKind(HTTPStatus.FORBIDDEN, "Pages of this origin may not do this."),
    ErrorCode.NOT_FOUND: ErrorKind(HTTPStatus.NOT_FOUND, "There is nothing at this address."),
    ErrorCode.METHOD_NOT_ALLOWED: ErrorKind(HTTPStatus.METHOD_NOT_ALLOWED, "This address does not take this method."),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: ErrorKind(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body has to be JSON."),
    ErrorCode.UPGRADE_REQUIRED: ErrorKind(HTTPStatus.UPGRADE_REQUIRED, "This address speaks WebSocket only."),
    ErrorCode.TOO_LARGE: ErrorKind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "This is too large."),
    ErrorCode.RATE_LIMITED: ErrorKind(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests; please wait.", retryable=True),
    ErrorCode.UNAVAILABLE: ErrorKind(
        HTTPStatus.SERVICE_UNAVAILABLE, "This does not work at the moment; please try again.", retryable=True
    ),
    ErrorCode.INTERNAL: ErrorKind(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong on our side."),
}


class CloseCode(IntEnum):
    """Why the server closes a socket (RFC 6455 section 7.4, and 4000 to 4999 of our own)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    BINARY_FRAME = 1003
    NOT_UTF8 = 1007
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    MALFORMED = 4400
    UNAUTHENTICATED = 4401
    IDLE = 4408
    FLOODING = 4429
    STUCK_READER = 4508


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field that was refused: its path in `data`, dots between the parts, and what is wrong with it."""

    path: str
    message: str


class RequestError(Exception):
    """A request that is answered with an error. Raised anywhere below the edge, sent by the edge.

    `session` travels with `session_not_active`, `retry_after_ms` with `rate_limited` and `unavailable`.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str | None = None,
        *,
        fields: Sequence[FieldProblem] = (),
        retry_after_ms: int | None = None,
        session: PlayerState | None = None,
    ) -> None:
        self.code = code
        self.message = ERRORS[code].message if message is None else message
        self.fields = tuple(fields)
        self.retry_after_ms = retry_after_ms
        self.session = session
        super().__init__(self.message)

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return ERRORS[self.code].retryable

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status that goes with the code."""
        return ERRORS[self.code].status


def invalid(path: str, message: str) -> RequestError:
    """The error for one wrong field."""
    return RequestError(ErrorCode.INVALID, fields=[FieldProblem(path, message)])
