"""Logins and their refresh tokens: what an access token's `sid` stands for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

from storage.accounts import Player
from storage.gathered import Gathered
from storage.postgres import Postgres

if TYPE_CHECKING:
    from storage.postgres import Connection


#: More logins than a person has; who logs in from a script sees the newest.
MAX_LISTED: Final = 100


@dataclass(frozen=True, slots=True)
class NewRefreshToken:
    """A refresh token to be kept: only its SHA-256 is."""

    token_hash: bytes
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class OpenLogin:
    """A login that has not ended. `last_used_at` is when its tokens were renewed last."""

    sid: UUID
    created_at: datetime
    last_used_at: datetime


class LoginRefused(Exception):
    """The password was changed, or the account deleted, since it was checked."""


class LoginUnknown(Exception):
    """The player has no login of this id."""


class LoginRevoked(Exception):
    """The login has ended, or there is no such login."""


class RefreshTokenUnknown(Exception):
    """Nobody was given this refresh token, or it has expired."""


class RefreshTokenReused(Exception):
    """The refresh token was used before: the login is revoked now, since one of the two users has stolen it."""

    def __init__(self, sid: UUID) -> None:
        self.sid = sid
        super().__init__(str(sid))


# The lock makes a change of the password wait until this login can be seen and ended, or this one for the change.
_INSERT_LOGIN: Final = """
    INSERT INTO logins (sid, number, created_at)
    SELECT $1, number, $3 FROM players WHERE number = $2 AND password_hash = $4 FOR SHARE
"""
_INSERT_TOKEN: Final = "INSERT INTO refresh_tokens (token_hash, sid, created_at, expires_at) VALUES ($1, $2, $3, $4)"
_PLAYERS: Final = """
    SELECT l.sid, p.id, p.number, p.email, p.username
    FROM logins l JOIN players p USING (number)
    WHERE l.sid = ANY($1::uuid[]) AND l.revoked_at IS NULL
"""
_OPEN: Final = """
    SELECT l.sid, l.created_at, max(t.created_at) AS last_used_at
    FROM logins l JOIN refresh_tokens t USING (sid)
    WHERE l.number = $1 AND l.revoked_at IS NULL
    GROUP BY l.sid
    HAVING max(t.expires_at) > $2
    ORDER BY l.created_at DESC, l.sid
    LIMIT $3
"""
_REVOKE_OWN: Final = (
    "UPDATE logins SET revoked_at = coalesce(revoked_at, $3) WHERE sid = $1 AND number = $2 RETURNING sid"
)
_REVOKED_SINCE: Final = "SELECT sid FROM logins WHERE revoked_at >= $1"
_REVOKE: Final = "UPDATE logins SET revoked_at = $2 WHERE sid = $1 AND revoked_at IS NULL"
_LOCK_TOKEN: Final = """
    SELECT t.sid, t.used_at, t.expires_at, l.revoked_at, p.id, p.number, p.email, p.username
    FROM refresh_tokens t JOIN logins l USING (sid) JOIN players p USING (number)
    WHERE t.token_hash = $1
    FOR UPDATE OF t, l
"""
_USE_TOKEN: Final = "UPDATE refresh_tokens SET used_at = $2 WHERE token_hash = $1"


class Logins:
    """The tables of logins. Every method raises StoreUnavailable when PostgreSQL does not answer in time."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._players = Gathered(self._players_of)

    async def open(self, sid: UUID, number: int, password_hash: str, token: NewRefreshToken) -> None:
        """Start a login of the player whose password was checked against the hash; durable when it returns. Raises
        LoginRefused."""

        async def insert(connection: Connection) -> None:
            async with connection.transaction():
                done = await connection.execute(_INSERT_LOGIN, sid, number, token.created_at, password_hash)
                if done == "INSERT 0 0":
                    raise LoginRefused
                await connection.execute(_INSERT_TOKEN, token.token_hash, sid, token.created_at, token.expires_at)

        await self._postgres.run(insert, repeatable=False)

    async def player_of(self, sid: UUID) -> Player:
        """Whose login this is; raises LoginRevoked."""
        player = await self._players.get(sid)
        if player is None:
            raise LoginRevoked
        return player

    async def _players_of(self, sids: list[UUID]) -> dict[UUID, Player]:
        rows = await self._postgres.fetch(_PLAYERS, sids)
        return {row["sid"]: Player(row["id"], row["number"], row["email"], row["username"]) for row in rows}

    async def rotate(self, token_hash: bytes, new: NewRefreshToken) -> tuple[UUID, Player]:
        """Use up a refresh token and put a new one in its place.

        Raises RefreshTokenUnknown, LoginRevoked or RefreshTokenReused; the last one has revoked the login, durably.
        """

        async def exchange(connection: Connection) -> tuple[UUID, Player] | RefreshTokenReused:
            async with connection.transaction():
                row = await connection.fetchrow(_LOCK_TOKEN, token_hash)
                if row is None or row["expires_at"] <= new.created_at:
                    raise RefreshTokenUnknown
                if row["revoked_at"] is not None:
                    raise LoginRevoked
                if row["used_at"] is not None:
                    await connection.execute(_REVOKE, row["sid"], new.created_at)
                    # Returned, not raised: an exception here would roll the revocation back.
                    return RefreshTokenReused(row["sid"])
                await connection.execute(_USE_TOKEN, token_hash, new.created_at)
                await connection.execute(_INSERT_TOKEN, new.token_hash, row["sid"], new.created_at, new.expires_at)
                return row["sid"], Player(row["id"], row["number"], row["email"], row["username"])

        outcome = await self._postgres.run(exchange, repeatable=False)
        if isinstance(outcome, RefreshTokenReused):
            raise outcome
        return outcome

    async def revoke(self, sid: UUID, at: datetime) -> None:
        """End a login for good; once more changes nothing. Durable when it returns."""
        await self._postgres.execute(_REVOKE, sid, at)

    async def open_logins(self, number: int, now: datetime) -> list[OpenLogin]:
        """The player's logins that can still be used, the newest first."""
        rows = await self._postgres.fetch(_OPEN, number, now, MAX_LISTED)
        return [OpenLogin(row["sid"], row["created_at"], row["last_used_at"]) for row in rows]

    async def revoke_own(self, sid: UUID, number: int, at: datetime) -> None:
        """End a login of this player; once more changes nothing. Durable when it returns. Raises LoginUnknown."""
        if await self._postgres.fetchrow(_REVOKE_OWN, sid, number, at) is None:
            raise LoginUnknown

    async def revoked_since(self, moment: datetime) -> list[UUID]:
        """Logins that were ended then or later, on whatever node."""
        return [row["sid"] for row in await self._postgres.fetch(_REVOKED_SINCE, moment)]
