"""The rules for what an account is made of, for keys, numbers and times."""

from __future__ import annotations

import re
import time
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from protocol.fields import (
    MAX_SCORE,
    Difficulty,
    Email,
    Key,
    Password,
    RequestId,
    Score,
    Timestamp,
    Username,
    Wire,
    is_none,
)

thorough = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])

EMAIL: TypeAdapter[str] = TypeAdapter(Email)
USERNAME: TypeAdapter[str] = TypeAdapter(Username)
PASSWORD: TypeAdapter[str] = TypeAdapter(Password)
KEY: TypeAdapter[str] = TypeAdapter(Key)
SCORE: TypeAdapter[int] = TypeAdapter(Score)
DIFFICULTY: TypeAdapter[int] = TypeAdapter(Difficulty)
REQUEST_ID: TypeAdapter[str | int] = TypeAdapter(RequestId)
TIMESTAMP: TypeAdapter[datetime] = TypeAdapter(Timestamp)


def accepted(rule: TypeAdapter[Any], value: object) -> Any:
    """What becomes of a value as a message's field."""
    return rule.validate_python(value, strict=True)


def refusal(rule: TypeAdapter[Any], value: object) -> str:
    """Why the value is refused."""
    with pytest.raises(ValidationError) as caught:
        accepted(rule, value)
    return str(caught.value.errors()[0]["msg"])


def is_accepted(rule: TypeAdapter[Any], value: object) -> bool:
    try:
        accepted(rule, value)
    except ValidationError:
        return False
    return True


# Emails


@pytest.mark.parametrize(
    "email",
    [
        "ada@example.com",
        "ada+games@example.com",
        "ada.lovelace@mail.example.co.uk",
        "ada_l-1@example.com",
        "o'hara@example.com",
        "1@example.com",
        "ada@example.test",
        "ada@mail.example.test",
        "ada@office.local",
        "ada@printer.office.local",
        "ada@example.invalid",
        "ada@bücher.example.com",
        "ада@пример.рф",
        "用户@例え.jp",
        "zoë@example.com",
    ],
)
def test_player_registers_with_a_valid_email(email: str) -> None:
    assert accepted(EMAIL, email) == email


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Ada@Example.COM", "Ada@example.com"),  # what is left of the @ is the business of who is right of it
        ("ada@xn--bcher-kva.example.com", "ada@bücher.example.com"),
        ("ada@ｅxample.com", "ada@example.com"),
        ("zoe\u0308@example.com", "zoë@example.com"),
    ],
)
def test_email_is_kept_in_one_spelling(typed: str, kept: str) -> None:
    assert accepted(EMAIL, typed) == kept


@pytest.mark.parametrize(
    "email",
    [
        *("", " ", "@", "ada", "ada@", "@example.com", "ada@@example.com", "ada@b@example.com", "ada.example.com"),
        *("ada@example", "ada@localhost", "ada@local", "ada@test"),
        *("ada@example..com", "ada@.example.com", "ada@example.com.", "ada@-example.com", "ada@exa_mple.com"),
        *(".ada@example.com", "ada.@example.com", "a..da@example.com", "a da@example.com", "ada@exa mple.com"),
        *(" ada@example.com", "ada@example.com ", "ada@example.com\n", "\tada@example.com"),
        *(
            "Ada <ada@example.com>",
            '"a da"@example.com',
            "ada(x)@example.com",
            "ada@[127.0.0.1]",
            "mailto:a@b.co,c@d.co",
        ),
        *("ada\0@example.com", "ada@example.com\0", "ada\r\nBcc: bob@example.com", "ada\x7f@example.com"),
        *("\u202eada@example.com", "ada\u200b@example.com", "ada@example\u200b.com", "ada\u00a0@example.com"),
        "ada@" + "x" * 64 + ".com",
    ],
)
def test_player_is_refused_with_an_invalid_email(email: str) -> None:
    assert refusal(EMAIL, email) in ("this is not an email address", "the domain of the address is not complete")


