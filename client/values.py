"""The server's objects as values. Fields that are not known are ignored: a newer server may send more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Status(IntEnum):
    """What became of a session."""

    IN_PROGRESS = 0
    FINISHED = 1
    FAILED = 2
    CANCELED = 3


@dataclass(frozen=True, slots=True)
class User:
    """An account."""

    id: str
    username: str
    email: str
    number: int

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> User:
        """From the wire."""
        return cls(data["id"], data["username"], data["email"], data["number"])


@dataclass(frozen=True, slots=True)
class Session:
    """A session. `stage` counts from 0; of two states of one player the one with the higher `version` is the newer.
    `replayed`: the action was applied before, and this is what it led to then. After an answer to a stage, `verdict` is
    `passed`, `failed` or `late`, and `stage_score` what it was worth."""

    id: str
    status: Status
    stage: int
    stage_count: int
    total_score: int
    difficulty: int
    started_at: str
    version: int
    replayed: bool = False
    stage_score: int | None = None
    verdict: str | None = None

    @classmethod
    def of(cls, data: Mapping[str, Any] | None) -> Session | None:
        """From the wire, where a session that there is not is null, or has nothing but null in it."""
        if data is None or data["sessionId"] is None:
            return None
        return cls(
            id=data["sessionId"],
            status=Status(data["sessionStatus"]),
            stage=data["sessionStage"],
            stage_count=data["sessionStageCount"],
            total_score=data["sessionTotalScore"],
            difficulty=data["sessionDifficulty"],
            started_at=data["sessionStartedAt"],
            version=data["sessionVersion"],
            replayed=data.get("replayed", False),
            stage_score=data.get("stageScore"),
            verdict=data.get("verdict"),
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage that was dealt. What `puzzle` looks like, and the answer to it, depends on `game`. The time limit counts
    from `dealt_at` (RFC 3339, UTC) by the server's clock."""

    session_id: str
    number: int
    game: str
    puzzle: Mapping[str, Any]
    dealt_at: str
    time_limit_ms: int

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Stage:
        """From the wire."""
        return cls(
            session_id=data["sessionId"],
            number=data["stage"],
            game=data["game"],
            puzzle=data["puzzle"],
            dealt_at=data["dealtAt"],
            time_limit_ms=data["timeLimitMs"],
        )


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an application keeps for the next visit. The refresh token is good for one use: keep each new one."""

    token: str
    refresh_token: str | None


@dataclass(frozen=True, slots=True)
class OpenLogin:
    """One place where the account is logged in; `current` is this one. Times are RFC 3339, UTC."""

    id: str
    created_at: str
    last_used_at: str
    current: bool

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> OpenLogin:
        """From the wire."""
        return cls(data["id"], data["createdAt"], data["lastUsedAt"], data["current"])


@dataclass(frozen=True, slots=True)
class Place:
    """Where the player stands on a board, counted from 1; `position` is None without an entry."""

    board: str
    epoch: str
    version: int
    total: int
    position: int | None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Place:
        """From the wire."""
        return cls(data["board"], data["epoch"], data["version"], data["total"], data["position"])
