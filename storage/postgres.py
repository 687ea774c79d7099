"""The connection pool, and what it means when PostgreSQL is not there."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import asyncpg

if TYPE_CHECKING:
    # Generic for the type checker only.
    Connection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

T = TypeVar("T")

#: Seconds that any single use of the database may take, waiting for a connection included. Callers promise an answer
#: within 2 s while PostgreSQL is down or frozen.
PATIENCE_SECONDS: Final = 1.5
_PAUSE_SECONDS: Final = 0.05

#: Failures of the server or the way to it, as opposed to failures of a statement. All of class 57 (operator
#: intervention: restarts), 53 (out of disk, memory or connections), 08 (connection) and 28 (a password that was
#: changed), a standby after a failover, and whatever the operating system says about the socket.
_DOWN: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    # A connection that was used while it was being given up.
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.ReadOnlySQLTransactionError,
)


#: The loop's time at which the patience of the request under way ends, however many uses it is made of.
_END: Final[ContextVar[float]] = ContextVar("end of patience", default=math.inf)


@contextmanager
def one_request() -> Iterator[None]:
    """Whatever is asked of PostgreSQL inside ends within PATIENCE_SECONDS altogether."""
    token = _END.set(deadline_of(PATIENCE_SECONDS))
    try:
        yield
    finally:
        _END.reset(token)


def deadline_of(seconds: float) -> float:
    """The loop's time after so many seconds, or when the request's patience ends."""
    return min(asyncio.get_running_loop().time() + seconds, _END.get())


#: Of each session, or behind a pooler of each transaction.
_SETTINGS: Final = {
    # What we acknowledge is on disk, whatever the database's default is.
    "synchronous_commit": "on",
    # A statement that we have given up must not go on waiting for a lock, on a connection that the pool no longer
    # counts.
    "statement_timeout": f"{PATIENCE_SECONDS + 0.5}s",
    # It would compile for longer than our statements run.
    "jit": "off",
    # Each statement that the server repeats finds its rows by an index, however many they are and however large the
    # table is. Left to itself PostgreSQL reads small tables whole, and keeps to it while they grow, until it analyzes
    # them; and it plans a commit anew each time, which takes as long as its execution.
    "enable_seqscan": "off",
    "plan_cache_mode": "force_generic_plan",
    "timezone": "UTC",
}
_SETTINGS_OF_A_TRANSACTION: Final = "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in _SETTINGS.items())
#: Prepared statements that a connection keeps: more than there are.
_STATEMENTS: Final = 100


class StoreUnavailable(Exception):
    """PostgreSQL or Redis cannot be used now. Whether something under way was applied may be unknown."""


async def _nothing_to_reset(_connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Nothing here outlives its transaction, so the round trip that asyncpg would make at each release is saved."""


class PoolUse(NamedTuple):
    """Connections to PostgreSQL: those that are in use, those that are open, how many there may be, and how many uses
    wait for one."""

    used: int
    open: int
    limit: int
    waiting: int


