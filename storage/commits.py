"""Group commit: many players' actions in one statement, each caller told after its commit.

While one statement runs, what arrives waits and makes up the next one. A batch of 512 actions costs PostgreSQL little
more than one, so the load itself decides how many share a commit (figures in docs/architecture.md).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import asyncpg

from game.ranking import ladders_of
from game.session import Action, Judged, PlayerState
from storage.postgres import PATIENCE_SECONDS, PoolUse, Postgres, StoreUnavailable, deadline_of
from storage.sessions import Event, event_from

if TYPE_CHECKING:
    from storage.postgres import Connection

#: More in one statement gains nothing measurable and makes the first one wait for the last.
MAX_BATCH: Final = 512

# One statement, so one round trip and one transaction:
#   seen      actions whose key was applied before; they are answered from the log
#   applied   the current rows, changed only where they are still at the version that the action builds on
#   logged    the event log
#   improved  the best entries, where the ended session is better than what the ladder holds; those of a player whom an
#             operator has taken off the boards are kept, but not shown
# The result is a row for each one seen, and then one with arrays, since a record for each change costs more to read.
# They are not joined: the planner knows nothing about the size of a CTE, and a nested loop over 512 x 512 rows would
# cost more than all the rest. A concurrent change of a row makes UPDATE wait and then look at the
# version again, so of two nodes that build on the same version one finds nothing to update: a conflict.
_COMMIT: Final = """
    WITH input AS MATERIALIZED (
        SELECT * FROM unnest(
            $1::bigint[], $2::bigint[], $3::text[], $4::smallint[], $5::bigint[], $6::uuid[], $7::smallint[],
            $8::integer[], $9::integer[], $10::bigint[], $11::smallint[], $12::timestamptz[], $13::timestamptz[],
            $14::timestamptz[], $15::text[], $16::bigint[], $17::timestamptz[], $18::text[], $19::text[]
        ) WITH ORDINALITY AS t (
            number, version, key, action, score, session_id, status, stage, stage_count, total_score, difficulty,
            started_at, ended_at, at, ladders, seed, dealt_at, answer, verdict, ordinal
        )
    ), seen AS MATERIALIZED (
        SELECT i.ordinal, e.* FROM input i JOIN session_events e ON e.number = i.number AND e.key = i.key
    ), applied AS (
        UPDATE sessions s
        SET version = i.version, session_id = i.session_id, status = i.status, stage = i.stage,
            stage_count = i.stage_count, total_score = i.total_score, difficulty = i.difficulty,
            started_at = i.started_at, ended_at = i.ended_at, seed = i.seed, dealt_at = i.dealt_at
        FROM input i
        WHERE s.number = i.number AND s.version = i.version - 1 AND i.ordinal NOT IN (SELECT ordinal FROM seen)
        RETURNING i.*, s.off_boards
    ), logged AS (
        INSERT INTO session_events (
            number, version, key, action, score, session_id, status, stage, stage_count, total_score, difficulty,
            started_at, ended_at, at, seed, dealt_at, answer, verdict
        )
        SELECT number, version, key, action, score, session_id, status, stage, stage_count, total_score, difficulty,
               started_at, ended_at, at, seed, dealt_at, answer::json, verdict
        FROM applied
    ), improved AS (
        INSERT INTO ladder_entries AS held (
            ladder, number, passed_all_games, total_score, achieved_at, session_id, removed
        )
        SELECT ladder, a.number, a.status = 1, a.total_score, a.ended_at, a.session_id, a.off_boards
        FROM applied a, unnest(string_to_array(a.ladders, ' ')) AS ladder
        ORDER BY 1, 2
        ON CONFLICT (ladder, number) DO UPDATE
        SET passed_all_games = excluded.passed_all_games, total_score = excluded.total_score,
            achieved_at = excluded.achieved_at, session_id = excluded.session_id, changed_by = pg_current_xact_id()
        WHERE (excluded.passed_all_games, excluded.total_score, held.achieved_at)
            > (held.passed_all_games, held.total_score, excluded.achieved_at)
        RETURNING ladder, number, removed
    )
    SELECT ordinal, number, version, key, action, score, session_id, status, stage, stage_count, total_score,
           difficulty, started_at, ended_at, at, seed, dealt_at, answer::text, verdict,
           NULL::bigint[] AS applied, NULL::bigint[] AS improved, NULL::text[] AS ladders
    FROM seen
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
           NULL, NULL, NULL, NULL, NULL, NULL, NULL,
           (SELECT array_agg(ordinal) FROM applied),
           array_agg(number) FILTER (WHERE NOT removed), array_agg(ladder) FILTER (WHERE NOT removed)
    FROM improved
