"""Logins: a refresh token works once, and a login that has ended never comes back."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID, uuid4

import asyncpg
import pytest

from storage.accounts import Accounts, Player
from storage.logins import (
    LoginRefused,
    LoginRevoked,
    Logins,
    LoginUnknown,
    NewRefreshToken,
    OpenLogin,
    RefreshTokenReused,
    RefreshTokenUnknown,
)
from storage.postgres import Postgres
from tests.storage.playing import NOON, Sql

LIFETIME = timedelta(days=30)
HOUR = timedelta(hours=1)


def token(name: str, at: datetime = NOON) -> NewRefreshToken:
    return NewRefreshToken(hash_of(name), at, at + LIFETIME)


def hash_of(name: str) -> bytes:
    return sha256(name.encode()).digest()


@pytest.fixture
async def player(accounts: Accounts) -> Player:
    return await accounts.register(uuid4(), "ann@example.test", "ann", "-", NOON)


@pytest.fixture
async def sid(logins: Logins, player: Player) -> UUID:
    """A login whose refresh token is "first"."""
    found = uuid4()
    await logins.open(found, player.number, "-", token("first"))
    return found


async def revoked_at(sql: Sql, sid: UUID) -> datetime | None:
    """As another connection sees it: what is seen there is committed."""
    found: datetime | None = await sql.fetchval("SELECT revoked_at FROM logins WHERE sid = $1", sid)
    return found


async def test_open_login_names_its_player(logins: Logins, player: Player, sid: UUID) -> None:
    assert await logins.player_of(sid) == player


async def test_unknown_login_counts_as_revoked(logins: Logins, sid: UUID) -> None:
    with pytest.raises(LoginRevoked):
        await logins.player_of(uuid4())


async def test_player_may_have_several_logins(logins: Logins, player: Player, sid: UUID) -> None:
    other = uuid4()
    await logins.open(other, player.number, "-", token("of the other"))
    await logins.revoke(sid, NOON)
    assert await logins.player_of(other) == player
    assert (await logins.rotate(hash_of("of the other"), token("next", NOON + HOUR)))[0] == other


async def test_login_of_nobody_is_not_opened(logins: Logins, sql: Sql) -> None:
    with pytest.raises(LoginRefused):
        await logins.open(uuid4(), 1, "-", token("first"))
    assert await sql.fetchval("SELECT count(*) FROM logins") == 0


async def test_login_without_its_token_is_not_opened(logins: Logins, player: Player, sid: UUID, sql: Sql) -> None:
    other = uuid4()
    with pytest.raises(asyncpg.UniqueViolationError):
        await logins.open(other, player.number, "-", token("first"))
    assert await sql.fetchval("SELECT count(*) FROM logins WHERE sid = $1", other) == 0


async def test_revoked_login_is_over_for_good(logins: Logins, sid: UUID, sql: Sql) -> None:
    await logins.revoke(sid, NOON + HOUR)
    assert await revoked_at(sql, sid) == NOON + HOUR
    with pytest.raises(LoginRevoked):
        await logins.player_of(sid)
    with pytest.raises(LoginRevoked):
        await logins.rotate(hash_of("first"), token("second", NOON + HOUR))


async def test_revoking_again_changes_nothing(logins: Logins, sid: UUID, sql: Sql) -> None:
    await logins.revoke(sid, NOON)
    await logins.revoke(sid, NOON + HOUR)
    assert await revoked_at(sql, sid) == NOON


async def test_revoking_an_unknown_login_does_nothing(logins: Logins, player: Player, sid: UUID) -> None:
    await logins.revoke(uuid4(), NOON)
    assert await logins.player_of(sid) == player


async def test_refresh_token_is_exchanged_for_a_new_one(logins: Logins, player: Player, sid: UUID, sql: Sql) -> None:
    at = NOON
    for used, new in (("first", "second"), ("second", "third"), ("third", "fourth")):
        at += HOUR
        assert await logins.rotate(hash_of(used), token(new, at)) == (sid, player)
        assert await sql.fetchval("SELECT used_at FROM refresh_tokens WHERE token_hash = $1", hash_of(used)) == at
    assert await logins.player_of(sid) == player


async def test_unknown_refresh_token_is_refused(logins: Logins, player: Player, sid: UUID) -> None:
    with pytest.raises(RefreshTokenUnknown):
        await logins.rotate(hash_of("guessed"), token("second"))
    assert await logins.player_of(sid) == player


async def test_used_refresh_token_revokes_the_login_durably(logins: Logins, sid: UUID, sql: Sql) -> None:
    await logins.rotate(hash_of("first"), token("second", NOON + HOUR))
    with pytest.raises(RefreshTokenReused) as caught:
        await logins.rotate(hash_of("first"), token("of the thief", NOON + 2 * HOUR))
    assert caught.value.sid == sid
    assert await revoked_at(sql, sid) == NOON + 2 * HOUR
    with pytest.raises(LoginRevoked):
        await logins.player_of(sid)
    # Neither the thief's token nor the owner's works now.
    with pytest.raises(RefreshTokenUnknown):
        await logins.rotate(hash_of("of the thief"), token("third", NOON + 3 * HOUR))
    with pytest.raises(LoginRevoked):
        await logins.rotate(hash_of("second"), token("third", NOON + 3 * HOUR))


async def test_reuse_leaves_other_logins_alone(logins: Logins, player: Player, sid: UUID) -> None:
    other = uuid4()
    await logins.open(other, player.number, "-", token("of the other"))
    await logins.rotate(hash_of("first"), token("second"))
    with pytest.raises(RefreshTokenReused):
        await logins.rotate(hash_of("first"), token("third"))
    assert await logins.player_of(other) == player


async def test_refresh_token_works_until_just_before_its_end(logins: Logins, sid: UUID) -> None:
    end = NOON + LIFETIME
    with pytest.raises(RefreshTokenUnknown):
        await logins.rotate(hash_of("first"), token("second", end))
    assert (await logins.rotate(hash_of("first"), token("second", end - timedelta(milliseconds=1))))[0] == sid


async def test_expired_refresh_token_is_unknown_also_when_it_was_used(
    logins: Logins, player: Player, sid: UUID, sql: Sql
) -> None:
    await logins.rotate(hash_of("first"), token("second", NOON + HOUR))
    with pytest.raises(RefreshTokenUnknown):
        await logins.rotate(hash_of("first"), token("third", NOON + LIFETIME))
    assert await logins.player_of(sid) == player


async def test_failed_exchange_does_not_use_the_token_up(logins: Logins, player: Player, sid: UUID) -> None:
    with pytest.raises(asyncpg.UniqueViolationError):
        await logins.rotate(hash_of("first"), token("first", NOON + HOUR))
    assert await logins.rotate(hash_of("first"), token("second", NOON + HOUR)) == (sid, player)


async def test_of_two_who_exchange_one_token_at_once_one_wins_and_the_login_ends(
    logins: Logins, player: Player, sql: Sql
) -> None:
    for attempt in range(10):
        sid = uuid4()
        await logins.open(sid, player.number, "-", token(f"first {attempt}"))
        outcomes = await asyncio.gather(
            *(logins.rotate(hash_of(f"first {attempt}"), token(f"{attempt} {who}", NOON + HOUR)) for who in range(4)),
            return_exceptions=True,
        )
        assert [outcome for outcome in outcomes if not isinstance(outcome, Exception)] == [(sid, player)]
        errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        # The second one revokes the login, and whoever comes later finds it revoked.
        assert sorted(type(error).__name__ for error in errors) == [
            "LoginRevoked",
            "LoginRevoked",
            "RefreshTokenReused",
        ]
        assert await revoked_at(sql, sid) == NOON + HOUR
        kept = "SELECT count(*) FROM refresh_tokens WHERE sid = $1 AND used_at IS NULL"
        assert await sql.fetchval(kept, sid) == 1


async def test_login_stays_revoked_when_its_token_is_exchanged_at_the_same_moment(
    logins: Logins, player: Player, sql: Sql
) -> None:
    for attempt in range(10):
        sid = uuid4()
        await logins.open(sid, player.number, "-", token(f"first {attempt}"))
        exchanged, _ = await asyncio.gather(
            logins.rotate(hash_of(f"first {attempt}"), token(f"second {attempt}", NOON + HOUR)),
            logins.revoke(sid, NOON + HOUR),
            return_exceptions=True,
        )
        assert exchanged == (sid, player) or isinstance(exchanged, LoginRevoked)
        assert await revoked_at(sql, sid) == NOON + HOUR
        with pytest.raises(LoginRevoked):
            await logins.player_of(sid)
        with pytest.raises(LoginRevoked if isinstance(exchanged, tuple) else RefreshTokenUnknown):
            await logins.rotate(hash_of(f"second {attempt}"), token(f"third {attempt}", NOON + 2 * HOUR))


async def test_refresh_tokens_themselves_are_not_kept(postgres: Postgres, sid: UUID) -> None:
    rows = await postgres.fetch("SELECT token_hash FROM refresh_tokens")
    assert [row["token_hash"] for row in rows] == [hash_of("first")]


# What a player sees of the own logins


async def test_logins_are_listed_newest_first_with_when_they_were_used(
    logins: Logins, player: Player, sid: UUID
) -> None:
    later = uuid4()
    await logins.open(later, player.number, "-", token("of the later", NOON + HOUR))
    await logins.rotate(hash_of("first"), token("second", NOON + 2 * HOUR))
    assert await logins.open_logins(player.number, NOON + 3 * HOUR) == [
        OpenLogin(later, NOON + HOUR, NOON + HOUR),
        OpenLogin(sid, NOON, NOON + 2 * HOUR),
    ]
    await logins.revoke(later, NOON)
    # One whose last refresh token has expired cannot be used any more, either.
    assert [one.sid for one in await logins.open_logins(player.number, NOON + LIFETIME)] == [sid]
    assert await logins.open_logins(player.number, NOON + LIFETIME + 2 * HOUR) == []
    assert await logins.open_logins(player.number + 1, NOON) == []


async def test_only_own_logins_can_be_ended(logins: Logins, accounts: Accounts, player: Player, sid: UUID) -> None:
    stranger = await accounts.register(uuid4(), "bob@example.test", "bob", "-", NOON)
    for login, number in ((sid, stranger.number), (uuid4(), player.number)):
        with pytest.raises(LoginUnknown):
            await logins.revoke_own(login, number, NOON)
    assert await logins.player_of(sid) == player
    for _ in range(2):
        await logins.revoke_own(sid, player.number, NOON + HOUR)
    with pytest.raises(LoginRevoked):
        await logins.player_of(sid)


async def test_ended_logins_are_found_by_when_they_ended(logins: Logins, player: Player, sid: UUID) -> None:
    later = uuid4()
    await logins.open(later, player.number, "-", token("of the later"))
    assert await logins.revoked_since(NOON) == []
    await logins.revoke_own(sid, player.number, NOON)
    await logins.revoke(later, NOON + HOUR)
    assert sorted(await logins.revoked_since(NOON)) == sorted([sid, later])
    assert await logins.revoked_since(NOON + HOUR) == [later]


async def test_login_with_a_password_that_was_changed_is_refused(logins: Logins, player: Player) -> None:
    with pytest.raises(LoginRefused):
        await logins.open(uuid4(), player.number, "an older hash", token("first"))
