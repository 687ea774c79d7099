"""Bodies of /api/admin, for operators only: the one place where somebody else's email appears."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from protocol.fields import Timestamp, Wire

MAX_REASON_CHARACTERS: Final = 500
#: The largest number of a row that PostgreSQL gives.
_MAX_ID: Final = 2**63 - 1

#: What a step of a session was.
Step = Literal["start", "deal", "complete", "close", "cancel"]
ActName = Literal["grant_admin", "withdraw_admin", "take_off_boards", "put_back_on_boards", "revoke_logins"]


def _check_reason(value: str) -> str:
    # One line, as the record is read.
    reason = " ".join(value.split())
    if not 1 <= len(reason) <= MAX_REASON_CHARACTERS:
        raise PydanticCustomError("rule", "1 to {most} characters", {"most": MAX_REASON_CHARACTERS})
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in reason):
        raise PydanticCustomError("rule", "no control characters")
    return reason


class FindPlayersData(Wire):
    """Whom to look for: `12` or `#12` is a number, anything else a part of name or email in whatever case. Nothing
    finds the newest."""

    find: Annotated[str, Field(max_length=254)] = ""


class ActsBeforeData(Wire):
    """Which page of the record: what is older than the act with this id."""

    before: Annotated[int, Field(ge=1, le=_MAX_ID)] | None = None


class ReasonData(Wire):
    """Why an operator acts; it is kept with the act."""

    reason: Annotated[
        str,
        AfterValidator(_check_reason),
        Field(json_schema_extra={"format": "reason", "minLength": 1, "maxLength": MAX_REASON_CHARACTERS}),
    ]
    """White space counts as one space; no control characters."""


class SampleData(Wire):
    """One second of this node. Times are in milliseconds, null where there was nothing to measure."""

    at: Timestamp
    """Its end."""
    players: int
    spectators: int
    actions: int
    """Of sessions, committed in it."""
    commit_p50_ms: float | None = Field(alias="commitP50Ms")
    commit_p99_ms: float | None = Field(alias="commitP99Ms")
    board_staleness_ms: float | None
    """The longest time from the commit of an entry to the moment when the changed board went to its subscribers."""
    boards_behind: bool


class FiguresData(Wire):
    """The last five minutes of this node, the newest last."""

    interval_ms: Literal[1000] = 1000
    samples: list[SampleData]


class AdminPlayerData(Wire):
    """A player. A deleted account has neither name nor email and counts as off the boards."""

    number: int
    username: str | None
    email: str | None
    registered_at: Timestamp
    off_boards: bool
    is_admin: bool


class FoundPlayersData(Wire):
    """At most 20, the newest first."""

    players: list[AdminPlayerData]


class AdminLoginData(Wire):
    """A login that can still be used."""

    id: str
    created_at: Timestamp
    last_used_at: Timestamp


class AdminSessionData(Wire):
    """A session. `status`: 0 in progress, 1 finished, 2 failed, 3 canceled; `version` is that of its last action."""

    session_id: str
    status: int
    difficulty: int
    total_score: int
    stage: int
    stage_count: int
    started_at: Timestamp
    ended_at: Timestamp | None
    version: int


class AdminEntryData(Wire):
    """The player's best attempt on one ladder, such as `daily:3@2026-11-23`; `removed`: it is not shown."""

    ladder: str
    total_score: int
    passed_all_games: bool
    achieved_at: Timestamp
    removed: bool


class PlayerDetailsData(Wire):
    """The newest 50 sessions, and at most 200 entries: those of all time, then the newest."""

    player: AdminPlayerData
    logins: list[AdminLoginData]
    sessions: list[AdminSessionData]
    entries: list[AdminEntryData]


class StepData(Wire):
    """One applied action and the state that it led to. `verdict` and `answer` are null where the client reported its
    score."""

    version: int
    at: Timestamp
    action: Step
    score: int | None
    verdict: Literal["passed", "failed", "late"] | None
    answer: dict[str, Any] | None
    status: int
    stage: int
    total_score: int
    difficulty: int


class SessionStepsData(Wire):
    """A session, step by step."""

    steps: list[StepData]


class ActedData(Wire):
    """The player after the act."""

    player: AdminPlayerData


class NamedPlayerData(Wire):
    """A player; a deleted account has no name."""

    number: int
    username: str | None


class ActData(Wire):
    """What an operator has done to a player, and why; `operator` is null for the command line."""

    id: int
    at: Timestamp
    operator: NamedPlayerData | None
    act: ActName
    player: NamedPlayerData
    reason: str


class ActsData(Wire):
    """At most 50, the newest first."""

    acts: list[ActData]