def email_of_length(length: int) -> str:
    domain = ".".join(["x" * 60] * 3) + ".test"
    local = "a" * (length - len(domain) - 1)
    return f"{local}@{domain}"


def test_email_of_254_characters_is_the_longest() -> None:
    longest = email_of_length(254)
    assert len(longest) == 254
    assert accepted(EMAIL, longest) == longest
    assert refusal(EMAIL, email_of_length(255)) == "at most 254 characters"
    assert refusal(EMAIL, "a" * 60_000 + "@example.test") == "at most 254 characters"


@thorough
@given(st.emails() | st.from_regex(r"[\w+.ßÅ①-]{1,20}@[\wßÅ①-]{1,20}\.[a-z]{1,5}", fullmatch=True))
def test_kept_email_is_short_enough_and_is_kept_as_it_is_when_sent_again(email: str) -> None:
    if is_accepted(EMAIL, email):
        kept = accepted(EMAIL, email)
        assert len(kept) <= 254
        assert accepted(EMAIL, kept) == kept


@thorough
@given(st.text())
def test_any_text_as_an_email_is_taken_or_refused(text: str) -> None:
    assert not is_accepted(EMAIL, text) or "@" in text


# Usernames


@pytest.mark.parametrize(
    "name",
    [
        *("A", "Ada", "Ada Lovelace", "x" * 32, "Ada#1", "<b>Ada</b>", "'; DROP TABLE players; --", "null", "0"),
        *("Zoë", "Ада", "艾达", "エイダ", "愛達", "ᚨᛞᚨ"),
        *("שלום", "محمد", "שלום Ada", "عليّ", "نیم\u200cفاصله"),  # right-to-left, and joined as it is written
        *("😀", "😀" * 32, "👩\u200d👩\u200d👧\u200d👦", "🏳️\u200d🌈", "👍🏽", "🇸🇪", "❤️"),
        "क्\u200dष",
    ],
)
def test_player_takes_any_name_that_can_be_printed(name: str) -> None:
    assert accepted(USERNAME, name) == name


@pytest.mark.parametrize("emoji", ["\U0001fae8", "\U0001f6dc", "\U0001fae9"])  # of Unicode 15.0, 15.0 and 16.0
def test_player_takes_an_emoji_that_is_younger_than_this_python(emoji: str) -> None:
    # An unassigned code point is no control character, and phones know new emoji before servers do.
    assert accepted(USERNAME, f"Ada {emoji}") == f"Ada {emoji}"


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("  Ada  ", "Ada"),
        ("\tAda\r\n", "Ada"),
        ("\u00a0Ada\u3000", "Ada"),
        ("Ada  Lovelace", "Ada  Lovelace"),
        ("Ａｄａ", "Ada"),
        ("𝕬𝖉𝖆", "Ada"),
        ("Ada①", "Ada1"),
        ("Zoe\u0308", "Zo\u00eb"),
        ("e\ufb03cient", "efficient"),
        ("Å", "Å"),  # the sign of the unit is the letter
        ("ﷺ", "صلى الله عليه وسلم"),
    ],
)
def test_name_is_trimmed_and_kept_in_nfkc(typed: str, kept: str) -> None:
    assert accepted(USERNAME, typed) == kept


@pytest.mark.parametrize("name", ["", " ", "\t\n", "\u00a0", "\u3000 \u2003", "\u2028"])
def test_name_of_nothing_is_refused(name: str) -> None:
    assert refusal(USERNAME, name) == "1 to 32 characters"


@pytest.mark.parametrize("name", ["x" * 33, "😀" * 33, "ﬃ" * 11, "ﷺ" * 2, "x" * 60_000])
def test_name_of_more_than_32_characters_in_nfkc_is_refused(name: str) -> None:
    assert refusal(USERNAME, name) == "1 to 32 characters"


@pytest.mark.parametrize(
    ("typed", "characters"),
    [
        ("x" * 32, 32),
        (" " * 5_000 + "x" * 32 + "\n" * 5_000, 32),
        ("e\u0301" * 32, 32),  # 64 characters as typed
        ("ﬃ" * 10 + "xx", 32),  # 12 characters as typed
    ],
)
def test_32_characters_are_counted_after_trimming_and_nfkc(typed: str, characters: int) -> None:
    assert len(accepted(USERNAME, typed)) == characters


def test_long_name_is_refused_before_work_that_grows_with_its_square() -> None:
    # Marks in the wrong order are sorted one by one by NFKC: 64 KiB of them hold the event loop for seconds.
    # One frame of an unauthenticated client is enough, so the length is to be bounded first.
    name = "a" + "\u0301" * 5_000 + "\u0316" * 5_000

    def seconds() -> float:
        begun = time.thread_time()  # a busy machine takes none of it
        assert not is_accepted(USERNAME, name)
        return time.thread_time() - begun

    assert min(seconds() for _ in range(2)) < 0.05


@pytest.mark.parametrize(
    "character",
    [
        *("\0", "\x01", "\x07", "\b", "\t", "\n", "\r", "\x1b", "\x1f", "\x7f", "\x80", "\x85", "\x9f"),
        *("\u2028", "\u2029"),
        *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
        *("\ufdd0", "\ufffe", "\uffff", "\U0010ffff"),
    ],
    ids=ascii,
)
def test_name_with_a_control_character_or_a_turn_of_direction_is_refused(character: str) -> None:
    assert refusal(USERNAME, f"Ada{character}Bob") == "no control characters"


@pytest.mark.parametrize("character", "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069", ids=ascii)
def test_turn_of_direction_is_refused_at_either_end_of_a_name(character: str) -> None:
    assert not is_accepted(USERNAME, f"{character}Ada")
    assert not is_accepted(USERNAME, f"Ada{character}")
    assert not is_accepted(USERNAME, character)


def test_name_with_half_a_surrogate_pair_is_refused() -> None:
    assert not is_accepted(USERNAME, "Ada\ud800")


@thorough
@given(st.text(max_size=40) | st.text("aé\u0301\u0316 \u00a8ﬃÅ\u200d😀", max_size=40))
@example("\u00a8")
def test_kept_name_is_short_printable_and_is_kept_as_it_is_when_sent_again(typed: str) -> None:
    if not is_accepted(USERNAME, typed):
        return
    kept = accepted(USERNAME, typed)
    assert 1 <= len(kept) <= 32
    assert kept == kept.strip()
    assert unicodedata.is_normalized("NFKC", kept)
    assert not any(unicodedata.category(character) == "Cc" for character in kept)
    assert accepted(USERNAME, kept) == kept


@thorough
@given(
    st.text(
        st.characters(categories=["L", "N", "P", "S"], max_codepoint=0x3000, exclude_characters="\u115f\u1160"),
        min_size=1,
        max_size=32,
    )
)
def test_name_of_letters_digits_and_signs_is_refused_only_for_its_length(typed: str) -> None:
    name = unicodedata.normalize("NFKC", typed).strip()
    # A sign such as the cedilla may leave nothing but its mark.
    to_be_seen = any(unicodedata.category(character)[0] in "LNPS" for character in name)
    assert is_accepted(USERNAME, typed) == (1 <= len(name) <= 32 and to_be_seen)


# Passwords


@pytest.mark.parametrize(
    "password",
    [
        *("12345678", " " * 8, "        x", "pass\tword\n", "\x01" * 8, "x" * 72),
        *("é" * 8, "é" * 36, "😀" * 8, "😀" * 18, "x" * 70 + "é", "Ａｄａ Ｂｏｂｂ", "e\u0301" * 4),
    ],
)
def test_password_of_8_characters_to_72_bytes_is_taken_untouched(password: str) -> None:
    assert accepted(PASSWORD, password) == password


@pytest.mark.parametrize("password", ["", "1234567", "é" * 7, "😀" * 7])
def test_password_of_fewer_than_8_characters_is_refused(password: str) -> None:
    assert refusal(PASSWORD, password) == "at least 8 characters"


@pytest.mark.parametrize("password", ["x" * 73, "é" * 36 + "x", "😀" * 18 + "x", "x" * 71 + "é", "x" * 60_000])
def test_password_of_more_than_72_bytes_is_refused_and_never_cut(password: str) -> None:
    assert refusal(PASSWORD, password) == "at most 72 bytes in UTF-8"


@pytest.mark.parametrize("password", ["\0" * 8, "1234567\0", "\x0012345678", "1234\x005678"])
def test_password_with_nul_is_refused_because_bcrypt_would_stop_there(password: str) -> None:
    assert refusal(PASSWORD, password) == "no NUL character"


@thorough
@given(st.text(max_size=90))
def test_password_is_taken_exactly_when_it_is_long_enough_and_fits_bcrypt(password: str) -> None:
    fits = len(password) >= 8 and len(password.encode()) <= 72 and "\0" not in password
    assert is_accepted(PASSWORD, password) is fits
    assert not fits or accepted(PASSWORD, password) == password


@pytest.mark.parametrize("rule", [EMAIL, USERNAME, PASSWORD, KEY], ids=["email", "username", "password", "key"])
def test_reason_for_a_refusal_does_not_repeat_the_value(rule: TypeAdapter[Any]) -> None:
    secret = "hunter2 " * 20 + "\x01"
    assert "hunter2" not in refusal(rule, secret)


# Keys, numbers and ids


@pytest.mark.parametrize(
    "key", ["12345678", "x" * 64, "7f1c2c9e-5d0b-4f27-9d3e-0b9f3d0c2a11", "a b c d e", "é" * 8, "😀" * 8, "ключ-123"]
)
def test_key_of_8_to_64_printable_characters_is_taken(key: str) -> None:
    assert accepted(KEY, key) == key


@pytest.mark.parametrize(
    "key",
    ["", "1234567", "x" * 65, "1234567\0", "12345678\n", "\x1f12345678", "\x7f" * 8, "1234567\u202e8", "\ud800" * 8],
)
def test_key_of_another_length_or_with_control_characters_is_refused(key: str) -> None:
    assert not is_accepted(KEY, key)


@thorough
@given(st.text(max_size=70))
def test_kept_key_is_the_key_that_was_sent_and_holds_no_control_character(key: str) -> None:
    if is_accepted(KEY, key):
        assert accepted(KEY, key) == key
        assert 8 <= len(key) <= 64
        assert not any(unicodedata.category(character) == "Cc" for character in key)


@thorough
@given(st.integers(-(2**70), 2**70) | st.sampled_from([-1, 0, 2**63 - 1, 2**63]))
def test_score_is_an_integer_from_0_that_the_table_can_hold(score: int) -> None:
    assert is_accepted(SCORE, score) is (0 <= score < 2**63)


def test_largest_score_is_that_of_postgresql() -> None:
    assert MAX_SCORE == 2**63 - 1


@pytest.mark.parametrize("difficulty", range(-2, 13))
def test_difficulty_is_0_to_9(difficulty: int) -> None:
    assert is_accepted(DIFFICULTY, difficulty) is (0 <= difficulty <= 9)


@pytest.mark.parametrize("value", ["5", 5.0, True, False, None, [5], {"value": 5}, b"5"])
def test_nothing_is_converted_to_an_integer(value: object) -> None:
    assert not is_accepted(SCORE, value)
    assert not is_accepted(DIFFICULTY, value)


@pytest.mark.parametrize("value", [5, 5.5, True, None, ["12345678"], {}, b"12345678"])
@pytest.mark.parametrize("rule", [EMAIL, USERNAME, PASSWORD, KEY], ids=["email", "username", "password", "key"])
def test_nothing_is_converted_to_a_text(rule: TypeAdapter[Any], value: object) -> None:
    assert not is_accepted(rule, value)


@pytest.mark.parametrize(
    "value", ["x", "x" * 64, "😀" * 64, "\0", "\u202e", " ", "7", 0, -1, 7, 2**53 + 1, 2**64, -(10**40)]
)
def test_id_of_a_request_is_kept_verbatim(value: str | int) -> None:
    kept = accepted(REQUEST_ID, value)
    assert kept == value
    assert type(kept) is type(value)


