"""Bodies that only HTTP answers have; all others are the `data` of the socket's messages."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from protocol.codec import encode_data
from protocol.errors import ErrorCode, RequestError
from protocol.fields import Timestamp, Wire, is_none
from protocol.server_messages import FieldData, SessionData

PartName = Literal["postgresql", "redis", "delivery"]


class TokensData(Wire):
    """POST /login and POST /refresh."""

    token: str
    token_expires_at: Timestamp
    refresh_token: str


class BoardRowData(Wire):
    """One row of GET /api/leaderboard, which is an object by position."""

    username: str
    email: str | None
    total_score: int
    passed_all_games: bool
    number: int


class HealthData(Wire):
    """GET /healthz and /readyz. `down` names the stores that do not answer, or `delivery` when changes do not reach
    sockets."""

    status: Literal["live", "ready", "not ready"]
    down: list[PartName] | None = Field(default=None, exclude_if=is_none)


class ErrorPayload(Wire):
    """What goes with an error."""

    fields_: list[FieldData] | None = Field(default=None, alias="fields", exclude_if=is_none)
    retry_after_ms: int | None = Field(default=None, exclude_if=is_none)
    session: SessionData | None = Field(default=None, exclude_if=is_none)


class ErrorBody(Wire):
    """Every answer from status 400 on."""

    error: str
    code: ErrorCode
    payload: ErrorPayload

    @classmethod
    def of(cls, error: RequestError) -> ErrorBody:
        """The body for an error."""
        payload = ErrorPayload(
            fields_=[FieldData(path=field.path, message=field.message) for field in error.fields] or None,
            retry_after_ms=error.retry_after_ms,
            session=None if error.session is None else SessionData.of(error.session),
        )
        return cls(error=error.message, code=error.code, payload=payload)


def encode_http_error(error: RequestError) -> bytes:
    """The body for an error, as JSON text."""
    return encode_data(ErrorBody.of(error))
