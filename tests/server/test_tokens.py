"""Access tokens: only ours, only whole, only until they expire."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest

from protocol.errors import ErrorCode, RequestError
from server.tokens import Claims, Tokens, hash_refresh_token, new_refresh_token
from tests.server.fakes import FakeClock

# Long enough for each HMAC, so that no library warns of it.
SECRET = "our secret, which is as long as the longest of the digests needs it to be"
PLAYER, SID = uuid4(), uuid4()
LIFE = timedelta(hours=1)


@pytest.fixture
def tokens(clock: FakeClock) -> Tokens:
    return Tokens(SECRET, LIFE, clock)


def refusal(tokens: Tokens, token: str) -> ErrorCode:
    with pytest.raises(RequestError) as caught:
        tokens.read(token)
    return caught.value.code


def claims(clock: FakeClock, **other: Any) -> dict[str, Any]:
    now = int(clock.now.timestamp())
    return {"iss": "braingame", "sub": str(PLAYER), "sid": str(SID), "iat": now, "exp": now + 3600, **other}


def test_token_says_what_it_was_issued_for(tokens: Tokens, clock: FakeClock) -> None:
    token, expires_at = tokens.issue(PLAYER, SID)
    assert expires_at == clock.now + LIFE
    assert tokens.read(token) == Claims(PLAYER, SID, expires_at)


def test_token_has_the_claims_of_the_contract(tokens: Tokens, clock: FakeClock) -> None:
    token, _ = tokens.issue(PLAYER, SID)
    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    assert jwt.decode(token, options={"verify_signature": False}) == claims(clock)


def test_token_holds_whole_seconds(clock: FakeClock) -> None:
    clock.advance(milliseconds=999)
    tokens = Tokens(SECRET, LIFE, clock)
    token, expires_at = tokens.issue(PLAYER, SID)
    assert expires_at.microsecond == 0
    assert tokens.read(token).expires_at == expires_at


def test_token_expires_exactly_at_exp(tokens: Tokens, clock: FakeClock) -> None:
    token, expires_at = tokens.issue(PLAYER, SID)
    clock.now = expires_at - timedelta(milliseconds=1)
    assert tokens.read(token).sid == SID
    clock.now = expires_at
    assert refusal(tokens, token) is ErrorCode.TOKEN_EXPIRED


def test_expired_token_of_another_server_is_no_token_at_all(tokens: Tokens, clock: FakeClock) -> None:
    token = jwt.encode(claims(clock, exp=1), "another secret" * 6, algorithm="HS256")
    assert refusal(tokens, token) is ErrorCode.UNAUTHENTICATED


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_other_algorithm_is_refused_even_with_our_secret(tokens: Tokens, clock: FakeClock, algorithm: str) -> None:
    assert refusal(tokens, jwt.encode(claims(clock), SECRET, algorithm=algorithm)) is ErrorCode.UNAUTHENTICATED


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE"])
def test_unsigned_token_is_refused(tokens: Tokens, clock: FakeClock, name: str) -> None:
    head, body = part({"alg": name, "typ": "JWT"}), part(claims(clock))
    signature = tokens.issue(PLAYER, SID)[0].rpartition(".")[2]
    for token in (f"{head}.{body}.", f"{head}.{body}", f"{head}.{body}.{signature}"):
        assert refusal(tokens, token) is ErrorCode.UNAUTHENTICATED


def test_token_of_another_secret_is_refused(tokens: Tokens, clock: FakeClock) -> None:
    token = jwt.encode(claims(clock), SECRET + "!", algorithm="HS256")
    assert refusal(tokens, token) is ErrorCode.UNAUTHENTICATED


@pytest.mark.parametrize("missing", ["iss", "sub", "sid", "iat", "exp"])
def test_token_without_a_claim_is_refused(tokens: Tokens, clock: FakeClock, missing: str) -> None:
    said = claims(clock)
    del said[missing]
    assert refusal(tokens, jwt.encode(said, SECRET, algorithm="HS256")) is ErrorCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "somebody else"},
        {"sub": "not a uuid"},
        {"sid": "not a uuid"},
        {"sid": 7},
        {"sid": None},
        {"exp": "soon"},
        {"exp": None},
        {"exp": [1]},
        {"exp": 10**30},
        {"exp": -(10**30)},
    ],
)
def test_token_with_a_claim_of_another_kind_is_refused(tokens: Tokens, clock: FakeClock, wrong: dict[str, Any]) -> None:
    token = jwt.encode(claims(clock, **wrong), SECRET, algorithm="HS256")
    assert refusal(tokens, token) is ErrorCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        " ",
        ".",
        "..",
        "a.b.c",
        "Bearer",
        "é.ü.ñ",
        "\0",
        "x" * 4096,
        f"{part({'alg': 'HS256'})}.{part([1, 2])}.AAAA",
        f"{part([])}.{part({})}.AAAA",
        "null.null.null",
    ],
)
def test_garbage_is_refused(tokens: Tokens, garbage: str) -> None:
    assert refusal(tokens, garbage) is ErrorCode.UNAUTHENTICATED


def test_token_with_one_character_changed_is_refused(tokens: Tokens) -> None:
    token, _ = tokens.issue(PLAYER, SID)
    for index in range(0, len(token), 7):
        other = "A" if token[index] != "A" else "B"
        changed = token[:index] + other + token[index + 1 :]
        # The last character of base64 may carry bits that nobody reads.
        if index < len(token) - 1:
            assert refusal(tokens, changed) is ErrorCode.UNAUTHENTICATED


def test_refusal_does_not_repeat_the_token(tokens: Tokens) -> None:
    with pytest.raises(RequestError) as caught:
        tokens.read("secret-looking.thing.here")
    assert "secret-looking" not in str(caught.value)


def test_refresh_tokens_are_long_and_never_the_same() -> None:
    drawn = {new_refresh_token() for _ in range(1000)}
    assert len(drawn) == 1000
    assert min(map(len, drawn)) >= 43  # 32 bytes in base64


def test_refresh_token_is_kept_as_a_hash_that_does_not_hold_it() -> None:
    token = new_refresh_token()
    assert hash_refresh_token(token) == hash_refresh_token(token)
    assert len(hash_refresh_token(token)) == 32
    assert token.encode() not in hash_refresh_token(token)
    assert hash_refresh_token(token) != hash_refresh_token(token + "x")


def test_player_and_login_are_uuids(tokens: Tokens) -> None:
    read = tokens.read(tokens.issue(PLAYER, SID)[0])
    assert isinstance(read.player_id, UUID)
    assert isinstance(read.sid, UUID)


# Another secret takes the place of one


OLD, NEW = "the secret that was there before, long", "the secret that is there by now, long"


def test_tokens_of_the_previous_secret_go_on_and_new_ones_are_of_the_new(clock: FakeClock) -> None:
    old, _ = Tokens(OLD, LIFE, clock).issue(PLAYER, SID)
    rotated = Tokens(NEW, LIFE, clock, OLD)
    assert rotated.read(old).sid == SID
    new, _ = rotated.issue(PLAYER, SID)
    assert Tokens(NEW, LIFE, clock).read(new).sid == SID
    with pytest.raises(RequestError):
        Tokens(OLD, LIFE, clock).read(new)


def test_nodes_may_be_rotated_one_after_the_other(clock: FakeClock) -> None:
    # Before any node signs by the new secret, all of them take it.
    first, second = Tokens(OLD, LIFE, clock, NEW), Tokens(NEW, LIFE, clock, OLD)
    for ours, theirs in ((first, second), (second, first)):
        assert ours.read(theirs.issue(PLAYER, SID)[0]).sid == SID


def test_previous_secret_that_is_dropped_is_refused(clock: FakeClock) -> None:
    old, _ = Tokens(OLD, LIFE, clock).issue(PLAYER, SID)
    with pytest.raises(RequestError) as caught:
        Tokens(NEW, LIFE, clock).read(old)
    assert caught.value.code is ErrorCode.UNAUTHENTICATED


def test_expired_token_of_the_previous_secret_has_expired(clock: FakeClock) -> None:
    old, _ = Tokens(OLD, LIFE, clock).issue(PLAYER, SID)
    clock.advance(hours=2)
    with pytest.raises(RequestError) as caught:
        Tokens(NEW, LIFE, clock, OLD).read(old)
    assert caught.value.code is ErrorCode.TOKEN_EXPIRED