@pytest.mark.parametrize("value", ["", "x" * 65, "😀" * 65, 1.0, 1.5, True, False, None, [], {}, b"x"])
def test_id_of_another_kind_is_refused(value: object) -> None:
    assert not is_accepted(REQUEST_ID, value)


# Times


def written(at: datetime) -> str:
    return TIMESTAMP.dump_json(at).decode().strip('"')


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2026, 11, 23, 13, 20, 46, 123000, tzinfo=UTC), "2026-11-23T13:20:46.123Z"),
        (datetime(2026, 11, 23, 13, 20, 46, 0, tzinfo=UTC), "2026-11-23T13:20:46.000Z"),
        (datetime(2026, 11, 23, 13, 20, 46, 7000, tzinfo=UTC), "2026-11-23T13:20:46.007Z"),
        (datetime(2026, 11, 23, 13, 20, 46, 999999, tzinfo=UTC), "2026-11-23T13:20:46.999Z"),  # cut, never rounded up
        (datetime(2026, 11, 23, 0, 30, tzinfo=timezone(timedelta(hours=2))), "2026-11-22T22:30:00.000Z"),
        (datetime(2026, 12, 31, 20, 0, tzinfo=timezone(timedelta(hours=-5))), "2027-01-01T01:00:00.000Z"),
        (datetime(2028, 2, 29, tzinfo=UTC), "2028-02-29T00:00:00.000Z"),
        (datetime(1970, 1, 1, tzinfo=UTC), "1970-01-01T00:00:00.000Z"),
    ],
)
def test_time_is_rfc_3339_utc_with_milliseconds(at: datetime, text: str) -> None:
    assert written(at) == text


@thorough
@given(
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC)),
    st.integers(-23 * 60, 23 * 60),
)
def test_every_time_is_written_alike_and_read_back(at: datetime, minutes: int) -> None:
    text = written(at.astimezone(timezone(timedelta(minutes=minutes))))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    read = TIMESTAMP.validate_json(f'"{text}"', strict=True)
    assert read == at.replace(microsecond=at.microsecond // 1000 * 1000)


# The base of all messages


class Probe(Wire):
    """A message of two fields."""

    long_name: int
    other: str | None = None


def test_message_is_camel_case_on_the_wire() -> None:
    assert Probe(long_name=1).model_dump(mode="json") == {"longName": 1, "other": None}
    assert Probe.model_validate_json('{"longName": 1}') == Probe(long_name=1)


def test_message_refuses_fields_it_does_not_know() -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Probe.model_validate_json('{"longName": 1, "stranger": 2}')


def test_message_cannot_be_changed() -> None:
    message = Probe(long_name=1)
    with pytest.raises(ValidationError, match="frozen"):
        message.long_name = 2  # type: ignore[misc]


@pytest.mark.parametrize(("value", "left_out"), [(None, True), (0, False), ("", False), (False, False), ([], False)])
def test_only_none_is_left_out(value: object, left_out: bool) -> None:
    assert is_none(value) is left_out


@pytest.mark.parametrize(
    "code",
    [
        *(0x34F, 0x61C, 0x115F, 0x17B4, 0x180B, 0x200E, 0x202A, 0x2065, 0x206F, 0x2800, 0x3164, 0xFE00, 0xFEFF, 0xFFA0),
        *(0xFFF9, 0x1BCA0, 0x1D173, 0xE0020, 0xE0100),
    ],
)
def test_name_that_looks_like_another_by_what_nobody_sees_is_refused(code: int) -> None:
    for name in (f"Ada{chr(code)}", f"A{chr(code)}da", chr(code)):
        with pytest.raises(ValidationError):
            USERNAME.validate_python(name)


@pytest.mark.parametrize("name", ["\u200b", "Ada\u200b", "A\u00adda", "\ufeffAda", "\u3164", "\u0301", "\u200d"])
def test_name_that_looks_like_another_or_like_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        USERNAME.validate_python(name)