class Postgres:
    """A pool whose uses end in bounded time, with a result or with StoreUnavailable.

    Other exceptions come from the statement itself (a violated constraint, say) and are asyncpg.PostgresError.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], *, pooled: bool = False) -> None:
        self._pool = pool
        self._pooled = pooled
        self._lasting: list[_Lasting] = []
        #: How many wait for a connection from the pool.
        self._asking = 0

    def use(self) -> PoolUse:
        """How much of the pool is in use now."""
        size = self._pool.get_size()
        return PoolUse(size - self._pool.get_idle_size(), size, self._pool.get_max_size(), self._asking)

    def lasting(self) -> Postgres:
        """The same for somebody who goes on and on: the connection is kept for the next use, as long as it is good. To
        take one from the pool and to give it back takes two tasks."""
        lasting = _Lasting(self._pool, pooled=self._pooled)
        self._lasting.append(lasting)
        return lasting

    @classmethod
    async def connect(cls, database_url: str, *, connections: int, pooled: bool = False) -> Postgres:
        """Connect for the first time; raises StoreUnavailable when that fails, and ValueError for a bad URL. `pooled`:
        the URL leads to a pooler that gives us another connection for each transaction."""
        try:
            pool = await asyncpg.create_pool(
                database_url,
                min_size=1,
                max_size=connections,
                timeout=PATIENCE_SECONDS,
                reset=_nothing_to_reset,
                # A statement that is prepared once is not there on the next connection behind a pooler.
                statement_cache_size=0 if pooled else _STATEMENTS,
                server_settings={"application_name": "braingame", **({} if pooled else _SETTINGS)},
            )
        except ValueError:
            raise
        except (*_DOWN, asyncpg.PostgresError) as error:
            raise StoreUnavailable(str(error) or type(error).__name__) from error
        return cls(pool, pooled=pooled)

    async def close(self) -> None:
        """Close every connection; those that hang are dropped."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                for lasting in self._lasting:
                    await lasting.let_go()
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def run(
        self,
        work: Callable[[Connection], Awaitable[T]],
        *,
        repeatable: bool = True,
        within: float = PATIENCE_SECONDS,
    ) -> T:
        """Give `work` a connection. Work that is `repeatable` (reads, and writes that change nothing the second time)
        is tried again within the time, so that a restart of PostgreSQL shows as a delay where it can."""
        loop = asyncio.get_running_loop()
        deadline = deadline_of(within)
        while True:
            started = False
            try:
                async with asyncio.timeout_at(deadline):
                    connection = await self._take()
                    started = True
                    return await self._use(connection, work)
            except (*_DOWN, asyncpg.PostgresError) as error:
                if started and not isinstance(error, _DOWN):
                    raise  # The statement's own fault; before it, PostgreSQL has refused to let us in.
                if (started and not repeatable) or loop.time() + _PAUSE_SECONDS >= deadline:
                    raise StoreUnavailable("PostgreSQL does not answer") from error
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _use(self, connection: Connection, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            result = await (self._in_transaction(connection, work) if self._pooled else work(connection))
        except BaseException as error:
            if not isinstance(error, asyncpg.PostgresError) or isinstance(error, _DOWN):
                # Not given back as it is: it may be in the middle of something, and a frozen server would never answer.
                connection.terminate()
            await self._give_back(connection)
            raise
        await self._give_back(connection)
        return result

    async def _in_transaction(self, connection: Connection, work: Callable[[Connection], Awaitable[T]]) -> T:
        # The pooler keeps to one connection until its end: for the settings, and for a statement's parsing and running.
        async with connection.transaction():
            await connection.execute(_SETTINGS_OF_A_TRANSACTION)
            return await work(connection)

    async def _take(self) -> Connection:
        self._asking += 1
        try:
            return await self._pool.acquire()
        finally:
            self._asking -= 1

    async def _give_back(self, connection: Connection) -> None:
        # What the work has led to counts, whatever becomes of the connection now.
        with suppress(*_DOWN):
            await asyncio.shield(self._pool.release(connection, timeout=PATIENCE_SECONDS))

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of a repeatable statement."""
        return await self.run(lambda connection: connection.fetch(query, *arguments))

    async def fetchrow(self, query: str, *arguments: Any) -> asyncpg.Record | None:
        """The first row of a repeatable statement."""
        return await self.run(lambda connection: connection.fetchrow(query, *arguments))

    async def execute(self, query: str, *arguments: Any) -> None:
        """A repeatable statement without a result."""
        await self.run(lambda connection: connection.execute(query, *arguments))


class _Lasting(Postgres):
    _kept: Connection | None = None

    async def let_go(self) -> None:
        """Give the connection back that waits for its next use."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await super()._give_back(kept)

    async def _take(self) -> Connection:
        kept, self._kept = self._kept, None
        if kept is not None and _is_gone(kept):
            await super()._give_back(kept)
            kept = None
        if kept is not None:
            return kept
        return await super()._take()

    async def _give_back(self, connection: Connection) -> None:
        wanted = self._kept is None and not self._asking
        if wanted and not _is_gone(connection) and not connection.is_in_transaction():
            self._kept = connection
        else:
            await super()._give_back(connection)


def _is_gone(connection: Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True  # The pool has noticed first, and has taken it back.
