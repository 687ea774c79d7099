"""Field types that messages of both directions share, with the rules of the contract for each."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final

import email_validator
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from game.session import MAX_DIFFICULTY

# The library's documented way to accept names such as player@example.test or @office.local: whether mail arrives there
# is not what an account hangs on.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

MAX_EMAIL_CHARACTERS: Final = 254
MAX_USERNAME_CHARACTERS: Final = 32
#: How many rows a subscriber may follow.
FOLLOWED_LIMITS: Final = (10, 25, 50, 100)
MIN_PASSWORD_CHARACTERS: Final = 8
#: bcrypt reads no more than this; a longer password is refused, never cut.
MAX_PASSWORD_BYTES: Final = 72
#: The largest integer of PostgreSQL's bigint; the edge lowers it to the maximum a stage.
MAX_SCORE: Final = 2**63 - 1

# U+202A..U+202E and U+2066..U+2069 turn the direction of the text around a name, so one player's name could disguise
# the next row of a board.
_DIRECTION_OVERRIDES: Final = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
# Nothing to see, but a different name: what Unicode calls default ignorable (DerivedCoreProperties), interlinear marks
# and the blank of Braille. Joiners and the variation selector of emoji are taken, since scripts and emoji need them; by
# them alone no two names differ (storage/accounts.py).
_INVISIBLE_RANGES: Final = (
    *((0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200B), (0x200E, 0x200F), (0x2060, 0x206F), (0x2800, 0x2800), (0x3164, 0x3164), (0xFE00, 0xFE0E)),
    *((0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A)),
    (0xE0000, 0xE0FFF),
)
_INVISIBLE: Final = frozenset(chr(code) for first, last in _INVISIBLE_RANGES for code in range(first, last + 1))
_NOT_ALONE: Final = frozenset({"Mn", "Me", "Mc", "Cf", "Zs"})
# Not "Cn": an emoji that is younger than this Python's tables is unassigned to them.
_UNPRINTABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
# What a name may have before NFKC puts its characters together; normalizing far more would take long.
_MAX_RAW_USERNAME_CHARACTERS: Final = 8 * MAX_USERNAME_CHARACTERS


def _reject(message: str) -> PydanticCustomError:
    return PydanticCustomError("rule", "{message}", {"message": message})


def _check_email(value: str) -> str:
    if len(value) > MAX_EMAIL_CHARACTERS:
        raise _reject(f"at most {MAX_EMAIL_CHARACTERS} characters")
    try:
        checked = email_validator.validate_email(value, check_deliverability=False, globally_deliverable=False)
    except email_validator.EmailNotValidError:
        raise _reject("this is not an email address") from None
    if "." not in checked.domain:
        raise _reject("the domain of the address is not complete")
    return checked.normalized


def normal_email(text: str) -> str:
    """The text as an account's email is kept; as it is where it is no email."""
    try:
        return _check_email(text)
    except PydanticCustomError:
        return text


def _check_username(value: str) -> str:
    stripped = value.strip()
    name = unicodedata.normalize("NFKC", stripped).strip() if len(stripped) <= _MAX_RAW_USERNAME_CHARACTERS else ""
    if not 1 <= len(name) <= MAX_USERNAME_CHARACTERS:
        raise _reject(f"1 to {MAX_USERNAME_CHARACTERS} characters")
    if any(map(_is_unprintable, name)):
        raise _reject("no control characters")
    if not _INVISIBLE.isdisjoint(name):
        raise _reject("no invisible characters")
    if all(unicodedata.category(character) in _NOT_ALONE for character in name):
        raise _reject("at least one character that can be seen")
    return name


def _is_unprintable(character: str) -> bool:
    code = ord(character)
    noncharacter = 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE
    return noncharacter or character in _DIRECTION_OVERRIDES or unicodedata.category(character) in _UNPRINTABLE


def _check_password(value: str) -> str:
    if len(value) < MIN_PASSWORD_CHARACTERS:
        raise _reject(f"at least {MIN_PASSWORD_CHARACTERS} characters")
    if len(value.encode()) > MAX_PASSWORD_BYTES:
        raise _reject(f"at most {MAX_PASSWORD_BYTES} bytes in UTF-8")
    if "\0" in value:
        raise _reject("no NUL character")
    return value


def _check_key(value: str) -> str:
    if not value.isprintable():
        raise _reject("printable characters only")
    return value


def _check_limit(value: int) -> int:
    if value not in FOLLOWED_LIMITS:
        raise _reject(f"one of {', '.join(map(str, FOLLOWED_LIMITS))}")
    return value


# Each action of a session tells when it began, and each row of a board when it came there.
@lru_cache(maxsize=8192)
def format_timestamp(at: datetime) -> str:
    """RFC 3339, UTC, milliseconds."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return f"{at.isoformat(timespec='milliseconds')[:-6]}Z"


def is_none(value: Any) -> bool:
    """For fields that are left out of the JSON when they are None."""
    return value is None


# The published schemas say what JSON Schema can say; the formats name the rules that are more than that.
Email = Annotated[
    str,
    AfterValidator(_check_email),
    Field(json_schema_extra={"format": "email", "maxLength": MAX_EMAIL_CHARACTERS}),
]
Username = Annotated[
    str,
    AfterValidator(_check_username),
    Field(
        json_schema_extra={"format": "username", "minLength": 1},
        description=f"1 to {MAX_USERNAME_CHARACTERS} characters after trimming and NFKC; unique without case.",
    ),
]
Password = Annotated[
    str,
    AfterValidator(_check_password),
    Field(
        json_schema_extra={
            "format": "password",
            "minLength": MIN_PASSWORD_CHARACTERS,
            "maxLength": MAX_PASSWORD_BYTES,
            "writeOnly": True,
        },
        description=f"At least {MIN_PASSWORD_CHARACTERS} characters and at most {MAX_PASSWORD_BYTES} bytes in UTF-8.",
    ),
]
#: An idempotency key. Control characters are refused, which leaves them to the server's own keys (storage/commits.py).
Key = Annotated[
    str,
    Field(
        min_length=8,
        max_length=64,
        json_schema_extra={"format": "printable"},
        description="An action sent again with its key is not done again. Printable characters only.",
    ),
    AfterValidator(_check_key),
]
Score = Annotated[int, Field(ge=0, le=MAX_SCORE)]
Difficulty = Annotated[int, Field(ge=0, le=MAX_DIFFICULTY)]
# No Literal, which would take 10.0 for 10.
FollowedLimit = Annotated[int, AfterValidator(_check_limit), Field(json_schema_extra={"enum": list(FOLLOWED_LIMITS)})]
RequestId = Annotated[str, Field(min_length=1, max_length=64)] | int
#: RFC 3339, UTC, milliseconds: 2026-11-23T13:20:46.123Z
Timestamp = Annotated[
    datetime,
    PlainSerializer(format_timestamp, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}),
]


class Wire(BaseModel):
    """Base of all messages: camelCase on the wire, no conversions between types."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        frozen=True,
        strict=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )
