"""Runs embedded stores as the server does, as a process of its own that tests can look at from outside, and kill.

`python -m tests.storage.stores_process DATA_DIR`: one line of JSON when they answer, or when they cannot be started
(with exit code 2). SIGTERM stops; SIGINT uses both stores once more before that, as a server does that drains.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import asyncpg
import redis.asyncio
import uvloop

from storage.data_folder import EmbeddedStoresError
from storage.embedded import EmbeddedStores


class Log:
    """Standard error, for who reads a failed test."""

    def info(self, event: str, **values: Any) -> None:
        sys.stderr.write(f"{event} {values}\n")

    warning = info


def say(**values: Any) -> None:
    sys.stdout.write(f"{json.dumps(values)}\n")
    sys.stdout.flush()


async def drain(stores: EmbeddedStores) -> None:
    connection = await asyncpg.connect(stores.database_url)
    await connection.execute("CREATE TABLE IF NOT EXISTS drained ()")
    await connection.close()
    client = redis.asyncio.from_url(stores.redis_url or "")
    await client.set("drained", "yes")
    await client.aclose()


async def serve(arguments: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    told: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.put_nowait, number)
    try:
        async with EmbeddedStores(
            arguments.data_dir, postgres=arguments.postgres, log=Log(), shared_home=arguments.shared_home
        ) as stores:
            say(database_url=stores.database_url, redis_url=stores.redis_url)
            if await told.get() == signal.SIGINT:
                await drain(stores)
                say(drained=True)
    except EmbeddedStoresError as error:
        say(error=str(error))
        return 2
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--shared-home", type=Path, required=True)
    parser.add_argument("--without-postgres", dest="postgres", action="store_false")
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--umask", type=lambda text: int(text, 8), default=0o022)
    given = parser.parse_args()
    os.umask(given.umask)
    sys.exit((uvloop.run if given.uvloop else asyncio.run)(serve(given)))
