"""Every use of the pool ends in bounded time, and leaves nothing behind for the next one."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING

import asyncpg
import pytest

from storage.postgres import PATIENCE_SECONDS, Postgres, StoreUnavailable, deadline_of, one_request
from tests.server.gate import Gate
from tests.storage.playing import Sql
from tests.storage.waiting import PROMISED, blocked_backend, kill_backends, locked, pool, until

if TYPE_CHECKING:
    from storage.postgres import Connection

_OURS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'braingame'"
_BACKENDS = f"SELECT count(*) {_OURS}"
_BUSY = f"SELECT count(*) {_OURS} AND state <> 'idle'"


@pytest.fixture(params=["pool", "lasting"])
async def narrow(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Postgres]:
    """A pool of one connection, so that every user has the one that was used before; also where it is not given back
    between two uses."""
    async with pool(database_url) as postgres:
        yield postgres.lasting() if request.param == "lasting" else postgres


@pytest.fixture
async def notes(sql: Sql) -> AsyncIterator[None]:
    """A table of the tests' own, to see what was done."""
    await sql.execute("CREATE TABLE notes (text text)")
    yield
    await sql.execute("DROP TABLE notes")


class Work:
    """Notes something down, and counts how often it was asked to."""

    def __init__(self, *, fail_with: Exception | None = None, die_first: int = 0) -> None:
        self.calls = 0
        self._fail_with = fail_with
        self._die_first = die_first

    async def __call__(self, connection: Connection) -> str:
        self.calls += 1
        if self.calls <= self._die_first:
            # What a restart of the server looks like from here.
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        await connection.execute("INSERT INTO notes VALUES ('done')")
        if self._fail_with is not None:
            raise self._fail_with
        return "done"


# Connections


async def test_lasting_connection_is_the_same_each_time_and_another_one_when_it_is_lost(
    database_url: str, sql: Sql
) -> None:
    async with pool(database_url, connections=2) as postgres:
        lasting = postgres.lasting()

        async def backend() -> int:
            row = await lasting.fetchrow("SELECT pg_backend_pid()")
            assert row is not None
            found: int = row[0]
            return found

        first = await backend()
        assert [await backend() for _ in range(3)] == [first] * 3
        # Two uses at a time are two connections, of which one stays.
        await asyncio.gather(lasting.execute("SELECT pg_sleep(0.05)"), lasting.execute("SELECT pg_sleep(0.05)"))
        before = await backend()
        assert await backend() == before
        await kill_backends(sql)
        assert await backend() not in {first, before}
    # The pool was closed in time, though the connection had not been given back.
    assert await sql.fetchval(_BACKENDS) == 0


async def test_connection_is_set_up_for_durable_and_short_statements(narrow: Postgres) -> None:
    for name, value in {"synchronous_commit": "on", "jit": "off", "TimeZone": "UTC"}.items():
        row = await narrow.fetchrow("SELECT current_setting($1)", name)
        assert row is not None
        assert row[0] == value


async def test_commits_are_durable_whatever_the_databases_default_is(own_database_url: str) -> None:
    connection = await asyncpg.connect(own_database_url)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    await connection.close()
    async with pool(own_database_url) as postgres:
        row = await postgres.fetchrow("SHOW synchronous_commit")
        assert row is not None
        assert row[0] == "on"


async def test_rows_come_as_they_are(narrow: Postgres) -> None:
    assert [tuple(row) for row in await narrow.fetch("SELECT n, $1 FROM generate_series(1, 3) AS n", "x")] == [
        (1, "x"),
        (2, "x"),
        (3, "x"),
    ]
    assert await narrow.fetchrow("SELECT 1 WHERE false") is None


async def test_more_users_than_connections_are_all_served(postgres: Postgres, sql: Sql) -> None:
    rows = await asyncio.gather(*(postgres.fetchrow("SELECT $1::integer", number) for number in range(200)))
    assert [row[0] for row in rows if row is not None] == list(range(200))
    assert await sql.fetchval(_BACKENDS) <= 4


async def test_closed_pool_leaves_no_connection(database_url: str, sql: Sql) -> None:
    postgres = await Postgres.connect(database_url, connections=3)
    await asyncio.gather(*(postgres.fetch("SELECT 1") for _ in range(9)))
    await postgres.close()

    async def none_left() -> bool:
        return bool(await sql.fetchval(_BACKENDS) == 0)

    await until(none_left, "no connection")


async def test_closing_does_not_wait_for_a_statement_that_hangs(database_url: str, sql: Sql, impatient: None) -> None:
    postgres = await Postgres.connect(database_url, connections=1)
    hanging = asyncio.create_task(postgres.run(lambda c: c.execute("SELECT pg_sleep(60)"), within=0.6))
    await until(lambda: sql.fetchval(_BUSY), "the statement")
    async with asyncio.timeout(PROMISED):
        await postgres.close()
        with pytest.raises(StoreUnavailable):
            await hanging


@pytest.mark.parametrize("url", ["mysql://localhost/braingame", "postgresql://localhost:port/braingame"])
async def test_bad_url_is_told_from_a_server_that_is_away(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        await Postgres.connect(url, connections=1)


async def test_first_connection_that_is_refused_says_so(postgres_gate: Gate) -> None:
    await postgres_gate.shut()
    async with asyncio.timeout(PROMISED):
        with pytest.raises(StoreUnavailable, match=r".+"):
            await Postgres.connect(postgres_gate.url, connections=1)


async def test_first_connection_to_no_database_says_so(database_url: str) -> None:
    with pytest.raises(StoreUnavailable, match="nowhere"):
        await Postgres.connect(database_url.replace("storage_tests", "nowhere"), connections=1)


async def test_first_connection_to_a_frozen_server_ends_in_time(impatient: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        url = f"postgresql://braingame@127.0.0.1:{frozen.getsockname()[1]}/braingame"
        async with asyncio.timeout(PROMISED):
            with pytest.raises(StoreUnavailable):
                await Postgres.connect(url, connections=1)


# Failures of a statement


async def test_error_of_a_statement_comes_out_as_it_is_and_is_not_repeated(narrow: Postgres, notes: None) -> None:
    work = Work(fail_with=asyncpg.UniqueViolationError("taken"))
    with pytest.raises(asyncpg.UniqueViolationError):
        await narrow.run(work)
    assert work.calls == 1
    with pytest.raises(asyncpg.DivisionByZeroError):
        await narrow.fetch("SELECT 1 / 0")


async def test_error_of_the_caller_comes_out_as_it_is_and_is_not_repeated(narrow: Postgres, notes: None) -> None:
    work = Work(fail_with=RuntimeError("a mistake"))
    with pytest.raises(RuntimeError, match="a mistake"):
        await narrow.run(work)
    assert work.calls == 1


@pytest.mark.parametrize(
    ("query", "value"), [("SELECT $1::bigint", 2**63), ("SELECT $1::bigint", "a text"), ("SELECT $1::text", "\ud800")]
)
async def test_value_that_cannot_be_sent_is_not_a_store_that_is_down(
    narrow: Postgres, query: str, value: object
) -> None:
    backend = await narrow.fetchrow("SELECT pg_backend_pid()")
    with pytest.raises(asyncpg.DataError):
        await narrow.fetch(query, value)
    # The connection is as good as before.
    assert await narrow.fetchrow("SELECT pg_backend_pid()") == backend


# A server that goes away and comes back


async def test_reader_does_not_notice_a_restart(narrow: Postgres, notes: None) -> None:
    work = Work(die_first=1)
    assert await narrow.run(work) == "done"
    assert work.calls == 2


async def test_reader_does_not_notice_that_idle_connections_were_ended(postgres: Postgres, sql: Sql) -> None:
    await asyncio.gather(*(postgres.fetch("SELECT pg_sleep(0.01)") for _ in range(4)))
    assert await kill_backends(sql) > 1
    for _ in range(10):
        assert len(await postgres.fetch("SELECT 1")) == 1


async def test_readers_do_not_notice_backends_that_are_killed_at_any_moment(postgres: Postgres, sql: Sql) -> None:
    for _ in range(15):
        reading = [postgres.fetchrow("SELECT $1::integer", number) for number in range(8)]
        rows, *_ = await asyncio.gather(asyncio.gather(*reading), kill_backends(sql))
        assert [row[0] for row in rows if row is not None] == list(range(8))


@pytest.mark.parametrize("moments", range(5))
async def test_answer_counts_although_the_connection_breaks_right_after_it(narrow: Postgres, moments: int) -> None:
    async def work(connection: Connection) -> object:
        answer = await connection.fetchval("SELECT 42")
        # A server that is shut down sends the answer and closes the connection; the event loop learns of it in some
        # step of giving the connection back.
        then: Callable[[], object] = connection._transport.abort  # type: ignore[attr-defined]
        for _ in range(moments):
            then = partial(asyncio.get_running_loop().call_soon, then)
        then()
        return answer

    assert await narrow.run(work, repeatable=False) == 42
    assert len(await narrow.fetch("SELECT 1")) == 1


async def test_work_that_is_not_repeatable_is_not_repeated(narrow: Postgres, notes: None, sql: Sql) -> None:
    work = Work(die_first=1)
    with pytest.raises(StoreUnavailable):
        await narrow.run(work, repeatable=False)
    assert work.calls == 1
    assert await sql.fetchval("SELECT count(*) FROM notes") == 0
    # The pool has got over it.
    assert await narrow.run(work, repeatable=False) == "done"


async def test_server_that_dies_again_and_again_is_unavailable_in_time(narrow: Postgres, notes: None) -> None:
    work = Work(die_first=10**6)
    async with asyncio.timeout(PROMISED):
        with pytest.raises(StoreUnavailable):
            await narrow.run(work, within=0.4)
    assert work.calls > 1


async def test_work_that_could_not_be_begun_may_be_begun_later_even_if_not_repeatable(
    gated_postgres: Postgres, postgres_gate: Gate, notes: None
) -> None:
    work = Work()
    await postgres_gate.shut()
    waiting = asyncio.create_task(gated_postgres.run(work, repeatable=False))
    await postgres_gate.open()
    assert await waiting == "done"
    assert work.calls == 1


async def test_server_that_is_away_is_unavailable_in_time_and_then_back(
    gated_postgres: Postgres, postgres_gate: Gate
) -> None:
    await postgres_gate.shut()
    async with asyncio.timeout(PROMISED):
        waiting = [gated_postgres.run(lambda c: c.fetch("SELECT 1"), within=0.4) for _ in range(50)]
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    await postgres_gate.open()
    assert len(await gated_postgres.fetch("SELECT 1")) == 1


async def test_database_that_lets_nobody_in_is_unavailable_in_time_and_then_back(
    own_database_url: str, sql: Sql
) -> None:
    async with pool(own_database_url) as postgres:
        name = (await postgres.fetch("SELECT current_database()"))[0][0]
        await sql.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await sql.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1", name)
        async with asyncio.timeout(PROMISED):
            with pytest.raises(StoreUnavailable):
                await postgres.run(lambda c: c.fetch("SELECT 1"), within=0.4)
        await sql.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert len(await postgres.fetch("SELECT 1")) == 1


# A server that hangs


async def test_statement_that_hangs_is_given_up_in_time_and_the_pool_goes_on(narrow: Postgres) -> None:
    begun = time.monotonic()
    async with asyncio.timeout(PROMISED):
        # All but one of them wait for the connection.
        outcomes = await asyncio.gather(
            *(narrow.fetch("SELECT pg_sleep(60)") for _ in range(10)), return_exceptions=True
        )
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    assert time.monotonic() - begun >= PATIENCE_SECONDS - 0.1
    for _ in range(3):
        assert len(await narrow.fetch("SELECT 1")) == 1


async def test_time_may_be_shorter(narrow: Postgres) -> None:
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await narrow.run(lambda connection: connection.fetch("SELECT pg_sleep(60)"), within=0.1)
    assert time.monotonic() - begun < PATIENCE_SECONDS


async def test_statements_that_were_given_up_do_not_pile_up_in_the_server(database_url: str, sql: Sql) -> None:
    # Every one that goes on keeps a connection that the pool no longer counts; a hundred, and nobody gets in.
    async with locked(database_url, "LOCK TABLE players"), pool(database_url, connections=2) as postgres:
        for _ in range(5):
            waiting = [postgres.run(lambda c: c.fetch("SELECT FROM players"), within=0.1) for _ in range(2)]
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}

        async def no_more_than_the_pool_has() -> bool:
            return bool(await sql.fetchval(_BACKENDS) <= 2)

        # The lock is still held, so they do not end by themselves.
        await until(no_more_than_the_pool_has, "no more connections than the pool may have", within=PROMISED)


# What the next one finds


async def test_open_transaction_is_not_left_to_the_next_user(narrow: Postgres, notes: None) -> None:
    async def forget_to_commit(connection: Connection) -> None:
        await connection.execute("BEGIN")
        await connection.execute("INSERT INTO notes VALUES ('not committed')")

    async def look(connection: Connection) -> tuple[bool, int]:
        return connection.is_in_transaction(), await connection.fetchval("SELECT count(*) FROM notes")

    # asyncpg tells the loop that somebody made a mistake.
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["message"]))
    await narrow.run(forget_to_commit)
    assert len(told) == 1
    assert "active transaction" in told[0]
    assert await narrow.run(look) == (False, 0)