"""

_PAUSE_SECONDS: Final = 0.05
_NOT_COMMITTED: Final = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


class Change(NamedTuple):
    """An action of one player and the state that it leads to, which is one version above the state it builds on."""

    number: int
    action: Action
    score: int | None
    state: PlayerState
    at: datetime
    key: str
    judged: Judged | None = None


class Applied(NamedTuple):
    """The change is committed. `improved` names the ladders on which the player's entry became better."""

    improved: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """The key was applied before; nothing was done now."""

    event: Event


class Conflict:
    """The player's row is not at the version that the change builds on; nothing was done."""


Outcome = Applied | Replayed | Conflict
_CONFLICT: Final = Conflict()
#: Most actions end no session, and so improve nothing.
_APPLIED: Final = Applied(())


def new_key() -> str:
    """A key for an action whose sender gave none, so that its outcome can be found after a lost connection all the
    same. It begins with a control character, which no client's key may contain."""
    return f"\x01{random.getrandbits(64):x}"


#: Is told what became of a change. Must not raise.
Settle = Callable[[Outcome | Exception], None]


class Watch(Protocol):
    """Who follows some requests to their commits."""

    def under_way(self) -> tuple[Any, Context] | None:
        """The request that asks for a change, and where to tell it the outcome; None where it is not followed."""

    def batch(self, requests: Sequence[Any], size: int, seconds: float, outcome: str) -> None:
        """So many changes were committed together, those of these requests among them."""


@dataclass(slots=True)
class _Waiting:
    change: Change
    #: None when it was called, or nobody wants to know any more.
    settle: Settle | None
    deadline: float
    followed: tuple[Any, Context] | None = None


