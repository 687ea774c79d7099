"""Where fault runs take place: stores of our own behind gates, and nodes that can be killed and come back."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.asyncio
import structlog

from game.ranking import BOARDS, Entry
from storage.embedded import EmbeddedStores
from storage.schema import prepare_schema
from storage.sessions import event_from, state_from
from tests.conftest import NOT_RUN
from tests.debian import file_of
from tests.faults.checker import Truth
from tests.faults.players import Address
from tests.server.gate import Gate
from tests.whole.running import Server

#: Workers of the first node; the second is one process.
WORKERS = 2
#: Room for PostgreSQL's files and a little play.
SMALL_DISK_BYTES = 200 * 2**20


class Node:
    """A server that comes back on its port after it was ended."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._settings = settings
        self._port = 0
        self.server: Server

    @property
    def netloc(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self._port}"

    async def start(self, **more: str) -> None:
        """Ready when this returns. The port may still be held by a process that is about to end."""
        for _ in range(50):
            try:
                self.server = await Server.start(**{**self._settings, **more, "BRAINGAME_PORT": str(self._port)})
                break
            except AssertionError:
                await asyncio.sleep(0.1)
        else:
            raise AssertionError("the node does not come back")
        self._port = self.server.port

    def workers(self) -> list[int]:
        """Process ids."""
        pid = self.server.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if b"\0worker\0" in Path(f"/proc/{child}/cmdline").read_bytes()]


@dataclass
class Arena:
    """Everything that a fault may touch."""

    folder: Path
    database_url: str
    redis_url: str
    postgres_gate: Gate
    redis_gate: Gate
    nodes: list[Node] = field(default_factory=list)
    #: Where clients come in, if not at the nodes themselves.
    balancers: list[Address] = field(default_factory=list)

    @property
    def entrances(self) -> Sequence[Address]:
        """Where clients come in."""
        return self.balancers or self.nodes

    def postmaster(self) -> int:
        """PostgreSQL's first process."""
        return int((self.folder / "var/stores/postgres/postmaster.pid").read_text().split()[0])

    def postgres_processes(self) -> list[int]:
        """All of PostgreSQL's processes, the first one last."""
        first = self.postmaster()
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [*map(int, children), first]

    async def valkey(self) -> int:
        """Valkey's process."""
        async with redis.asyncio.Redis.from_url(self.redis_url) as client:
            return int((await client.info("server"))["process_id"])

    async def until_stores_answer(self) -> None:
        """Wait, past the gates, until both are there."""
        while True:
            with suppress(OSError, asyncpg.PostgresError, redis.exceptions.RedisError):
                connection = await asyncpg.connect(self.database_url, timeout=1)
                await connection.close()
                async with redis.asyncio.Redis.from_url(self.redis_url, socket_timeout=1) as client:
                    await client.ping()
                return
            await asyncio.sleep(0.02)

    async def truth(self, numbers: list[int]) -> Truth:
        """What PostgreSQL has of these players, and all entries."""
        connection = await asyncpg.connect(self.database_url)
        try:
            logs: dict[int, Any] = {number: [] for number in numbers}
            for row in await connection.fetch(
                "SELECT * FROM session_events WHERE number = ANY($1::bigint[]) ORDER BY number, version", numbers
            ):
                logs[row["number"]].append(event_from(row))
            rows = {
                row["number"]: state_from(row)
                for row in await connection.fetch("SELECT * FROM sessions WHERE number = ANY($1::bigint[])", numbers)
            }
            entries: dict[str, list[Entry]] = {}
            for ladder, *values in await connection.fetch(
                "SELECT ladder, number, passed_all_games, total_score, achieved_at FROM ladder_entries"
            ):
                entries.setdefault(ladder, []).append(Entry(*values))
        finally:
            await connection.close()
        now = datetime.now(UTC)
        return Truth(logs, rows, entries, {name: board.ladder(now) for name, board in BOARDS.items()})


@asynccontextmanager
async def arena_in(
    folder: Path,
    *,
    through: Callable[[str], AbstractAsyncContextManager[str]] | None = None,
    variables: Mapping[str, str] | None = None,
) -> AsyncIterator[Arena]:
    """Stores, gates and two nodes, of which the first has several workers; `variables` are for the nodes. `through`
    gives the database's URL for them, in place of that of the gate. Only from the main thread."""
    folder.chmod(0o755)
    async with AsyncExitStack() as stack:
        stores = EmbeddedStores(folder / "var", log=structlog.get_logger())
        await stack.enter_async_context(stores)
        assert stores.database_url is not None
        assert stores.redis_url is not None
        await prepare_schema(stores.database_url, migrate=True)
        postgres_gate = await stack.enter_async_context(Gate(stores.database_url))
        redis_gate = await stack.enter_async_context(Gate(stores.redis_url))
        arena = Arena(folder, stores.database_url, stores.redis_url, postgres_gate, redis_gate)
        database_url = postgres_gate.url
        if through is not None:
            database_url = await stack.enter_async_context(through(stores.database_url))
        settings = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_gate.url,
            "BRAINGAME_JWT_SECRET": "a secret for tests that is long enough",
            "BRAINGAME_LIMITS": "off",
            # Longer than any step of the clock.
            "BRAINGAME_TOKEN_SECONDS": str(30 * 24 * 3600),
            **(variables or {}),
        }
        for workers in (WORKERS, 1):
            node = Node({**settings, "BRAINGAME_WORKERS": str(workers)})
            await node.start()
            arena.nodes.append(node)
        try:
            yield arena
        finally:
            for node in arena.nodes:
                if node.server.alive:
                    node.server.process.send_signal(signal.SIGTERM)
            for node in arena.nodes:
                await node.server.exit_code()


@asynccontextmanager
async def arena() -> AsyncIterator[Arena]:
    """The same in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="bg-faults-") as name:
        async with arena_in(Path(name)) as found:
            yield found


@asynccontextmanager
async def arena_on_a_small_disk() -> AsyncIterator[Arena]:
    """The same on a disk of its own, which can be filled. Without the right to mount one the test is NOT RUN."""
    with tempfile.TemporaryDirectory(prefix="bg-faults-") as name:
        size = f"size={SMALL_DISK_BYTES}"
        command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", name]
        mounted = subprocess.run(command, capture_output=True, text=True)
        if mounted.returncode != 0:
            pytest.skip(f"{NOT_RUN}a small disk cannot be mounted: {mounted.stderr.strip()}")
        try:
            async with arena_in(Path(name)) as found:
                yield found
        finally:
            subprocess.run(["umount", name], check=True)


@asynccontextmanager
async def arena_with_a_clock() -> AsyncIterator[Arena]:
    """The same with nodes whose wall clock can be set: as many seconds off as the file `clock` in the folder says."""
    library = file_of("libfaketime", "usr/lib/*/faketime/libfaketimeMT.so.1")
    with tempfile.TemporaryDirectory(prefix="bg-faults-") as name:
        clock = Path(name) / "clock"
        clock.write_text("+0")
        variables = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        async with arena_in(Path(name), variables=variables) as found:
            yield found


def freeze(pids: list[int]) -> None:
    """Stop these processes, which we have started, where they are."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)


def thaw(pids: list[int]) -> None:
    """Let them go on."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