async def test_transaction_that_fails_is_not_left_to_the_next_user(narrow: Postgres, notes: None) -> None:
    async def fail_inside(connection: Connection) -> None:
        async with connection.transaction():
            await connection.execute("INSERT INTO notes VALUES ('not committed')")
            await connection.execute("SELECT 1 / 0")

    with pytest.raises(asyncpg.DivisionByZeroError):
        await narrow.run(fail_inside)
    assert await narrow.fetch("SELECT * FROM notes") == []


async def test_transaction_that_is_given_up_is_rolled_back(narrow: Postgres, notes: None, database_url: str) -> None:
    async def hang_inside(connection: Connection) -> None:
        async with connection.transaction():
            await connection.execute("INSERT INTO notes VALUES ('not committed')")
            await connection.execute("LOCK TABLE deployment")

    async with locked(database_url, "LOCK TABLE deployment"):
        with pytest.raises(StoreUnavailable):
            await narrow.run(hang_inside, repeatable=False, within=0.2)
        assert await narrow.fetch("SELECT * FROM notes") == []
    # Also when the server goes on with it now: it finds nobody there to commit it.
    assert await narrow.fetch("SELECT * FROM deployment")
    assert await narrow.fetch("SELECT * FROM notes") == []


async def test_caller_who_is_cancelled_does_not_keep_the_connection(
    narrow: Postgres, database_url: str, sql: Sql
) -> None:
    async with locked(database_url, "LOCK TABLE deployment"):
        waiting = asyncio.create_task(narrow.fetch("SELECT * FROM deployment"))
        await blocked_backend(sql)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert len(await narrow.fetch("SELECT 1")) == 1


