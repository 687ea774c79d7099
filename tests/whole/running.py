"""Whole servers on stores of the test session, or on their own, and what is written down of them when a test fails."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg

from tests.server.clients import Client, client_to
from tests.server_process import ServerProcess
from tests.stores import Stores

#: Every server of the test that runs now; conftest.py shows their logs when it fails.
SERVERS: list[Server] = []

_count = itertools.count(1)


class Server(ServerProcess):
    """A server that has to stop with code 0 and to log no error, unless it is ended otherwise before."""

    @classmethod
    async def spawn(cls, *flags: str, **variables: str) -> Self:
        # Unset rather than absent, or those of the machine would count.
        server = await super().spawn(*flags, **{"DATABASE_URL": "", "REDIS_URL": "", **variables})
        SERVERS.append(server)
        return server

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://{self.netloc}/ws"

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    def client(self, token: str | None = None, **more: Any) -> AbstractAsyncContextManager[Client]:
        """A socket; its welcome is the first push."""
        return client_to(self.ws, token, **more)

    async def kill(self) -> None:
        """End it as nobody should."""
        self.process.kill()
        await self.exit_code()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended_before = not self.alive
        await super().__aexit__(kind, error, trace)
        if kind is None and not ended_before:
            assert self.process.returncode == 0, self.log
            assert '"level": "error"' not in self.log, self.log
            assert "Traceback" not in self.log, self.log


@asynccontextmanager
async def database_of(stores: Stores) -> AsyncIterator[dict[str, str]]:
    """Settings for a deployment of its own on the stores of the session."""
    name = f"whole_{next(_count)}"
    connection = await asyncpg.connect(stores.database_url)
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE braingame_template")
        url = stores.database(name)
        fresh = await asyncpg.connect(url)
        await fresh.execute("UPDATE deployment SET id = gen_random_uuid()")
        await fresh.close()
        yield {
            "DATABASE_URL": url,
            "REDIS_URL": stores.redis_url,
            "BRAINGAME_JWT_SECRET": "a secret for tests that is long enough",
        }
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@asynccontextmanager
async def server_on(stores: Stores, **variables: str) -> AsyncIterator[Server]:
    """A server with a deployment of its own."""
    async with database_of(stores) as settings, await Server.start(**settings | variables) as server:
        yield server


@contextmanager
def data_folder() -> Any:
    """A folder for embedded stores that their user can get into, with a short path for their sockets."""
    with tempfile.TemporaryDirectory(prefix="bg-whole-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path
