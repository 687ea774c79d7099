"""Who somebody is: register, log in, go on with a token, log out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from protocol.client_messages import LoginData, RegisterData
from protocol.errors import ErrorCode, RequestError
from server.clock import Clock
from server.passwords import Passwords
from server.tokens import REFRESH_TOKEN_LIFE, Tokens, hash_refresh_token, new_refresh_token
from storage.accounts import Accounts, EmailTaken, Player, UsernameTaken
from storage.logins import LoginRevoked, Logins, NewRefreshToken, RefreshTokenUnknown


@dataclass(frozen=True, slots=True)
class Login:
    """A player who has shown who they are, by the login `sid`, until the token expires."""

    player: Player
    sid: UUID
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Granted:
    """A login with what the client needs to go on with it; no refresh token when it has one already."""

    login: Login
    token: str
    refresh_token: str | None


class Authentication:
    """The rules of accounts and logins. Refusals are RequestError; StoreUnavailable when PostgreSQL is away."""

    def __init__(self, accounts: Accounts, logins: Logins, passwords: Passwords, tokens: Tokens, clock: Clock) -> None:
        self._accounts = accounts
        self._logins = logins
        self._passwords = passwords
        self._tokens = tokens
        self._clock = clock

    async def register(self, data: RegisterData) -> Player:
        """Make an account."""
        try:
            await self._accounts.check_free(data.email, data.username)
            password_hash = await self._passwords.hash(data.password)
            return await self._accounts.register(uuid4(), data.email, data.username, password_hash, self._clock())
        except EmailTaken:
            raise RequestError(ErrorCode.EMAIL_TAKEN) from None
        except UsernameTaken:
            raise RequestError(ErrorCode.USERNAME_TAKEN) from None

    async def log_in(self, data: LoginData) -> Granted:
        """Check the credentials and open a login. An unknown email takes as long as a wrong password."""
        # PostgreSQL takes no NUL in a text, and no email has one.
        found = None if "\0" in data.email else await self._accounts.find_by_email(data.email)
        matches = await self._passwords.check(data.password, found[1] if found else None)
        if found is None or not matches:
            raise RequestError(ErrorCode.INVALID_CREDENTIALS)
        return await self.open(found[0])

    async def open(self, player: Player) -> Granted:
        """Open a login for a player who has just shown who they are."""
        sid = uuid4()
        refresh_token, kept = self._new_refresh_token()
        await self._logins.open(sid, player.number, kept)
        return self._grant(player, sid, refresh_token)

    async def resume(self, token: str) -> Login:
        """Whom an access token belongs to; refused when it has expired or its login was revoked."""
        claims = self._tokens.read(token)
        try:
            player = await self._logins.player_of(claims.sid)
        except LoginRevoked:
            raise RequestError(ErrorCode.TOKEN_REVOKED) from None
        return Login(player, claims.sid, claims.expires_at)

    async def identify(self, authorization: str) -> Login:
        """Whom an Authorization header belongs to (RFC 6750)."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise RequestError(ErrorCode.UNAUTHENTICATED)
        return await self.resume(token.strip())

    async def refresh(self, refresh_token: str) -> Granted:
        """Exchange a refresh token for new tokens of the same login. One that was used before has ended the login:
        RefreshTokenReused."""
        new_token, kept = self._new_refresh_token()
        try:
            sid, player = await self._logins.rotate(hash_refresh_token(refresh_token), kept)
        except RefreshTokenUnknown:
            raise RequestError(ErrorCode.UNAUTHENTICATED, "This is not a refresh token of this server.") from None
        except LoginRevoked:
            raise RequestError(ErrorCode.TOKEN_REVOKED) from None
        return self._grant(player, sid, new_token)

    async def log_out(self, login: Login) -> None:
        """End the login for good."""
        await self._logins.revoke(login.sid, self._clock())

    def _grant(self, player: Player, sid: UUID, refresh_token: str) -> Granted:
        token, expires_at = self._tokens.issue(player.id, sid)
        return Granted(Login(player, sid, expires_at), token, refresh_token)

    def _new_refresh_token(self) -> tuple[str, NewRefreshToken]:
        token = new_refresh_token()
        now = self._clock()
        return token, NewRefreshToken(hash_refresh_token(token), now, now + REFRESH_TOKEN_LIFE)
