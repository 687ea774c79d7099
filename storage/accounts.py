"""Players: who has registered."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

import asyncpg

from storage.postgres import Postgres

if TYPE_CHECKING:
    from storage.postgres import Connection


@dataclass(frozen=True, slots=True)
class Player:
    """An account. `number` is the registration number: 1, 2, 3, … without gaps."""

    id: UUID
    number: int
    email: str
    username: str


class EmailTaken(Exception):
    """Somebody has registered with this email, in whatever case."""


class UsernameTaken(Exception):
    """Somebody has this username, in whatever case."""


class AccountGone(Exception):
    """The account was deleted."""


class PasswordChanged(Exception):
    """The password is another one by now."""


# The counter's row is locked until the end of the transaction, so numbers are given out one after the other, and a
# registration that fails leaves no gap.
_REGISTER: Final = """
    WITH next AS (
        UPDATE deployment SET last_player_number = last_player_number + 1 RETURNING last_player_number AS number
    ), player AS (
        INSERT INTO players (number, id, email, email_key, username, username_key, password_hash, registered_at)
        SELECT number, $1, $2, $3, $4, $5, $6, $7 FROM next
        RETURNING number
    )
    SELECT number FROM player
"""
_OPEN_SESSION_ROW: Final = "INSERT INTO sessions (number) VALUES ($1)"

_TAKEN: Final = """
    SELECT EXISTS (SELECT FROM players WHERE email_key = $1) AS email,
           EXISTS (SELECT FROM players WHERE username_key = $2) AS username
"""

_BY_EMAIL: Final = "SELECT number, id, email, username, password_hash FROM players WHERE email_key = $1"

_NAMES: Final = "SELECT number, username FROM players WHERE number = ANY($1::bigint[]) AND deleted_at IS NULL"

_EMAILS: Final = "SELECT number, email FROM players WHERE number = ANY($1::bigint[]) AND deleted_at IS NULL"

_PASSWORD_HASH: Final = "SELECT password_hash FROM players WHERE number = $1 AND deleted_at IS NULL"

_CHANGE_PASSWORD: Final = "UPDATE players SET password_hash = $3 WHERE number = $1 AND password_hash = $2"
# After the row of the player is locked, so that a login that is being opened with the old password is seen here.
_REVOKE_OTHERS: Final = """
    UPDATE logins SET revoked_at = $3 WHERE number = $1 AND sid <> $2 AND revoked_at IS NULL RETURNING sid
"""

_FORGET_PERSON: Final = """
    UPDATE players
    SET email = NULL, email_key = NULL, username = NULL, username_key = NULL, password_hash = NULL, deleted_at = $2
    WHERE number = $1 AND deleted_at IS NULL
"""
_REVOKE_ALL: Final = "UPDATE logins SET revoked_at = $2 WHERE number = $1 AND revoked_at IS NULL"
_DROP_REFRESH_TOKENS: Final = "DELETE FROM refresh_tokens WHERE sid IN (SELECT sid FROM logins WHERE number = $1)"
# Waits for an action that is being committed; the next one finds no row to build on.
_CLOSE_SESSION_ROW: Final = "DELETE FROM sessions WHERE number = $1"
_TAKE_OFF: Final = """
    UPDATE ladder_entries SET removed = true, changed_by = pg_current_xact_id() WHERE number = $1 RETURNING ladder
"""


#: Zero-width non-joiner and joiner, and the selector of the coloured form of an emoji.
_JOINERS: Final = dict.fromkeys((0x200C, 0x200D, 0xFE0F))


def without_case(text: str) -> str:
    """What emails are compared by."""
    return text.casefold()


def name_key(username: str) -> str:
    """What usernames are compared by: nobody sees a joiner."""
    return without_case(username).translate(_JOINERS)


class Accounts:
    """The players' table. Every method raises StoreUnavailable when PostgreSQL does not answer in time."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def check_free(self, email: str, username: str) -> None:
        """Raise EmailTaken or UsernameTaken early, before a password is hashed; `register` decides."""
        row = await self._postgres.fetchrow(_TAKEN, without_case(email), name_key(username))
        assert row is not None  # noqa: S101
        if row["email"]:
            raise EmailTaken
        if row["username"]:
            raise UsernameTaken

    async def register(self, player_id: UUID, email: str, username: str, password_hash: str, at: datetime) -> Player:
        """Add a player; durable when it returns. Raises EmailTaken or UsernameTaken."""

        async def insert(connection: Connection) -> int:
            async with connection.transaction():
                number: int = await connection.fetchval(
                    _REGISTER,
                    player_id,
                    email,
                    without_case(email),
                    username,
                    name_key(username),
                    password_hash,
                    at,
                )
                await connection.execute(_OPEN_SESSION_ROW, number)
            return number

        try:
            number = await self._postgres.run(insert, repeatable=False)
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name == "players_email_taken":
                raise EmailTaken from None
            if error.constraint_name == "players_username_taken":
                raise UsernameTaken from None
            raise
        return Player(player_id, number, email, username)

    async def find_by_email(self, email: str) -> tuple[Player, str] | None:
        """The player with this email, in whatever case, and the password's hash."""
        row = await self._postgres.fetchrow(_BY_EMAIL, without_case(email))
        if row is None:
            return None
        return Player(row["id"], row["number"], row["email"], row["username"]), row["password_hash"]

    async def usernames(self, numbers: Collection[int]) -> dict[int, str]:
        """Names by registration number; a number that nobody has is left out."""
        return {row["number"]: row["username"] for row in await self._postgres.fetch(_NAMES, list(numbers))}

    async def emails(self, numbers: Collection[int]) -> dict[int, str]:
        """Emails by registration number, for an operator who has decided to show them."""
        return {row["number"]: row["email"] for row in await self._postgres.fetch(_EMAILS, list(numbers))}

    async def password_hash(self, number: int) -> str:
        """What the player's password is checked against; raises AccountGone."""
        row = await self._postgres.fetchrow(_PASSWORD_HASH, number)
        if row is None:
            raise AccountGone
        password_hash: str = row["password_hash"]
        return password_hash

    async def change_password(self, number: int, old_hash: str, new_hash: str, keep: UUID, at: datetime) -> list[UUID]:
        """Set the password and end every login of the player but `keep`; gives those that were ended. Durable when it
        returns. Raises PasswordChanged when the old hash is not the one that is held."""

        async def change(connection: Connection) -> list[UUID]:
            async with connection.transaction():
                if await connection.execute(_CHANGE_PASSWORD, number, old_hash, new_hash) == "UPDATE 0":
                    raise PasswordChanged
                return [row["sid"] for row in await connection.fetch(_REVOKE_OTHERS, number, keep, at)]

        return await self._postgres.run(change, repeatable=False)

    async def delete(self, number: int, at: datetime) -> list[str]:
        """Forget who the player is, end all logins, and take the player off every ladder, whose names are given.

        The number and the log of its sessions stay, without a person. Durable when it returns; raises AccountGone when
        it was done before.
        """

        async def forget(connection: Connection) -> list[str]:
            async with connection.transaction():
                if await connection.execute(_FORGET_PERSON, number, at) == "UPDATE 0":
                    raise AccountGone
                await connection.execute(_REVOKE_ALL, number, at)
                await connection.execute(_DROP_REFRESH_TOKENS, number)
                await connection.execute(_CLOSE_SESSION_ROW, number)
                return [row["ladder"] for row in await connection.fetch(_TAKE_OFF, number)]

        return await self._postgres.run(forget, repeatable=False)
