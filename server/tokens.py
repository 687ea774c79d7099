"""Access tokens (JWT, RFC 7519) and refresh tokens (opaque)."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from uuid import UUID

import jwt

from protocol.errors import ErrorCode, RequestError
from server.clock import Clock

#: The one algorithm; what a token's header asks for is not looked at.
ALGORITHM: Final = "HS256"
ISSUER: Final = "braingame"
#: How long a login lasts when it is not used.
REFRESH_TOKEN_LIFE: Final = timedelta(days=30)
_REFRESH_TOKEN_BYTES: Final = 32
#: Verified tokens that are kept, about 1 KB each.
_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Claims:
    """What an access token says: which player, which login, until when."""

    player_id: UUID
    sid: UUID
    expires_at: datetime


class Tokens:
    """Makes and reads access tokens."""

    def __init__(self, secret: str, life: timedelta, clock: Clock, previous: str | None = None) -> None:
        """Signs with `secret`; takes what `previous`, the one before it, has signed as well."""
        self._secret = secret
        self._accepted = (secret,) if previous is None else (secret, previous)
        self._life = life
        self._clock = clock
        #: The same tokens come again with each request and with each reconnection.
        self._verified = lru_cache(maxsize=_REMEMBERED)(self._verify)

    def issue(self, player_id: UUID, sid: UUID) -> tuple[str, datetime]:
        """A token and when it expires (whole seconds, as in the token)."""
        issued_at = int(self._clock().timestamp())
        expires_at = issued_at + int(self._life.total_seconds())
        claims = {"iss": ISSUER, "sub": str(player_id), "sid": str(sid), "iat": issued_at, "exp": expires_at}
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM), datetime.fromtimestamp(expires_at, UTC)

    def read(self, token: str) -> Claims:
        """What a token of ours says; raises RequestError with `unauthenticated` or `token_expired`."""
        read = self._verified(token)
        if read.expires_at <= self._clock():
            raise RequestError(ErrorCode.TOKEN_EXPIRED)
        return read

    def _verify(self, token: str) -> Claims:
        for secret in self._accepted[:-1]:
            with suppress(RequestError):
                return self._verify_by(secret, token)
        return self._verify_by(self._accepted[-1], token)

    def _verify_by(self, secret: str, token: str) -> Claims:
        try:
            claims = jwt.decode(
                token,
                secret,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                # The expiry is checked by `read`, each time, by the clock that everything else goes by.
                options={"require": ["iss", "sub", "sid", "iat", "exp"], "verify_exp": False, "verify_iat": False},
            )
            expires_at = datetime.fromtimestamp(int(claims["exp"]), UTC)
            return Claims(UUID(claims["sub"]), UUID(claims["sid"]), expires_at)
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError, OverflowError, OSError):
            raise RequestError(ErrorCode.UNAUTHENTICATED, "This is not a token of this server.") from None


def new_refresh_token() -> str:
    """A refresh token for a client."""
    return secrets.token_urlsafe(_REFRESH_TOKEN_BYTES)


def hash_refresh_token(token: str) -> bytes:
    """What is kept of it. It is random, so a plain hash cannot be guessed back."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
