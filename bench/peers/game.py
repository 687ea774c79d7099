"""The job that each Python peer does, whatever it speaks to its clients: rules, one statement an action, the board."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import redis.asyncio

_FOLDER: Final = Path(__file__).parent
_ACT: Final = (_FOLDER / "act.sql").read_text()
_REGISTER: Final = "INSERT INTO peers.sessions (username) VALUES ($1) RETURNING number"
_STAGES: Final = 3
_BOARD: Final = "peers:board"
_TICK_SECONDS: Final = 0.1
_PLAYING, _FINISHED = 0, 1


@dataclass(frozen=True, slots=True)
class _Session:
    id: UUID
    status: int
    stage: int
    total: int
    started_at: datetime
    ended_at: datetime | None


@dataclass(slots=True)
class Player:
    """A connected player."""

    number: int
    username: str
    version: int = 0
    session: _Session | None = None


class Game:
    """What the peers have in common. `tell` is called with the board, as text, when it has changed."""

    def __init__(self, tell: Callable[[str], Awaitable[None]]) -> None:
        self._tell = tell
        self._changed = asyncio.Event()
        self._pool: asyncpg.Pool[asyncpg.Record]
        self._redis: redis.asyncio.Redis

    async def open(self) -> None:
        """Connect to the stores."""
        pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=20, max_size=20)
        self._pool = pool
        await pool.execute((_FOLDER / "schema.sql").read_text())
        self._redis = redis.asyncio.from_url(os.environ["REDIS_URL"], decode_responses=True)
        self._ticker = asyncio.create_task(self._tick())

    async def register(self, username: str) -> Player:
        """A new player."""
        return Player(await self._pool.fetchval(_REGISTER, username), username)

    async def answer(self, player: Player | None, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        """Apply an action; gives the session as it goes to the client, or the code of an error."""
        if player is None:
            return {"error": "unauthenticated"}
        now = datetime.now(UTC)
        score = data.get("score")
        session = _next(player.session, kind, score, now)
        if session is None:
            return {"error": "session_not_active"}
        row = await self._pool.fetchrow(
            _ACT,
            player.number,
            player.version + 1,
            str(uuid4()),
            0 if kind == "session.start" else 1,
            score,
            session.id,
            session.status,
            session.stage,
            session.total,
            session.started_at,
            session.ended_at,
            now,
        )
        assert row is not None  # noqa: S101
        if not row["applied"]:
            return {"error": "conflict"}
        player.version += 1
        player.session = session
        if row["improved"]:
            await self._redis.zadd(_BOARD, {player.username: session.total}, gt=True)
            self._changed.set()
        return {
            "sessionId": str(session.id),
            "sessionStatus": session.status,
            "sessionStage": session.stage,
            "sessionTotalScore": session.total,
            "sessionStartedAt": session.started_at.isoformat(),
            "sessionVersion": player.version,
        }

    async def top(self) -> str:
        """The board as the text of a message."""
        rows: Any = await self._redis.zrevrange(_BOARD, 0, 9, withscores=True)
        entries = [{"username": name, "totalScore": int(score)} for name, score in rows]
        return json.dumps({"type": "board", "data": entries})

    async def _tick(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._tell(await self.top())
            await asyncio.sleep(_TICK_SECONDS)


def _next(session: _Session | None, kind: str, score: object, now: datetime) -> _Session | None:
    if kind == "session.start":
        return _Session(uuid4(), _PLAYING, 0, 0, now, None)
    if session is None or session.status != _PLAYING or not isinstance(score, int) or score < 0:
        return None
    if session.stage + 1 == _STAGES:
        return replace(session, status=_FINISHED, total=session.total + score, ended_at=now)
    return replace(session, stage=session.stage + 1, total=session.total + score)
