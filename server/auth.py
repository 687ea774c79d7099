"""Who somebody is: register, log in, go on with a token, log out."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from protocol.client_messages import LoginData, PasswordData, RegisterData
from protocol.errors import ErrorCode, RequestError
from protocol.fields import normal_email
from server.attempts import Attempts, Try
from server.clock import Clock
from server.passwords import Passwords
from server.tokens import REFRESH_TOKEN_LIFE, Tokens, hash_refresh_token, new_refresh_token
from storage.accounts import AccountGone, Accounts, EmailTaken, PasswordChanged, Player, UsernameTaken
from storage.logins import (
    LoginRefused,
    LoginRevoked,
    Logins,
    LoginUnknown,
    NewRefreshToken,
    OpenLogin,
    RefreshTokenUnknown,
)


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

    def __init__(
        self,
        accounts: Accounts,
        logins: Logins,
        passwords: Passwords,
        tokens: Tokens,
        clock: Clock,
        attempts: Attempts | None = None,
    ) -> None:
        """Without `attempts` anybody may try as often as they like."""
        self._accounts = accounts
        self._logins = logins
        self._passwords = passwords
        self._tokens = tokens
        self._clock = clock
        self._attempts = attempts

    # `address` is by what a client is counted (server/addresses.py); None for one of this machine.

    async def register(self, data: RegisterData, address: str | None = None) -> Player:
        """Make an account, without a login."""
        player, _ = await self._register(data, address)
        return player

    async def register_and_log_in(self, data: RegisterData, address: str | None = None) -> Granted:
        """Make an account and open its first login."""
        return await self._open(*await self._register(data, address))

    async def _register(self, data: RegisterData, address: str | None) -> tuple[Player, str]:
        if self._attempts is not None:
            await self._attempts.registration(address)
        try:
            await self._accounts.check_free(data.email, data.username)
            password_hash = await self._passwords.hash(data.password, address)
            player = await self._accounts.register(uuid4(), data.email, data.username, password_hash, self._clock())
        except EmailTaken:
            raise RequestError(ErrorCode.EMAIL_TAKEN) from None
        except UsernameTaken:
            raise RequestError(ErrorCode.USERNAME_TAKEN) from None
        return player, password_hash

    async def log_in(self, data: LoginData, address: str | None = None) -> Granted:
        """Check the credentials and open a login. An unknown email takes as long as a wrong password, and is slowed
        down like one."""
        # As it was kept when it was registered, from the same keys of a keyboard.
        email = normal_email(data.email)
        async with self._attempt(email, address) as attempt:
            # PostgreSQL takes no NUL in a text, and no email has one.
            found = None if "\0" in email else await self._accounts.find_by_email(email)
            attempt.right = await self._passwords.check(data.password, found[1] if found else None, address)
        if found is None or not attempt.right:
            raise RequestError(ErrorCode.INVALID_CREDENTIALS)
        return await self._open(*found)

    def _attempt(self, email: str, address: str | None) -> AbstractAsyncContextManager[Try]:
        return nullcontext(Try()) if self._attempts is None else self._attempts.password(email, address)

    async def _open(self, player: Player, password_hash: str) -> Granted:
        sid = uuid4()
        refresh_token, kept = self._new_refresh_token()
        try:
            await self._logins.open(sid, player.number, password_hash, kept)
        except LoginRefused:
            # The password was changed, or the account deleted, while this one was being checked.
            raise RequestError(ErrorCode.INVALID_CREDENTIALS) from None
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

    async def logins(self, player: Player) -> list[OpenLogin]:
        """Where the player is logged in, the newest first."""
        return await self._logins.open_logins(player.number, self._clock())

    async def revoke(self, player: Player, login_id: str) -> UUID:
        """End one login of the player for good; gives its `sid`."""
        try:
            sid = UUID(login_id)
            await self._logins.revoke_own(sid, player.number, self._clock())
        except (ValueError, LoginUnknown):
            raise RequestError(ErrorCode.NOT_FOUND, "You have no login of this id.") from None
        return sid

    async def change_password(self, login: Login, data: PasswordData, address: str | None = None) -> list[UUID]:
        """Set another password; gives the `sid` of every other login of the player, which have ended by it."""
        number = login.player.number
        try:
            old_hash = await self._accounts.password_hash(number)
            # Whoever has found an open login must not guess the password by it either.
            async with self._attempt(login.player.email, address) as attempt:
                attempt.right = await self._passwords.check(data.password, old_hash, address)
            if not attempt.right:
                raise RequestError(ErrorCode.INVALID_CREDENTIALS, "The password is wrong.")
            new_hash = await self._passwords.hash(data.new_password, address)
            return await self._accounts.change_password(number, old_hash, new_hash, login.sid, self._clock())
        except AccountGone:
            raise RequestError(ErrorCode.TOKEN_REVOKED) from None
        except PasswordChanged:
            raise RequestError(ErrorCode.INVALID_CREDENTIALS, "The password was changed meanwhile.") from None

    async def delete(self, player: Player) -> list[str]:
        """Delete the account; gives the ladders that the player was on."""
        try:
            return await self._accounts.delete(player.number, self._clock())
        except AccountGone:
            raise RequestError(ErrorCode.TOKEN_REVOKED) from None

    def _grant(self, player: Player, sid: UUID, refresh_token: str) -> Granted:
        token, expires_at = self._tokens.issue(player.id, sid)
        return Granted(Login(player, sid, expires_at), token, refresh_token)

    def _new_refresh_token(self) -> tuple[str, NewRefreshToken]:
        token = new_refresh_token()
        now = self._clock()
        return token, NewRefreshToken(hash_refresh_token(token), now, now + REFRESH_TOKEN_LIFE)