class Commits:
    """Commits changes in the order of their arrival, many at a time.

    A change is settled only after PostgreSQL has made it durable, or has told that it was not applied; with
    StoreUnavailable when neither can be learned in time: then it may have been applied, once at most, and can be found
    by its key. One task, `run`, does the work; its owner starts and cancels it.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._queue: deque[_Waiting] = deque()
        self._decided: deque[tuple[_Waiting, Outcome]] = deque()
        self._wake = asyncio.Event()
        #: Set by the owner, where some requests are followed.
        self.watch: Watch | None = None

    def waiting(self) -> int:
        """How many changes are not yet on their way to PostgreSQL."""
        return len(self._queue)

    def pool(self) -> PoolUse:
        """The connections that changes are committed by."""
        return self._postgres.use()

    def put(self, change: Change, settle: Settle) -> None:
        """Make one change durable, and call `settle` with what became of it: an outcome, StoreUnavailable after
        PATIENCE_SECONDS, or the error of a change that PostgreSQL refuses."""
        self._put(_Waiting(change, settle, time.monotonic() + PATIENCE_SECONDS))

    async def commit(self, change: Change) -> Outcome:
        """The same, for who waits; raises what `put` tells."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def settle(outcome: Outcome | Exception) -> None:
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        waiting = _Waiting(change, settle, deadline_of(PATIENCE_SECONDS))
        self._put(waiting)
        try:
            return await future
        finally:
            waiting.settle = None

    def _put(self, waiting: _Waiting) -> None:
        if self.watch is not None:
            waiting.followed = self.watch.under_way()
        self._queue.append(waiting)
        self._wake.set()

    async def run(self) -> None:
        """Commit what waits, until cancelled; whoever still waits then gets StoreUnavailable."""
        batch: list[_Waiting] = []
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    batch = self._next_batch()
                    await self._commit_all(batch)
        finally:
            self._settle_decided()
            for waiting in (*batch, *self._queue):
                _settle(waiting, StoreUnavailable("the server stops"))
            self._queue.clear()

    def _next_batch(self) -> list[_Waiting]:
        # One change of a player at most: of two rows for one target UPDATE … FROM applies only one.
        batch: dict[int, _Waiting] = {}
        later: list[_Waiting] = []
        while self._queue and len(batch) < MAX_BATCH:
            waiting = self._queue.popleft()
            if waiting.settle is None:
                continue
            if waiting.change.number in batch:
                later.append(waiting)
            else:
                batch[waiting.change.number] = waiting
        self._queue.extendleft(reversed(later))
        # In one order on all nodes, so that two batches seldom wait for each other's rows crosswise.
        return [batch[number] for number in sorted(batch)]

    async def _commit_all(self, batch: list[_Waiting]) -> None:
        """Settle every change of the batch. The same statement may be sent again after a failure, since the keys tell
        what an earlier try has committed."""
        loop = asyncio.get_running_loop()
        while batch:
            deadline = min(waiting.deadline for waiting in batch)
            begun = time.monotonic()
            try:
                await self._commit_once(batch, max(deadline - loop.time(), _PAUSE_SECONDS))
                if self.watch is not None:
                    _tell(self.watch, batch, begun, "ok")
                return
            except StoreUnavailable as error:
                if self.watch is not None:
                    _tell(self.watch, batch, begun, "unavailable")
                # At once for those whose time is up; the others, which came later, try again.
                late = [waiting for waiting in batch if waiting.deadline <= loop.time() + _PAUSE_SECONDS]
                for waiting in late:
                    _settle(waiting, error)
                batch = [waiting for waiting in batch if waiting.settle is not None]
            except _NOT_COMMITTED:
                continue
            except asyncpg.PostgresError as error:
                if self.watch is not None:
                    _tell(self.watch, batch, begun, "failed")
                if len(batch) == 1:
                    _settle(batch[0], error)
                    return
                # One change is to blame and its neighbours must not pay for it: halves, until it stands alone.
                middle = len(batch) // 2
                await self._commit_all(batch[:middle])
                batch = batch[middle:]

    async def _commit_once(self, batch: Sequence[_Waiting], within: float) -> None:
        columns = _columns([waiting.change for waiting in batch])

        async def statement(connection: Connection) -> list[asyncpg.Record]:
            return await connection.fetch(_COMMIT, *columns)

        *seen, found = await self._postgres.run(statement, within=within)
        outcomes: list[Outcome] = [_CONFLICT] * len(batch)
        for ordinal in found["applied"] or ():
            outcomes[ordinal - 1] = _APPLIED
        if found["improved"] is not None:
            improved: dict[int, list[str]] = {}
            for number, ladder in zip(found["improved"], found["ladders"], strict=True):
                improved.setdefault(number, []).append(ladder)
            for index, waiting in enumerate(batch):
                ladders = improved.get(waiting.change.number)
                if ladders is not None:
                    outcomes[index] = Applied(tuple(ladders))
        for row in seen:
            outcomes[row["ordinal"] - 1] = Replayed(event_from(row))
        self._decided += zip(batch, outcomes, strict=True)
        # Telling them takes as long as PostgreSQL takes for a batch, so the next one is sent to it before.
        asyncio.get_running_loop().call_soon(self._settle_decided)

    def _settle_decided(self) -> None:
        try:
            while self._decided:
                _settle(*self._decided.popleft())
        finally:
            if self._decided:
                # One who did raise must not keep the others waiting.
                asyncio.get_running_loop().call_soon(self._settle_decided)


def _settle(waiting: _Waiting, outcome: Outcome | Exception) -> None:
    settle, waiting.settle = waiting.settle, None
    if settle is None:
        return
    if waiting.followed is None:
        settle(outcome)
    else:
        waiting.followed[1].run(settle, outcome)


def _tell(watch: Watch, batch: Sequence[_Waiting], begun: float, outcome: str) -> None:
    requests = [waiting.followed[0] for waiting in batch if waiting.followed is not None]
    watch.batch(requests, len(batch), time.monotonic() - begun, outcome)


def _columns(changes: Sequence[Change]) -> tuple[list[object], ...]:
    rows = []
    for number, action, score, state, at, key, judged in changes:
        session = state.session
        assert session is not None, "every action leaves a session"  # noqa: S101
        ended_at = session.ended_at
        rows.append(
            (
                number,
                state.version,
                key,
                action,
                score,
                session.session_id,
                session.status,
                session.stage,
                session.stage_count,
                session.total_score,
                session.difficulty,
                session.started_at,
                ended_at,
                at,
                # Which ends no session counts on no ladder.
                None if ended_at is None else " ".join(ladders_of(session)) or None,
                session.seed,
                session.dealt_at,
                None if judged is None else judged.answer,
                None if judged is None else judged.verdict,
            )
        )
    # unnest fills a shorter column with NULL, and an empty one costs nothing.
    return tuple([] if column.count(None) == len(rows) else list(column) for column in zip(*rows, strict=True))
