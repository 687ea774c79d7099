"""Accounts and logins: register, log in, go on, log out; and what must not work any more afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from protocol.client_messages import LoginData, RegisterData
from protocol.errors import ErrorCode, RequestError
from server.auth import Authentication, Granted
from server.passwords import Passwords
from server.tokens import REFRESH_TOKEN_LIFE, Tokens
from storage.accounts import Accounts
from storage.logins import Logins, RefreshTokenReused
from storage.postgres import Postgres, StoreUnavailable
from tests.server.fakes import FakeClock
from tests.server.gate import Gate

SECRET = "a secret for tests that is long enough"
PASSWORD = "correct horse"


def authentication_on(postgres: Postgres, clock: FakeClock, passwords: Passwords) -> Authentication:
    tokens = Tokens(SECRET, timedelta(hours=1), clock)
    return Authentication(Accounts(postgres), Logins(postgres), passwords, tokens, clock)


@pytest.fixture
async def auth(postgres: Postgres, clock: FakeClock) -> AsyncIterator[Authentication]:
    passwords = Passwords(4)
    yield authentication_on(postgres, clock, passwords)
    passwords.close()


def data(email: str = "ada@example.test", username: str = "Ada", password: str = PASSWORD) -> RegisterData:
    return RegisterData(email=email, username=username, password=password)


async def registered(auth: Authentication, email: str = "ada@example.test") -> Granted:
    return await auth.register_and_log_in(data(email, username=email.partition("@")[0]))


async def refusal(work: Awaitable[object]) -> ErrorCode:
    with pytest.raises(RequestError) as caught:
        await work
    return caught.value.code


# Registering


async def test_players_are_numbered_without_gaps(auth: Authentication) -> None:
    first = await auth.register(data("a@example.test", "a"))
    assert await refusal(auth.register(data("a@example.test", "b"))) is ErrorCode.EMAIL_TAKEN
    second = await auth.register(data("b@example.test", "b"))
    assert (first.number, second.number) == (1, 2)


async def test_email_and_username_are_taken_in_whatever_case(auth: Authentication) -> None:
    await auth.register(data("ada@example.test", "Straße"))
    assert await refusal(auth.register(data("ADA@example.test", "other"))) is ErrorCode.EMAIL_TAKEN
    assert await refusal(auth.register(data("other@example.test", "STRASSE"))) is ErrorCode.USERNAME_TAKEN


async def test_of_two_who_register_the_same_at_once_one_wins(auth: Authentication) -> None:
    outcomes = await asyncio.gather(
        *(auth.register(data("ada@example.test", f"ada {index}")) for index in range(5)), return_exceptions=True
    )
    lost = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(lost) == 4
    assert all(isinstance(error, RequestError) and error.code is ErrorCode.EMAIL_TAKEN for error in lost)
    names = await asyncio.gather(
        *(auth.register(data(f"{index}@example.test", "same")) for index in range(5)), return_exceptions=True
    )
    lost = [outcome for outcome in names if isinstance(outcome, BaseException)]
    assert len(lost) == 4
    assert all(isinstance(error, RequestError) and error.code is ErrorCode.USERNAME_TAKEN for error in lost)


async def test_password_is_kept_as_bcrypt_only(auth: Authentication, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    await auth.register(data())
    kept = await sql.fetchval("SELECT password_hash FROM players")
    assert kept.startswith("$2b$04$")
    assert PASSWORD not in str(await sql.fetchrow("SELECT * FROM players"))


# Logging in


async def test_player_logs_in_with_the_email_in_whatever_case(auth: Authentication) -> None:
    player = await auth.register(data("Ada@example.test"))
    granted = await auth.log_in(LoginData(email="aDA@EXAMPLE.test", password=PASSWORD))
    assert granted.login.player == player
    assert granted.refresh_token is not None


@pytest.mark.parametrize("email", ["jose\u0301@example.test", "ada@xn--bcher-kva.example", "ada@\uff45xample.test"])
async def test_player_logs_in_with_the_email_as_it_was_registered(auth: Authentication, email: str) -> None:
    """It is kept in its normal form, which not every keyboard writes."""
    registered = await auth.register(data(email))
    granted = await auth.log_in(LoginData(email=email, password=PASSWORD))
    assert granted.login.player == registered


async def test_wrong_password_and_unknown_email_are_told_alike(auth: Authentication) -> None:
    await auth.register(data())
    errors = []
    for email, password in (("ada@example.test", "wrong horse"), ("bob@example.test", PASSWORD), ("", ""), ("\0", "x")):
        with pytest.raises(RequestError) as caught:
            await auth.log_in(LoginData(email=email, password=password))
        errors.append((caught.value.code, caught.value.message, caught.value.fields))
    assert len(set(errors)) == 1
    assert errors[0][0] is ErrorCode.INVALID_CREDENTIALS


async def test_each_login_stands_alone(auth: Authentication) -> None:
    await auth.register(data())
    phone, tablet = [await auth.log_in(LoginData(email="ada@example.test", password=PASSWORD)) for _ in range(2)]
    assert phone.login.sid != tablet.login.sid
    await auth.log_out(phone.login)
    assert await refusal(auth.resume(phone.token)) is ErrorCode.TOKEN_REVOKED
    assert (await auth.resume(tablet.token)).sid == tablet.login.sid


# Going on


async def test_token_leads_back_to_its_login(auth: Authentication) -> None:
    granted = await registered(auth)
    assert await auth.resume(granted.token) == granted.login


async def test_expired_token_is_told_apart_from_a_bad_one(auth: Authentication, clock: FakeClock) -> None:
    granted = await registered(auth)
    clock.now = granted.login.expires_at
    assert await refusal(auth.resume(granted.token)) is ErrorCode.TOKEN_EXPIRED
    assert await refusal(auth.resume(granted.token + "x")) is ErrorCode.UNAUTHENTICATED


async def test_token_of_a_login_that_never_was_is_refused(auth: Authentication, clock: FakeClock) -> None:
    token, _ = Tokens(SECRET, timedelta(hours=1), clock).issue(uuid4(), uuid4())
    assert await refusal(auth.resume(token)) is ErrorCode.TOKEN_REVOKED


async def test_bearer_header_identifies_and_no_other_does(auth: Authentication) -> None:
    granted = await registered(auth)
    for form in ("Bearer {}", "bearer {}", "BEARER {}", "Bearer  {} "):
        assert await auth.identify(form.format(granted.token)) == granted.login
    for form in ("", "Bearer", "Bearer ", "Basic {}", "{}", "Token {}", "Bearer{}", "Bearer {0} {0}"):
        assert await refusal(auth.identify(form.format(granted.token))) is ErrorCode.UNAUTHENTICATED


# Refresh tokens


async def test_refresh_token_is_exchanged_for_new_ones_of_the_same_login(
    auth: Authentication, clock: FakeClock
) -> None:
    first = await registered(auth)
    assert first.refresh_token is not None
    clock.advance(minutes=59)
    second = await auth.refresh(first.refresh_token)
    assert second.login.sid == first.login.sid
    assert second.refresh_token not in (None, first.refresh_token)
    assert second.login.expires_at == clock.now + timedelta(hours=1)
    assert (await auth.resume(second.token)).player == first.login.player
    assert (await auth.resume(first.token)).player == first.login.player  # until it expires


async def test_refresh_token_that_was_used_ends_the_login(auth: Authentication) -> None:
    first = await registered(auth)
    assert first.refresh_token is not None
    second = await auth.refresh(first.refresh_token)
    assert second.refresh_token is not None
    with pytest.raises(RefreshTokenReused) as caught:
        await auth.refresh(first.refresh_token)
    assert caught.value.sid == first.login.sid
    for granted in (first, second):
        assert await refusal(auth.resume(granted.token)) is ErrorCode.TOKEN_REVOKED
    assert await refusal(auth.refresh(second.refresh_token)) is ErrorCode.TOKEN_REVOKED


async def test_of_two_who_use_a_refresh_token_at_once_one_gets_new_ones(auth: Authentication) -> None:
    first = await registered(auth)
    assert first.refresh_token is not None
    outcomes = await asyncio.gather(*(auth.refresh(first.refresh_token) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(outcome, Granted) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, RefreshTokenReused) for outcome in outcomes) == 1
    others = [outcome for outcome in outcomes if isinstance(outcome, RequestError)]
    assert [other.code for other in others] == [ErrorCode.TOKEN_REVOKED] * 2


async def test_unknown_refresh_token_is_refused(auth: Authentication) -> None:
    for token in ("", "unknown", "\0", "é" * 100):
        assert await refusal(auth.refresh(token)) is ErrorCode.UNAUTHENTICATED


async def test_access_token_is_no_refresh_token(auth: Authentication) -> None:
    granted = await registered(auth)
    assert granted.refresh_token is not None
    assert await refusal(auth.refresh(granted.token)) is ErrorCode.UNAUTHENTICATED
    assert await refusal(auth.resume(granted.refresh_token)) is ErrorCode.UNAUTHENTICATED


async def test_refresh_token_expires(auth: Authentication, clock: FakeClock) -> None:
    granted = await registered(auth)
    assert granted.refresh_token is not None
    clock.now += REFRESH_TOKEN_LIFE
    assert await refusal(auth.refresh(granted.refresh_token)) is ErrorCode.UNAUTHENTICATED


async def test_refresh_token_is_kept_as_a_hash_only(
    auth: Authentication, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    granted = await registered(auth)
    assert granted.refresh_token is not None
    kept = await sql.fetchval("SELECT token_hash FROM refresh_tokens")
    assert len(kept) == 32
    assert granted.refresh_token.encode() not in kept


# Logging out


async def test_logged_out_is_out_for_good(auth: Authentication) -> None:
    granted = await registered(auth)
    assert granted.refresh_token is not None
    await auth.log_out(granted.login)
    await auth.log_out(granted.login)  # once more changes nothing
    assert await refusal(auth.resume(granted.token)) is ErrorCode.TOKEN_REVOKED
    assert await refusal(auth.refresh(granted.refresh_token)) is ErrorCode.TOKEN_REVOKED


# While PostgreSQL is away


async def test_nothing_is_decided_while_postgresql_is_away(postgres_gate: Gate, clock: FakeClock) -> None:
    passwords = Passwords(4)
    postgres = await Postgres.connect(postgres_gate.url, connections=2)
    auth = authentication_on(postgres, clock, passwords)
    granted = await registered(auth)
    assert granted.refresh_token is not None
    await postgres_gate.shut()
    outcomes = await asyncio.gather(
        auth.register(data("bob@example.test", "Bob")),
        auth.log_in(LoginData(email="ada@example.test", password=PASSWORD)),
        auth.resume(granted.token),
        auth.refresh(granted.refresh_token),
        auth.log_out(granted.login),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 5
    await postgres_gate.open()
    assert (await auth.resume(granted.token)).sid == granted.login.sid
    assert (await auth.refresh(granted.refresh_token)).login.sid == granted.login.sid
    await postgres.close()
    passwords.close()