async def test_caller_who_is_cancelled_before_it_has_a_connection_takes_none(narrow: Postgres) -> None:
    async def hold(connection: Connection) -> None:
        held.set()
        await release.wait()

    held, release = asyncio.Event(), asyncio.Event()
    holding = asyncio.create_task(narrow.run(hold))
    await held.wait()
    waiting = [asyncio.create_task(narrow.fetch("SELECT 1")) for _ in range(5)]
    await asyncio.sleep(0)
    for each in waiting[:4]:
        each.cancel()
    await asyncio.gather(*waiting[:4], return_exceptions=True)
    release.set()
    await holding
    assert len(await waiting[4]) == 1


async def test_many_who_are_cancelled_at_any_moment_leave_the_pool_whole(postgres: Postgres) -> None:
    for wait in range(24):
        callers = [asyncio.create_task(postgres.fetch("SELECT pg_sleep(0.001)")) for _ in range(8)]
        for _ in range(wait % 12):
            await asyncio.sleep(0)
        for each in callers[::2]:
            each.cancel()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        assert all(isinstance(outcome, list) for outcome in outcomes[1::2])
    assert len(await asyncio.gather(*(postgres.fetch("SELECT 1") for _ in range(8)))) == 8
    # No exception was left for nobody to see.
    gc.collect()


async def test_request_of_several_uses_has_one_patience(postgres: Postgres) -> None:
    """A server that is frozen for the second use has been patient in the first one."""
    loop = asyncio.get_running_loop()
    with one_request():
        assert deadline_of(60) - loop.time() <= PATIENCE_SECONDS
        await postgres.fetchrow("SELECT pg_sleep($1)", PATIENCE_SECONDS * 0.6)
        with pytest.raises(StoreUnavailable):
            await postgres.fetchrow("SELECT pg_sleep($1)", PATIENCE_SECONDS * 0.6)
        with pytest.raises(StoreUnavailable):
            await postgres.fetchrow("SELECT 1")
    assert await postgres.fetchrow("SELECT 1") is not None
    assert deadline_of(60) - loop.time() > PATIENCE_SECONDS
